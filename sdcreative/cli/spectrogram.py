"""`sdcreative spectrogram`: sound files to Riffusion's pictures, back, and as a plot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..errors import DataError, SdcreativeError, UsageError

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff")
_Part = tuple[float, float | None]

_source = click.argument("source", metavar="FILE|FOLDER", type=click.Path(path_type=Path))
_output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File or, for a folder, folder."
)
_overwrite = click.option("--overwrite", is_flag=True, help="Replace files that exist.")


def spectrogram_group() -> click.Group:
    """The group; exit code 1 where any of a folder's files failed."""
    group = click.Group("spectrogram", short_help="turn sound into pictures and back")
    group.help = "Turn sound into pictures of its spectrogram, in Riffusion's format, and back."
    for command in (_encode(), _decode(), _show()):
        group.add_command(command)
    return group


def _sound(command: Callable[..., None]) -> Callable[..., None]:
    """Options for sounds; the command gets the bands, ``params``, and ``part`` for ``_heard``."""
    options = [
        click.option("--stereo", is_flag=True, help="Left in green, right in blue."),
        click.option("--bands", type=int, default=512, show_default=True, help="Rows."),
        click.option("--step", type=int, default=10, show_default=True, help="ms per column."),
        click.option("--max-hz", type=float, default=10_000, show_default=True, help="Highest."),
        click.option("--start", type=float, default=0.0, metavar="SECONDS",
                     help="Where to begin in the sound."),
        click.option("--seconds", type=float, metavar="SECONDS", help="How much to take."),
    ]  # fmt: skip

    @wraps(command)
    def given(
        stereo: bool,
        bands: int,
        step: int,
        max_hz: float,
        start: float,
        seconds: float | None,
        **others: Any,
    ) -> None:
        from ..spectral.params import SpectrogramParams

        params = SpectrogramParams(stereo=stereo, bands=bands, step_ms=step, max_hz=max_hz)
        command(params=params, part=(start, seconds), **others)

    for option in reversed(options):
        given = option(given)
    return given


def _encode() -> click.Command:
    @click.command("encode", short_help="sound to picture")
    @_source
    @_output
    @_sound
    @_overwrite
    def encode(
        source: Path, output: Path | None, params: Any, part: _Part, overwrite: bool
    ) -> None:
        """Turn a WAV, FLAC, OGG or MP3 file, or all in a folder, into pictures.

        A picture is a PNG, lossless WebP or (mono only) JPEG, and up to 65535 columns wide, 10
        minutes and 55 seconds of 10 ms each.
        """
        from ..media.spectrogram_files import write_spectrogram

        def one(file: Path, target: Path) -> str:
            mel = _heard(file, target, params, part)
            write_spectrogram(mel, params, target, overwrite)
            return f"{mel.shape[2]}x{mel.shape[1]} pixels"

        _each(source, output, _SOUNDS, ".png", one, overwrite)

    return encode


def _decode() -> click.Command:
    @click.command("decode", short_help="picture to sound")
    @_source
    @_output
    @click.option("--quality", is_flag=True, help="Nearer to the picture, three times slower.")
    @click.option("--circular", is_flag=True, help="A loop without a seam.")
    @click.option(
        "--method",
        type=click.Choice(["pghi", "griffin-lim"]),
        default="pghi",
        show_default=True,
        help="How phases are found.",
    )
    @click.option("--iterations", type=int, help="8 with pghi, 32 with griffin-lim.")
    @click.option("--seed", type=click.IntRange(0), default=0, help="Of random phases.")
    @click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps.")
    @_overwrite
    def decode(
        source: Path,
        output: Path | None,
        quality: bool,
        circular: bool,
        method: Any,
        iterations: int | None,
        seed: int,
        device: str,
        overwrite: bool,
    ) -> None:
        """Turn a picture, or all in a folder, into WAV, FLAC or OGG.

        The spectral convergence that is printed says how near the sound's own picture comes: -20
        dB is a tenth off, below -30 dB is very near.
        """
        from ..media.spectrogram_files import read_spectrogram
        from ..media.spectrogram_sound import write_sound
        from ..spectral.inversion import invert
        from ..spectral.measures import spectral_convergence

        _check_device(device)

        def one(file: Path, target: Path) -> str:
            mel, params, known = read_spectrogram(file)
            with _naming(file):
                samples = invert(
                    mel,
                    params,
                    method=method,
                    iterations=iterations,
                    quality=quality,
                    circular=circular,
                    seed=seed,
                    device=device,
                )
            said = [f"{samples.shape[1] / params.sample_rate:.2f} s"]
            if mel.any():
                reached = spectral_convergence(samples, mel, params, circular)
                said.append(f"spectral convergence {reached:.1f} dB")
            if not known and samples.any():
                samples = samples * (0.9 / abs(samples).max())
                said.append("loudness not in the picture")
            down = write_sound(samples, target, params.sample_rate, overwrite)
            if down > 0:
                said.append(f"turned down by {down:.1f} dB")
            return ", ".join(said)

        _each(source, output, _PICTURES, ".wav", one, overwrite)

    return decode


def _show() -> click.Command:
    @click.command("show", short_help="draw a sound or picture with its axes")
    @_source
    @_output
    @_sound
    @_overwrite
    def show(source: Path, output: Path | None, params: Any, part: _Part, overwrite: bool) -> None:
        """Draw a sound or a picture of one, over seconds and Hz, as a plot."""
        from ..media.image import write_picture
        from ..media.spectrogram_files import read_spectrogram
        from ..media.spectrogram_plot import draw_spectrogram

        def one(file: Path, target: Path) -> str:
            if file.suffix.lower() in _PICTURES:
                mel, found, _ = read_spectrogram(file)
            else:
                mel, found = _heard(file, target, params, part), params
            picture = draw_spectrogram(mel, found, file.name)
            write_picture(picture, target, overwrite)
            return f"{picture.width}x{picture.height} pixels"

        _each(source, output, (*_SOUNDS, *_PICTURES), ".plot.png", one, overwrite)

    return show


def _heard(file: Path, target: Path, params: Any, part: _Part) -> Any:
    """The spectrogram of a sound file, or of a part of it."""
    from ..media.spectrogram import mel_spectrogram
    from ..media.spectrogram_files import longest_seconds
    from ..media.spectrogram_sound import read_sound

    start, seconds = part
    samples = read_sound(
        file,
        params.sample_rate,
        params.channels,
        start=start,
        seconds=seconds,
        longest=longest_seconds(params, target),
    )
    with _naming(file):
        return mel_spectrogram(samples, params)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Say which file it is whose contents cannot be used."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def _check_device(device: str) -> None:
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: cannot be used here: {reason}") from error


def _each(
    source: Path,
    output: Path | None,
    endings: tuple[str, ...],
    ending: str,
    one: Callable[[Path, Path], str],
    overwrite: bool,
) -> None:
    """Do one file, or all of a folder; there, a failure does not stop the rest."""
    if not source.is_dir():
        target = output or source.with_name(source.stem + ending)
        _report(source, _safe(source, target, overwrite), one)
        return
    folder = output or source
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {folder}: {source} is a folder, so give a folder")
    files = list(_files(source, endings))
    if not files:
        raise DataError(f"{source}: no {', '.join(endings)} in this folder")
    clashes = _clashes(files)
    failed = 0
    for file in files:
        name = (file.name if clashes[file.stem] > 1 else file.stem) + ending
        try:
            _report(file, _safe(file, folder / name, overwrite), one)
        except SdcreativeError as error:
            failed += 1
            click.echo(f"error: {error}", err=True)
    if failed:
        click.echo(f"{failed} of {len(files)} files failed", err=True)
        click.get_current_context().exit(1)


def _files(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    for file in sorted(folder.iterdir()):
        plot = file.name.endswith(".plot.png")
        if file.is_file() and file.suffix.lower() in endings and not plot:
            yield file


def _clashes(files: list[Path]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for file in files:
        counts[file.stem] = counts.get(file.stem, 0) + 1
    return counts


def _safe(source: Path, target: Path, overwrite: bool) -> Path:
    """Refuse a target that exists before work is done for it, and one that is the source."""
    if target.exists():
        if source.exists() and target.samefile(source):
            raise UsageError(f"-o {target}: is the source itself; choose another name")
        if not overwrite:
            from ..errors import OutputError

            raise OutputError(f"{target} exists; pass --overwrite or choose another -o")
    return target


def _report(file: Path, target: Path, one: Callable[[Path, Path], str]) -> None:
    began = time.perf_counter()
    said = one(file, target)
    click.echo(f"wrote {target}: {said}; {time.perf_counter() - began:.1f} s")

"""What music is like, in figures: how loud and fast it is, in which key, and where it jumps.

    python benchmarks/listen.py FILE... [--plot sheet.png] [--output table.md]
    python benchmarks/listen.py --presets [--model riff] [--folder listening]

Prints Markdown. --presets renders the bundled presets of the tool `music` first; those that need
song.wav get the one that song_sections makes. Tempo, key and joints are compared with the settings
in a file, where it has any. About two minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy
from PIL import Image

from listen_measures import (
    Asked,
    against,
    centroid,
    clipped,
    heard_tempo,
    key_of,
    level_jumps,
    onset_rate,
    pitch_classes,
    read,
    side_to_mid,
    silent_share,
    strongest,
)
from sdcreative import (
    DataError,
    SdcreativeError,
    SpectrogramParams,
    mel_spectrogram,
    read_provenance,
)
from sdcreative.media.sound_files import sound_info
from sdcreative.media.spectrogram_plot import draw_spectrogram
from sdcreative.music.loudness import measure
from sdcreative.presets import bundled_presets, load_preset
from sdcreative.provenance.preset_text import resolve
from sdcreative.sound.features import RATE
from sdcreative.spectral.measures import loop_seam, loop_seam_db
from sdcreative_plugins.music.settings import MusicSettings, Take
from sdcreative_plugins.music.timeline import timeline

SONG = "song_sections"
"""the preset whose music others start from"""
STARTED_FROM = "song.wav"
WIDEST = 560
"""columns of a plot"""
COLOURS = 256
"""of a sheet"""
HEAD = """\
# Listening

The bundled presets of `music` with the model `{}`, measured by
`python benchmarks/listen.py --presets`; what the figures mean is in [music.md](../docs/music.md).

"""


def asked_of(path: Path) -> Asked:
    """What the settings in a file say; nothing where it has none of the tool `music`.

    Joints are known where its model still is there, and the sound that it started from beside it.
    """
    try:
        record = read_provenance(path)
    except DataError:
        return Asked()
    if record.plugin != "music":
        return Asked()
    settings = cast(MusicSettings, resolve(record, MusicSettings, path))
    sounds = {"audio": settings.audio, "morph_to": settings.morph_to}
    settings = settings.model_copy(
        update={key: _beside(path, take) for key, take in sounds.items()}
    )
    steady = settings.fade_in, sound_info(path).seconds - settings.fade_out
    asked = Asked(settings.tempo, settings.key, settings.loop, steady=steady)
    try:
        made = timeline(settings)
    except SdcreativeError:
        return asked
    score, (width, _) = made.score, made.size or (0, 0)
    if score is None:
        return asked
    column = score.stretch * score.params.hop_length / score.params.sample_rate
    # What goes on keeps all of the picture before it; else both are heard where they overlap.
    goes_on = settings.join == "continue" and settings.morph_to is None
    fade = 0 if goes_on else score.overlap
    hop = width - score.overlap
    ends = [number * hop + score.overlap for number in range(1, made.length // made.voices)]
    return replace(asked, joints=tuple(((end - fade) * column, end * column) for end in ends))


def _beside(path: Path, take: Take | None) -> Take | None:
    if take is None:
        return None
    return take.model_copy(update={"file": str(path.parent / Path(take.file).expanduser())})


def level_row(path: Path, asked: Asked) -> list[str]:
    samples, rate = read(path)
    channels = len(samples)
    loudness = measure(iter([samples.T]), rate, channels)
    at, elsewhere = level_jumps(samples, rate, asked)
    seam = "–"
    if asked.loop:
        params = SpectrogramParams(sample_rate=rate, max_hz=min(10_000, rate / 2))
        seam = f"{loop_seam(samples):.2f}, {loop_seam_db(samples, params):+.1f} dB"
    return [
        f"{samples.shape[1] / rate:.2f}",
        f"{loudness.lufs:.1f}",
        f"{loudness.true_peak:.1f}",
        f"{silent_share(samples, rate):.1%}",
        f"{clipped(samples)}",
        f"{side_to_mid(samples):.1f}" if channels == 2 else "mono",
        "–" if math.isnan(at) else f"{at:.1f} / {elsewhere:.1f}",
        seam,
    ]


def music_row(path: Path, asked: Asked) -> list[str]:
    import librosa

    samples, rate = read(path)
    mono = librosa.resample(samples.mean(axis=0), orig_sr=rate, target_sr=RATE)
    chroma = pitch_classes(mono)
    key, clarity = key_of(chroma)
    return [
        against(heard_tempo(path), asked.tempo),
        strongest(chroma),
        key if asked.key is None else f"{key} of {asked.key}",
        f"{clarity:.2f}",
        f"{onset_rate(mono):.1f}",
        f"{centroid(mono):.0f}",
    ]


def tables(files: Sequence[Path], seconds: Sequence[float]) -> Iterator[str]:
    """Two tables: levels, and music; with the seconds that files took, where they are known."""
    found = [asked_of(path) for path in files]
    levels = [
        "| | seconds | LUFS | dBTP | silent | clipped | side / mid, dB | "
        "jumps at joints / elsewhere, dB | seam |" + (" CPU, s |" if seconds else "")
    ]
    levels.append("|---" * (levels[0].count("|") - 1) + "|")
    for number, (path, asked) in enumerate(zip(files, found, strict=True)):
        cells = level_row(path, asked) + ([f"{seconds[number]:.0f}"] if seconds else [])
        levels.append(f"| {path.stem} | {' | '.join(cells)} |")
    yield from levels
    yield ""
    yield "| | tempo, bpm | pitch classes | key | clarity | onsets / s | centroid, Hz |"
    yield "|---" * 7 + "|"
    for path, asked in zip(files, found, strict=True):
        yield f"| {path.stem} | {' | '.join(music_row(path, asked))} |"


def plot(path: Path) -> Image.Image:
    """The spectrogram of a file, both channels together."""
    samples, rate = read(path)
    params = SpectrogramParams(
        sample_rate=rate, step_ms=20, window_ms=80, bands=128, max_hz=min(10_000, rate / 2)
    )
    mel = mel_spectrogram(samples.mean(axis=0, keepdims=True), params)
    group = math.ceil(mel.shape[-1] / WIDEST)
    if group > 1:
        starts = numpy.arange(0, mel.shape[-1], group)
        mel = numpy.maximum.reduceat(mel, starts, axis=-1)
        step = group * params.step_ms
        longest = max(step, params.window_ms), max(step, params.padded_ms)
        params = replace(params, step_ms=step, window_ms=longest[0], padded_ms=longest[1])
    return draw_spectrogram(mel, params, path.stem)


def sheet(files: Sequence[Path], columns: int = 2) -> Image.Image:
    """The spectrograms of all files."""
    plots = [plot(path) for path in files]
    width, height = (max(one.size[axis] for one in plots) for axis in (0, 1))
    columns = min(columns, len(plots))
    whole = Image.new("RGB", (columns * width, -(-len(plots) // columns) * height), "white")
    for number, one in enumerate(plots):
        whole.paste(one, (number % columns * width, number // columns * height))
    return whole.quantize(COLOURS, dither=Image.Dither.NONE)


def render_presets(folder: Path, model: str | None) -> Iterator[tuple[Path, float]]:
    """The music of all bundled presets, and the processor's seconds for each, loading included."""
    presets = [path for path in bundled_presets() if load_preset(path).plugin == "music"]
    presets.sort(key=lambda path: (path.stem != SONG, STARTED_FROM in path.read_text("utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        for preset in presets:
            target = (folder / f"{preset.stem}.wav").absolute()
            command = [sys.executable, "-m", "sdcreative", "music", str(preset.absolute())]
            command += ["-o", str(target), "--overwrite", *(["--model", model] if model else [])]
            began = _spent()
            environment = {**os.environ, "SDCREATIVE_HOME": home}
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{preset.stem} failed:\n{done.stderr}")
            print(done.stdout.strip(), file=sys.stderr, flush=True)
            yield target, _spent() - began
            if preset.stem == SONG:
                shutil.copy(target, folder / STARTED_FROM)


def _spent() -> float:
    """Seconds of the processor that finished commands took."""
    times = os.times()
    return times.children_user + times.children_system


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--presets", action="store_true", help="render the bundled presets first")
    parser.add_argument("--model", help="in place of the presets' own")
    parser.add_argument("--folder", type=Path, default=Path("listening"), help="for their music")
    parser.add_argument("--plot", type=Path, help="PNG of all spectrograms")
    parser.add_argument("--output", type=Path, help="file for the tables")
    options = parser.parse_args(arguments)
    if not options.files and not options.presets:
        parser.error("give sound files, or --presets")
    files, seconds = list(options.files), []
    if options.presets:
        if files:
            parser.error("give sound files, or --presets, not both")
        made = sorted(render_presets(options.folder, options.model))
        files, seconds = [path for path, _ in made], [spent for _, spent in made]
    text = "\n".join(tables(files, seconds)) + "\n"
    print(text, end="")
    if options.output:
        head = HEAD.format(options.model or "riff") if options.presets else ""
        options.output.write_text(head + text, encoding="utf-8")
    if options.plot:
        sheet(files).save(options.plot, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

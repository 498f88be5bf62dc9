"""H.264 films through imageio-ffmpeg's ffmpeg, with its exit code and its log in sight."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

from PIL import Image

from ..errors import DataError, OutputError
from .encoders import EncoderName, choose, conversion
from .film_tags import ffmetadata
from .output import LIMIT_SIGNAL, disk_full

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}

_LOG_LINES = 5


def ffmpeg() -> str:
    """The ffmpeg program.

    Raises:
        OutputError: there is none.
    """
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise OutputError(
            "no ffmpeg: reinstall imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to an ffmpeg; "
            "or write .gif, .webp, .apng or a folder"
        ) from error


def even(picture: Image.Image) -> Image.Image:
    """A picture of even width and height, as 4:2:0 wants: the last column and row repeated."""
    width, height = picture.size
    right, below = width % 2, height % 2
    if not right and not below:
        return picture
    canvas = Image.new(picture.mode, (width + right, height + below))
    for corner in ((right, below), (right, 0), (0, below), (0, 0)):
        canvas.paste(picture, corner)
    return canvas


class Ffmpeg:
    """One running ffmpeg that is fed through a pipe.

    Args:
        name: what errors call the file that it writes.
    """

    def __init__(self, name: Path) -> None:
        self._name = name
        self._files = ExitStack()
        self._log = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115

    def _start(self, inputs: list[str], metadata: Mapping[str, str], outputs: list[str]) -> None:
        """Start it.

        Args:
            inputs: ``-i`` and what belongs to it; the pipe is among them.
            metadata: tags of the film.
            outputs: all else.

        Raises:
            OutputError: there is no ffmpeg, or it does not start.
        """
        try:
            command = [ffmpeg(), "-nostdin", "-hide_banner", "-v", "error", *inputs]
            if metadata:
                command += ["-f", "ffmetadata", "-i", self._tags_file(metadata)]
                command += ["-map_metadata", str(inputs.count("-i"))]
            else:
                command += ["-map_metadata", "-1"]
            # Its own session: Ctrl-C is for us, who then finish the film.
            self._process = subprocess.Popen(
                command + outputs,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                bufsize=0,
                start_new_session=True,
            )
        except OutputError:
            self._files.close()
            raise
        except OSError as error:
            self._files.close()
            raise OutputError(f"{self._name}: the encoder does not start: {error}") from error

    def _tags_file(self, metadata: Mapping[str, str]) -> str:
        """The tags in a file that lasts as long as the encoder does."""
        folder = self._files.enter_context(tempfile.TemporaryDirectory(prefix="sdcreative-"))
        file = Path(folder) / "tags.txt"
        file.write_bytes(ffmetadata(metadata).encode("utf-8"))
        return f"file:{file}"

    def feed(self, data: bytes) -> None:
        """Write into the pipe.

        Raises:
            BrokenPipeError: the encoder has gone; ``close`` says why.
        """
        pipe = self._process.stdin
        rest = memoryview(data)
        while pipe is not None and rest:
            rest = rest[pipe.write(rest) :]

    def close(self, wanted: int = 0) -> None:
        """Wait until the film is written.

        Args:
            wanted: bytes the film takes, for the error of a full disk.

        Raises:
            OutputError: the encoder failed; with the last lines of its log.
        """
        self._close_pipe()
        code = self._process.wait()
        if self._log.closed:
            return
        self._log.seek(0)
        log = self._log.read().decode("utf-8", "replace")
        self._files.close()
        if not code:
            return
        if "No space left" in log or (LIMIT_SIGNAL is not None and code == -LIMIT_SIGNAL):
            raise disk_full(self._name, wanted)
        raise OutputError(f"{self._name}: the encoder {_how(code)}: {last_lines(log)}")

    def stop(self) -> None:
        """End the encoder at once; what it has written is not a film."""
        self._process.kill()
        self._process.wait()
        self._close_pipe()
        self._files.close()

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def container(path: Path, suffix: str) -> list[str]:
    """How ffmpeg is told to write a film: the same bytes every time, ready to be streamed."""
    options = ["-fflags", "+bitexact", "-movflags", "+faststart+use_metadata_tags"]
    return [*options, "-y", "-f", CONTAINERS[suffix], f"file:{path}"]


class Encoder(Ffmpeg):
    """RGB pictures in, H.264 4:2:0 (BT.709, about crf 16) out.

    Args:
        path: file to write; replaced if it exists.
        name: what errors call the file.
        suffix: ".mp4", ".mov" or ".mkv".
        size: (width, height) of the pictures; odd sizes are padded by one pixel.
        rate: frames per second.
        metadata: tags of the film.
        encoder: software gives the same bytes every time.

    Raises:
        OutputError: there is no ffmpeg, it does not start, or that encoder does not work here.
    """

    def __init__(
        self,
        path: Path,
        name: Path,
        suffix: str,
        size: tuple[int, int],
        rate: Fraction,
        metadata: Mapping[str, str],
        encoder: EncoderName = "software",
    ) -> None:
        width, height = (side + side % 2 for side in size)
        codec = choose(encoder, ffmpeg(), (width, height), rate)
        super().__init__(name)
        pictures = [
            *codec.device,
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-video_size",
            f"{width}x{height}",
        ]
        pictures += ["-framerate", str(rate), "-i", "pipe:0"]
        film = ["-map", "0:v", "-fps_mode", "passthrough", "-vf", conversion(codec)]
        self._start(pictures, metadata, [*film, *codec.options, *container(path, suffix)])

    def add(self, picture: Image.Image) -> None:
        """Append one RGB picture.

        Raises:
            BrokenPipeError: the encoder has gone; ``close`` says why.
        """
        self.feed(even(picture).tobytes())


def _how(code: int) -> str:
    if code > 0:
        return f"failed with exit code {code}"
    try:
        return f"was stopped by {signal.Signals(-code).name}"
    except ValueError:
        return f"was stopped by signal {-code}"


def last_lines(log: str) -> str:
    """The last lines of a log, in one."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return " | ".join(lines[-_LOG_LINES:]) or "its log is empty"


def probe_sound(path: Path) -> float:
    """Seconds of sound in a film, found by decoding all of it.

    Raises:
        DataError: there is none, or it does not decode to its end.
    """
    command = [ffmpeg(), "-nostdin", "-hide_banner", "-v", "error", "-xerror"]
    command += ["-i", f"file:{path}", "-map", "0:a:0", "-f", "framecrc", "-"]
    done = subprocess.run(command, capture_output=True, start_new_session=True, check=False)
    complaint = done.stderr.decode("utf-8", "replace")
    if done.returncode or complaint.strip():
        raise DataError(f"{path}: holds no sound that decodes: {last_lines(complaint)}")
    base, length = Fraction(0), 0
    for line in done.stdout.decode("ascii", "replace").splitlines():
        if line.startswith("#tb 0:"):
            base = Fraction(line.split()[-1])
        elif not line.startswith("#"):
            length += int(line.split(",")[3])
    return float(length * base)


def probe_video(path: Path) -> tuple[int, int, int, float | None]:
    """(frames, width, height, frames per second) of a film, found by decoding all of it.

    Raises:
        DataError: no film, or one that does not decode to its end.
    """
    command = [ffmpeg(), "-nostdin", "-hide_banner", "-v", "error", "-xerror"]
    command += ["-i", f"file:{path}", "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-f", "framecrc", "-"]
    frames, width, height, rate = 0, 0, 0, None
    base, start, end = Fraction(0), 0, 0
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            if line.startswith("#tb 0:"):
                base = Fraction(line.split()[-1])
            elif line.startswith("#dimensions 0:"):
                width, height = (int(side) for side in line.split()[-1].split("x"))
            elif not line.startswith("#"):
                shown, lasts = (int(part) for part in line.split(",")[2:4])
                start = shown if not frames else start
                end = shown + lasts
                frames += 1
        code = process.wait()
        log.seek(0, os.SEEK_SET)
        complaint = log.read().decode("utf-8", "replace")
    if code or complaint.strip():
        raise DataError(f"{path}: is no film that decodes: {last_lines(complaint)}")
    if frames and end > start:
        rate = float(frames / ((end - start) * base))
    return frames, width, height, rate

"""One way to write pictures, whatever the format: ``open_writer``.

    with open_writer("bear.mp4", fps=12, size=(512, 512)) as writer:
        for picture in pictures:
            writer.add(picture)

What can be wrong with the output is said on opening, before anything is rendered. Nothing appears
under the final name before it has been read back and its frames counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Literal

from PIL import Image

from ..errors import OutputError
from .animation import STREAMS
from .encoders import EncoderName
from .image import STILL_FORMATS, flatten
from .output import ensure_space, estimate_bytes, frame_rate, write_fault
from .probing import FilmInfo, count_frames, probe
from .sinks import FilmSink, FolderSink, Sink, StillSink, StreamSink
from .sound_clip import SoundClip, clip_format
from .video import CONTAINERS

__all__ = ["FilmInfo", "SoundClip", "Writer", "count_frames", "holds_sound", "open_writer", "probe"]

_SOUND_BYTES = 256_000 // 8


class Writer:
    """Takes pictures one by one; encodes each in a thread while the next is being made.

    ``published`` says whether the result has its final name.

    As a context manager: a normal end finishes, an exception aborts and leaves nothing. Ctrl-C
    finishes with the pictures added so far, and goes on to the caller.
    """

    def __init__(self, target: Path, size: tuple[int, int], sink: Sink, wanted: int = 0) -> None:
        self.target = target
        self.size = size
        self._sink = sink
        self._wanted = wanted
        # A thread is also what keeps Ctrl-C from cutting a picture in two.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._last: Future[None] | None = None
        self._open = True
        self.published = False

    def add(self, picture: Image.Image) -> None:
        """Append a picture of the writer's size; transparent parts become white.

        Raises:
            OutputError: the size differs, the writer is closed, or the picture before this one
                could not be written.
        """
        if not self._open:
            raise OutputError(f"{self.target}: a picture came after the end")
        if picture.size != self.size:
            got, want = ("{}x{}".format(*size) for size in (picture.size, self.size))
            raise OutputError(f"{self.target}: a picture of {got} pixels, where {want} were due")
        opaque = flatten(picture)
        self._settle()
        self._last = self._pool.submit(
            self._sink.add, opaque.copy() if opaque is picture else opaque
        )

    def _settle(self) -> None:
        """Wait for the picture in work."""
        if self._last is None:
            return
        try:
            self._last.result()
        except BrokenPipeError:
            self._sink.close(self._needed())  # raises what the encoder says of its end
            raise OutputError(f"{self.target}: the encoder ended before the film did") from None
        except OSError as error:
            raise write_fault(self.target, error, self._needed()) from error

    def _needed(self) -> int:
        size = estimate_bytes(self.target.suffix, self.size, self._sink.frames + 1)
        return max(self._wanted, size)

    def finish(self) -> int:
        """Write the end, read the result back, and give it its name.

        Returns:
            The number of frames, as counted in the result.

        Raises:
            OutputError: no frames, an encoder or disk that failed, or a wrong count. Nothing is
                left then.
        """
        if not self._open:
            raise OutputError(f"{self.target}: is closed already")
        interrupted = False
        with ThreadPoolExecutor(1, thread_name_prefix="writer") as pool:
            work = pool.submit(self._finish)
            while True:
                try:
                    found = work.result()
                    break
                except KeyboardInterrupt:
                    # A rendered film is not thrown away by impatience: finish, then stop.
                    if interrupted:
                        raise
                    interrupted = True
        if interrupted:
            raise KeyboardInterrupt
        return found

    def _finish(self) -> int:
        try:
            self._pool.shutdown(wait=True)
            self._settle()
            if not self._sink.frames:
                raise OutputError(f"{self.target}: no frames to write")
            self._sink.close(self._needed())
            found = self._sink.verify()
            if found != self._sink.frames:
                raise OutputError(
                    f"{self.target}: {self._sink.frames} frames were written, but the file "
                    f"holds {found}; try another format"
                )
            self._sink.publish()
            self.published = True
        except OSError as error:
            raise write_fault(self.target, error, self._needed()) from error
        finally:
            self.abort()
        return found

    def abort(self) -> None:
        """Leave nothing behind; harmless after ``finish``."""
        if not self._open:
            return
        self._open = False
        self._sink.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._sink.discard()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        if not self._open:
            return False
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._pool.shutdown(wait=True)
            if self._sink.frames:
                self.finish()
            else:
                self.abort()
        elif kind is not None:
            self.abort()
        else:
            self.finish()
        return False


def open_writer(
    path: Path | str,
    fps: float,
    size: tuple[int, int],
    *,
    overwrite: bool = False,
    columns: int | None = None,
    length: int | None = None,
    metadata: Mapping[str, str] | None = None,
    sound: SoundClip | None = None,
    encoder: EncoderName = "software",
) -> Writer:
    """Open an output; its ending chooses the format.

    .mp4, .mov, .mkv: H.264. .gif, .webp, .apng: animations. .png, .jpg: one picture, or with
    columns a sheet. An existing folder, a path that ends in / (as a string) or one without an
    ending: a folder of NAME_000000.png and so on. A single picture to .webp is a still.

    Args:
        path: where to; missing folders are made.
        fps: frames per second; stills and folders do not use it.
        size: (width, height) of every picture in pixels.
        overwrite: whether what exists may be replaced. In a folder, only its own frames are.
        columns: tile all pictures of a .png or .jpg into one sheet; films do not use it.
        length: number of pictures to come, where known.
        metadata: kept by .png, .apng, folders, .mp4, .mov and .mkv; others leave it out.
        sound: heard with a film, as long as the pictures that come, however many were announced.
            See ``holds_sound``.
        encoder: of .mp4, .mov and .mkv; auto takes one in hardware where one works.

    Raises:
        OutputError: the output exists, cannot be made, does not fit on the disk, or its ending is
            unknown, or of a format without sound where there is some; or the encoder does not
            work here.
        DataError: the sound cannot be read, or is over where the film begins.
        UsageError: fps out of range.
    """
    text, path = str(path), Path(path)
    suffix = path.suffix.lower()
    rate = frame_rate(fps)
    tags = dict(metadata or {})
    if not text:
        raise OutputError("the output has no name; give one with -o")
    if min(size) < 1:
        raise OutputError(f"{path}: {size[0]}x{size[1]} pixels; give at least 1x1")
    if any("\0" in word for pair in tags.items() for word in pair):
        raise OutputError(f"{path}: the metadata holds a NUL character; remove it")
    if length is not None and length < 1:
        raise OutputError(f"{path}: no frames to write")
    if columns is not None and columns < 1:
        raise OutputError(f"{path}: {columns} columns; give at least 1")
    folder = _is_folder(text)
    wanted = estimate_bytes("" if folder else suffix, size, length or 1)
    if sound is not None:
        if not holds_sound(text):
            raise OutputError(f"{path}: holds no sound; use {', '.join(CONTAINERS)}")
        clip_format(sound)
        # The pictures are kept until the sound is with them.
        wanted = 2 * wanted + int((length or 1) / rate) * _SOUND_BYTES
    ensure_space(path, wanted)
    sink: Sink
    if folder:
        sink = FolderSink(path, overwrite, tags)
    elif suffix in CONTAINERS:
        sink = FilmSink(path, overwrite, size, rate, tags, sound, encoder)
    elif suffix in STREAMS and not (suffix == ".webp" and length == 1):
        sink = StreamSink(path, overwrite, size, rate, tags)
    elif suffix in STILL_FORMATS:
        sink = StillSink(path, overwrite, size, columns, length, tags)
    else:
        known = ", ".join(dict.fromkeys((*CONTAINERS, *STREAMS, *STILL_FORMATS)))
        raise OutputError(
            f"{path}: ending {suffix!r} is unknown; use {known}, or end with / for a folder"
        )
    return Writer(path, size, sink, wanted)


def holds_sound(path: Path | str) -> bool:
    """Whether an output can be heard: .mp4, .mov and .mkv can."""
    return not _is_folder(str(path)) and Path(path).suffix.lower() in CONTAINERS


def _is_folder(text: str) -> bool:
    path = Path(text)
    return path.is_dir() or text.endswith(("/", "\\")) or not path.suffix

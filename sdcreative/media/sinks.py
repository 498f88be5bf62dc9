"""What a writer writes to: an encoder, a stream, one picture or a folder, each staged.

``add`` runs in the writer's thread, one call at a time; everything else once that thread is idle,
except ``stop``. OSErrors are the writer's to translate.
"""

from __future__ import annotations

import contextlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from PIL import Image

from ..errors import DataError, OutputError
from .animation import STREAMS
from .encoders import EncoderName
from .image import STILL_FORMATS, check, check_side, save
from .muxing import Mixer
from .output import (
    StagedFile,
    make_folders,
    remove_empty,
    staging_name,
    sync,
    write_fault,
)
from .probing import frame_files, probe
from .sound_clip import SoundClip
from .tags import check_tags
from .video import Encoder

# What Pillow opens without taking it for a decompression bomb.
SHEET_PIXELS = 178_000_000


class Sink(ABC):
    """Somewhere pictures go.

    Attributes:
        frames: number of pictures taken whole.
    """

    frames = 0

    @abstractmethod
    def add(self, picture: Image.Image) -> None:
        """Take one RGB picture."""

    @abstractmethod
    def close(self, wanted: int = 0) -> None:
        """Write what is left to write; ``wanted`` is the expected size in bytes, for errors."""

    @abstractmethod
    def verify(self) -> int:
        """Read the result back; returns its number of frames."""

    @abstractmethod
    def publish(self) -> None:
        """Give the result its final name."""

    @abstractmethod
    def discard(self) -> None:
        """Remove what is not published."""

    def stop(self) -> None:
        """Make a running ``add`` end soon."""
        return


class _FileSink(Sink):
    def __init__(self, path: Path, overwrite: bool, metadata: Mapping[str, str]) -> None:
        check_tags(metadata)
        self._path = path
        self._suffix = path.suffix.lower()
        self._staged = StagedFile(path, overwrite)

    def verify(self) -> int:
        try:
            return probe(self._staged.path, self._suffix).frames
        except DataError as error:
            raise OutputError(f"{self._path}: does not read back: {error}") from error

    def publish(self) -> None:
        self._staged.publish()

    def discard(self) -> None:
        self._staged.discard()


class FilmSink(_FileSink):
    """H.264 through ffmpeg, and the sound beside it."""

    def __init__(
        self,
        path: Path,
        overwrite: bool,
        size: tuple[int, int],
        rate: Fraction,
        metadata: Mapping[str, str],
        sound: SoundClip | None = None,
        encoder: EncoderName = "software",
    ) -> None:
        super().__init__(path, overwrite, metadata)
        self._rate = rate
        self._metadata = metadata
        self._sound = sound
        self._mixer: Mixer | None = None
        # How long the sound has to be is known once all pictures are there.
        self._silent = staging_name(self._staged.target) if sound else self._staged.path
        tags = {} if sound else metadata
        try:
            self._encoder = Encoder(self._silent, path, self._suffix, size, rate, tags, encoder)
        except OutputError:
            self.discard()
            raise

    def add(self, picture: Image.Image) -> None:
        self._encoder.add(picture)
        self.frames += 1

    def close(self, wanted: int = 0) -> None:
        self._encoder.close(wanted)
        if self._sound is None:
            return
        self._mixer = Mixer(
            self._silent, self._staged.path, self._path, self._suffix, self._sound, self._metadata
        )
        self._mixer.mix(self.frames / self._rate, wanted)
        self._silent.unlink()

    def verify(self) -> int:
        frames = super().verify()
        if self._mixer is not None:
            self._mixer.verify(self.frames / self._rate)
        return frames

    def stop(self) -> None:
        self._encoder.stop()
        if self._mixer is not None:
            self._mixer.stop()

    def discard(self) -> None:
        if self._sound is not None:
            self._silent.unlink(missing_ok=True)
        super().discard()


class StreamSink(_FileSink):
    """GIF, WebP or APNG."""

    def __init__(
        self,
        path: Path,
        overwrite: bool,
        size: tuple[int, int],
        rate: Fraction,
        metadata: Mapping[str, str],
    ) -> None:
        check_side(path, size, path.suffix[1:].upper())
        super().__init__(path, overwrite, metadata)
        self._file = self._staged.path.open("wb")
        try:
            self._stream = STREAMS[self._suffix](self._file, size, rate, metadata)
        except OutputError:
            self.discard()
            raise

    def add(self, picture: Image.Image) -> None:
        self._stream.add(picture)
        self.frames += 1

    def close(self, wanted: int = 0) -> None:
        self._stream.close()
        self._file.close()

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # its last bytes found no room; the file goes anyway
            self._file.close()
        super().discard()


class StillSink(_FileSink):
    """One picture, or all of them on a sheet."""

    def __init__(
        self,
        path: Path,
        overwrite: bool,
        size: tuple[int, int],
        columns: int | None,
        length: int | None,
        metadata: Mapping[str, str],
    ) -> None:
        if columns is None and (length or 1) > 1:
            raise self._too_many(path)
        self._size = size
        self._columns = columns or 1
        self._single = columns is None
        self._sheet: Image.Image | None = None
        self._metadata = metadata
        self._check_sheet(path, length or 1)
        super().__init__(path, overwrite, metadata)

    @staticmethod
    def _too_many(path: Path) -> OutputError:
        return OutputError(
            f"{path}: holds one picture, and there are more; use {path.with_suffix('.apng')}, "
            f"or {path.with_suffix('')}/ for a folder"
        )

    def _extent(self, count: int) -> tuple[int, int]:
        rows = -(-count // self._columns)
        return min(count, self._columns) * self._size[0], rows * self._size[1]

    def _check_sheet(self, path: Path, count: int) -> None:
        width, height = self._extent(count)
        check_side(path, (width, height), STILL_FORMATS[path.suffix.lower()])
        if width * height > SHEET_PIXELS:
            raise OutputError(
                f"{path}: a sheet of {width}x{height} pixels is more than programs open; "
                f"make fewer pictures, or use {path.with_suffix('')}/ for a folder"
            )

    def add(self, picture: Image.Image) -> None:
        if self._single and self.frames:
            raise self._too_many(self._path)
        self._check_sheet(self._path, self.frames + 1)
        extent = self._extent(self.frames + 1)
        if self._sheet is None:
            self._sheet = Image.new("RGB", extent, "white")
        elif self._sheet.size != extent:
            grown = Image.new("RGB", extent, "white")
            grown.paste(self._sheet)
            self._sheet = grown
        row, column = divmod(self.frames, self._columns)
        self._sheet.paste(picture, (column * self._size[0], row * self._size[1]))
        self.frames += 1

    def close(self, wanted: int = 0) -> None:
        if self._sheet is not None:
            save(self._sheet, self._staged.path, self._suffix, self._metadata)

    def verify(self) -> int:
        check(self._staged.path, self._extent(self.frames), self._path)
        return self.frames


class FolderSink(Sink):
    """A folder of PNGs, kept in a hidden folder inside it until all are whole."""

    def __init__(self, path: Path, overwrite: bool, metadata: Mapping[str, str]) -> None:
        check_tags(metadata)
        self._path = path
        self._name = path.resolve().name or "frame"
        self._metadata = metadata
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} exists and is no folder; choose another -o")
        self._made = make_folders(path)
        if not overwrite and any(not file.name.startswith(".") for file in path.iterdir()):
            raise OutputError(
                f"{path} exists and is not empty; pass --overwrite or choose another -o"
            )
        self._staging = staging_name(path.resolve() / self._name)
        try:
            self._staging.mkdir()
        except OSError as error:
            remove_empty(self._made)
            raise write_fault(path, error, 0) from error

    def add(self, picture: Image.Image) -> None:
        file = self._staging / f"{self._name}_{self.frames:06d}.png"
        save(picture, file, ".png", self._metadata)
        sync(file)
        check(file, picture.size, self._path / file.name)
        self.frames += 1

    def close(self, wanted: int = 0) -> None:
        return

    def verify(self) -> int:
        return len(self._staged_files())

    def _staged_files(self) -> list[Path]:
        return frame_files(self._staging, self._name)[: self.frames]

    def publish(self) -> None:
        fresh = self._staged_files()
        for file in fresh:
            file.replace(self._path / file.name)
        names = {file.name for file in fresh}
        for file in frame_files(self._path, self._name):
            if file.name not in names:
                file.unlink()  # the tail of a longer film that this one replaces
        sync(self._path)

    def discard(self) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)
        remove_empty(self._made)

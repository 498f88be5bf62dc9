"""Spectrograms of music clips on disk, and how they are trained on without reading them all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import overload

import numpy as np

from sdcreative import DataError
from sdcreative.spectral.params import SpectrogramParams

from .pictures import Drawing


@dataclass(frozen=True)
class ClipFacts:
    """What is known of one clip.

    Attributes:
        captions: phrasings of what it is.
        loudest: its largest magnitude.
        genre, kind, prominent, tempo: see ``music.score.Clip``; of music that nobody composed
            here, "" and 0.
        timed: whether the tempo can be heard.
    """

    captions: tuple[str, ...]
    loudest: float
    genre: str = ""
    kind: str = ""
    prominent: str = ""
    tempo: int = 0
    timed: bool = False


def write_shard(stem: Path, pictures: np.ndarray, facts: Sequence[ClipFacts]) -> None:
    """Write clips as <stem>.npy, uint8 (N, bands, columns), and <stem>.json, whole or not at all.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        part = stem.with_suffix(".part")
        with part.open("wb") as file:
            np.save(file, pictures)
        part.replace(stem.with_suffix(".npy"))
        part.write_text(json.dumps([asdict(row) for row in facts]), encoding="utf-8")
        # Last, because its presence says that the shard is complete.
        part.replace(stem.with_suffix(".json"))
    except OSError as error:
        raise DataError(f"{stem.parent}: clips cannot be kept ({error.strerror})") from error


def has_shard(stem: Path) -> bool:
    return stem.with_suffix(".json").is_file()


class ClipPictures(Sequence[Drawing]):
    """Clips of shards as drawings; the pictures stay on disk until they are asked for.

    Attributes:
        params: how sound became pictures.
        facts: of each clip.
    """

    def __init__(
        self, stems: Sequence[Path], params: SpectrogramParams, count: int | None = None
    ) -> None:
        """The first ``count`` clips of the shards, or all of them.

        Raises:
            DataError: a shard is missing or broken.
        """
        self.params = params
        self._shards: list[np.ndarray] = []
        self._places: list[tuple[int, int]] = []
        rows: list[ClipFacts] = []
        for stem in stems:
            try:
                pictures = np.load(stem.with_suffix(".npy"), mmap_mode="r")
                table = json.loads(stem.with_suffix(".json").read_text("utf-8"))
                rows += [ClipFacts(**{**row, "captions": tuple(row["captions"])}) for row in table]
            except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
                raise DataError(f"{stem}: broken clips ({error}); delete them and retry") from error
            self._places += [(len(self._shards), i) for i in range(len(pictures))]
            self._shards.append(pictures)
        if len(rows) != len(self._places):
            raise DataError(f"{stems[0].parent}: broken clips; delete this folder and retry")
        self._places, self.facts = self._places[:count], rows[:count]

    @property
    def loudest(self) -> float:
        """The median of the clips' largest magnitudes."""
        return float(np.median([row.loudest for row in self.facts]))

    def grey(self, place: int) -> np.ndarray:
        """One picture, uint8 (bands, columns)."""
        shard, row = self._places[place]
        picture: np.ndarray = self._shards[shard][row]
        return picture

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Drawing: ...
    @overload
    def __getitem__(self, place: slice) -> list[Drawing]: ...
    def __getitem__(self, place: int | slice) -> Drawing | list[Drawing]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        grey = self.grey(place)
        rgba = np.full((*grey.shape, 4), 255, np.uint8)
        rgba[..., :3] = grey[..., None]
        return Drawing(rgba=rgba, captions=self.facts[place].captions, mirror=False)

"""The film that all contenders make, and what is noted while they do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from gpu_machine import forget_memory, memory_peak, synchronise
from gpu_process import Notes

PROMPTS = ("a photograph of a bear in a forest", "an oil painting of a red apple on a table")
SAMPLER = "DPM++ 2M"
SCALE, FPS = 7.5, 24.0

T = TypeVar("T")


@dataclass(frozen=True)
class Film:
    """A morph from one prompt to another, one noise throughout, as a task says it.

    Attributes:
        model: the folder of the model.
        size: side of the pictures in pixels.
        folder: where files of this contender go.
        began: time.time() at which its process began.
        frames: of the film.
        steps: of the sampler.
        batch: pictures denoised together; 0 leaves it to who can choose.
        alone: frames that are denoised once more without the rest; 0 leaves that out.
        warm: make the film in a few steps before, so that everything is compiled.
        device, dtype: as torch calls them.
        seed: of the noise.
        mode: of torch.compile, for peers.
        compile: the setting of that name, for ours.
        decoder: folder of an AutoencoderTiny.
    """

    model: str
    size: int
    folder: str
    began: float
    frames: int
    steps: int
    batch: int = 0
    alone: int = 0
    warm: bool = True
    device: str = "cuda"
    dtype: str = "float16"
    seed: int = 0
    mode: str = "max-autotune"
    compile: str = "on"
    decoder: str = ""

    @classmethod
    def of(cls, task: dict[str, Any]) -> Film:
        """The film that a task describes; what else the task says is left out."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in task.items() if key in names})

    @property
    def target(self) -> Path:
        """The finished film."""
        return Path(self.folder) / "film.mp4"

    @property
    def warm_steps(self) -> int:
        """Steps of the film that is made before, to have every shape compiled."""
        return min(self.steps, max(4, self.steps // 5))


class Clock:
    """Takes the time of a film, and of its first picture; notes both, and the memory."""

    def __init__(self, film: Film, notes: Notes) -> None:
        self.film, self.notes = film, notes
        self._began = 0.0

    def start(self) -> None:
        """The film begins; everything is loaded."""
        if self.film.device.startswith("cuda"):
            forget_memory(self.film.device)
        synchronise(self.film.device)
        self._began = time.perf_counter()

    def pictures(self, made: Iterable[T]) -> Iterator[T]:
        """The same, the first one's time noted: from the film's and from the process's start."""
        first = True
        for picture in made:
            if first:
                self.notes(
                    first=time.perf_counter() - self._began,
                    first_of_process=time.time() - self.film.began,
                )
                first = False
            yield picture

    def stop(self) -> None:
        """The film is a finished file.

        Raises:
            ValueError: it has not all of its frames.
        """
        synchronise(self.film.device)
        seconds = time.perf_counter() - self._began
        from sdcreative.media.writers import count_frames

        if (found := count_frames(self.film.target)) != self.film.frames:
            raise ValueError(f"a film of {found} frames, not of {self.film.frames}")
        self.notes(film=seconds, memory=memory_peak(self.film.device))


def same_in_float32() -> None:
    """No rounding of float32 to TF32 in convolutions, which torch does by itself on a card."""
    import torch

    torch.backends.cudnn.allow_tf32 = False

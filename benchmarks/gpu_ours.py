"""The film by sdcreative's own `animate`, from settings to the finished file.

Two of its seams are looked at from outside: ``Studio.render`` gives pictures, ``Denoiser.latents``
denoises a batch of shots. What is noted there changes nothing of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpu_film import FPS, PROMPTS, SAMPLER, SCALE, Clock, Film, same_in_float32
from gpu_machine import timed
from gpu_peers import save
from gpu_process import Notes, NotThereError

WAYS: dict[str, dict[str, Any]] = {
    "exact": {},
    "auto": {"compile": "auto"},
    "fast": {"speed": "fast"},
    "preview": {},
}
"""Settings of each way, beside those of the film."""
WARMED_WHOLE = ("auto", "fast")
"""Whether compiling pays back depends on the steps, and so does which calls are shallow."""


class Ours:
    """The tool and its settings for a film.

    Args:
        film: what to make.
        way: one of ``WAYS``.

    Raises:
        NotThereError: this version has no such setting.
    """

    def __init__(self, film: Film, way: str) -> None:
        from sdcreative.studio import Studios
        from sdcreative_plugins.animate import sdcreative_tools

        [self.tool] = sdcreative_tools()
        self.film, self.way, self.studios = film, way, Studios()
        given: dict[str, Any] = {
            "model": film.model,
            "prompts": list(PROMPTS),
            "frames": film.frames,
            "steps": film.steps,
            "size": film.size,
            "sampler": SAMPLER,
            "guidance_scale": SCALE,
            "prompt_syntax": "plain",
            "interpolation": "lerp",
            "coherence": 0.0,
            "fps": FPS,
            "device": film.device,
            "dtype": film.dtype,
            "batch_size": film.batch or None,
            "compile": film.compile,
            "offline": True,
            **WAYS[way],
        }
        if way == "preview":
            given["swap"] = {"vae": film.decoder}
        known = self.tool.settings.model_fields
        if strange := [name for name in given if name not in known]:
            raise NotThereError(f"the setting {', '.join(strange)}")
        self._given = given
        self.said: list[str] = []

    def warm(self) -> None:
        """Make the film once in a few steps, so that all is compiled and the batch is known."""
        film, batches = self.film, list[int]()
        steps = None if self.way in WARMED_WHOLE else film.warm_steps
        with counted(batches):
            self.make(film.seed + 1, film.target.with_name("warm.mp4"), steps=steps)
        self._given["batch_size"] = max(batches)

    def make(
        self, seed: int, output: Path, *, steps: int | None = None, keep: bool = False
    ) -> None:
        """The film, as the command makes it.

        Args:
            seed: of the noise; frames of the same seed that are kept are not made anew.
            output: an mp4.
            steps: other than the film's own.
            keep: keep finished frames, as the command does by default.
        """
        from sdcreative.produce import produce

        changes = {"steps": steps} if steps else {}
        produce(
            self.tool,
            self.tool.settings(**{**self._given, **changes, "seed": seed, "output": str(output)}),
            default_name="film",
            overwrite=True,
            dry_run=False,
            report=self.said.append,
            keep=keep,
            studios=self.studios,
        )


@contextmanager
def replaced(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """A function of a class replaced by what is wrapped around it."""
    original = getattr(owner, name)
    setattr(owner, name, wrap(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


@contextmanager
def counted(batches: list[int]) -> Iterator[None]:
    """It is noted how many shots are denoised together."""
    from sdcreative.rendering.denoising import Denoiser

    def wrap(original: Any) -> Any:
        def latents(denoiser: Any, shots: Any, *given: Any, **options: Any) -> Any:
            batches.append(len(shots))
            return original(denoiser, shots, *given, **options)

        return latents

    with replaced(Denoiser, "latents", wrap):
        yield


@contextmanager
def timed_by(clock: Clock) -> Iterator[None]:
    """The first picture is noted."""
    from sdcreative.studio import Studio

    def render(original: Any) -> Any:
        return lambda *given, **options: clock.pictures(original(*given, **options))

    with replaced(Studio, "render", render):
        yield


def film(task: dict[str, Any], notes: Notes) -> None:
    """Make the film; ``way`` of the task is one of ``WAYS``, ``keep`` whether frames are kept."""
    film = Film.of(task)
    ours = Ours(film, task["way"])
    if film.warm:
        ours.warm()
    clock, batches = Clock(film, notes), list[int]()
    with timed_by(clock), counted(batches):
        clock.start()
        ours.make(film.seed, film.target, keep=task["keep"])
        clock.stop()
    notes(batch=max(batches))
    if slow := [line for line in ours.said if line.startswith("not compiled")]:
        notes(remark=slow[0])
    if film.alone:
        seconds, rows = denoised_again(ours, film.alone)
        notes(denoising=seconds / rows)


def denoised_again(ours: Ours, frames: int) -> tuple[float, int]:
    """Seconds for a number of frames that are denoised and nothing else; and that number.

    Another film is made, and at its end its first batch is denoised again: in the thread that
    denoises, since graphs that are recorded there cannot be played elsewhere.
    """
    from sdcreative.rendering.denoising import Denoiser

    film = ours.film
    found: list[tuple[float, int]] = []

    def wrap(original: Any) -> Any:
        seen: list[Any] = []

        def latents(denoiser: Any, shots: Any, *given: Any, **options: Any) -> Any:
            finished = original(denoiser, shots, *given, **options)
            seen.append(shots)
            if not found and sum(map(len, seen)) >= film.frames:
                first = max(seen, key=len)
                times = -(-frames // len(first))

                def again() -> None:
                    for _ in range(times):
                        original(denoiser, first, *given, **options)

                found.append((timed(film.device, again), times * len(first)))
            return finished

        return latents

    with replaced(Denoiser, "latents", wrap):
        ours.make(film.seed + 2, film.target.with_name("alone.mp4"), keep=False)
    if not found:
        raise NotThereError("a batch that could be denoised again")
    return found[0]


def begin(task: dict[str, Any], notes: Notes) -> None:
    """The film in a fresh process; only its first picture counts."""
    film = Film.of(task)
    ours = Ours(film, "exact")
    with timed_by(Clock(film, notes)):
        ours.make(film.seed, film.target)


def latents(task: dict[str, Any], notes: Notes) -> None:
    """Final latents (frames, C, h, w) of the film, to a file."""
    import torch

    from sdcreative.rendering.denoising import Denoiser

    same_in_float32()
    film = Film.of(task)
    ours = Ours(film, task["way"])
    rows: dict[int, Any] = {}

    def wrap(original: Any) -> Any:
        def kept(denoiser: Any, shots: Any, *given: Any, **options: Any) -> Any:
            finished = original(denoiser, shots, *given, **options)
            for shot, row in zip(shots, finished, strict=False):
                rows[shot.index] = row.float().cpu()
            return finished

        return kept

    with replaced(Denoiser, "latents", wrap):
        ours.make(film.seed, film.target, keep=False)
    save(torch.stack([rows[index] for index in range(film.frames)]), film, notes)

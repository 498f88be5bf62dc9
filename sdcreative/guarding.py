"""What a model's safety checker says of the pictures of a film, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Literal

from .errors import ModelError, RenderError
from .models.places import ModelPlace

if TYPE_CHECKING:
    from PIL.Image import Image

    from .models.safety import Safety

Policy = Literal["off", "report", "stop"]


class Guard:
    """Looks at every picture of a film as it passes; none is changed.

    Args:
        policy: off looks at nothing, report says at the end which frames were flagged, stop ends
            the film at the first.
        place: the model, which may bring a checker.
        load: loads the checker when the first picture comes.
    """

    def __init__(
        self, policy: Policy, place: ModelPlace, load: Callable[[], Safety | None]
    ) -> None:
        self.policy, self._load = policy, load
        self.flagged: list[int] = []
        brings = place.path.is_dir() and (place.path / "safety_checker").is_dir()
        self.absent = policy != "off" and not brings
        if policy == "stop" and self.absent:
            raise ModelError(
                f"safety: stop, but {place.path} brings no safety checker; use safety: off, or a "
                "model that has one"
            )

    def watch(self, pictures: Generator[Image, None, None]) -> Generator[Image, None, None]:
        """The pictures themselves.

        Raises:
            RenderError: a picture is flagged, and the policy is to stop.
            ModelError: the checker is broken.
        """
        safety = None if self.policy == "off" or self.absent else self._load()
        try:
            for index, picture in enumerate(pictures):
                if safety is not None and safety.check([picture])[0]:
                    self.flagged.append(index)
                    if self.policy == "stop":
                        raise RenderError(
                            f"frame {index}: the model's safety checker flags it; change the "
                            "prompt or the seed, or set safety: report"
                        )
                yield picture
        finally:
            pictures.close()

    def summary(self) -> str | None:
        """One line on what was found; None where nothing was looked at."""
        if self.policy == "off":
            return None
        if self.absent:
            return "safety: the model brings no safety checker; nothing was checked"
        if not self.flagged:
            return "safety: no frame is flagged"
        return f"safety: flagged frames {ranges(self.flagged)}"


def ranges(numbers: list[int]) -> str:
    """Numbers in order, neighbours as one range.

    >>> ranges([3, 7, 8, 9, 12])
    '3, 7-9, 12'
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)

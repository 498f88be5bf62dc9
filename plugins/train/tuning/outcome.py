"""What came of a tuning, in words and in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .store import write_whole

LITTLE = 0.005
"""relative change of the validation loss below which nothing is said to be learned"""
UNSEEN = 0.01
"""distance of pictures below which nobody sees a difference"""
RISEN = 0.02
"""rise over the lowest validation loss, relative to it, that is called overfitting"""


def tell_outcome(
    rows: Sequence[Mapping[str, float]],
    target: Path,
    report: Callable[[str], None],
    *,
    held_out: bool,
) -> None:
    """Say whether the validation loss fell, how far pictures moved, and what their colours did.

    Args:
        rows: measurements in order; the first one is of step 0.
        target: JSON file of the figures.
        report: prints one line.
        held_out: whether the loss is that of held-out pictures.

    Raises:
        OutputError: the file cannot be written.
    """
    first, last = rows[0], rows[-1]
    lowest = min(rows, key=lambda row: row["validation_loss"])
    before, after = first["validation_loss"], last["validation_loss"]
    change = after / before - 1
    whose = "held-out pictures" if held_out else "the training pictures, as none are held out,"
    verdict = "it fell" if change < -LITTLE else "it did not fall"
    report(f"outcome: loss on {whose} {before:.4f} -> {after:.4f} ({change:+.1%}): {verdict}")
    if after > lowest["validation_loss"] * (1 + RISEN):
        report(
            f"outcome: it was lowest, {lowest['validation_loss']:.4f}, at step "
            f"{lowest['step']:.0f} and has risen since: fewer steps, or a lower learning_rate"
        )
    moved = last["moved"]
    unseen = "; hardly visible: more steps, or a higher learning_rate" if moved < UNSEEN else ""
    report(f"outcome: pictures of the same seeds moved by {moved:.1%} of the way black to white"
           f"{unseen}")  # fmt: skip
    report(
        f"outcome: saturation {first['saturation']:.3f} -> {last['saturation']:.3f}, distance of "
        f"colours from the training pictures {first['colour_distance']:.3f} -> "
        f"{last['colour_distance']:.3f}"
    )
    figures = {"first": first, "last": last, "lowest": lowest, "held_out": held_out}
    write_whole(target, (json.dumps(figures, indent=2) + "\n").encode())

"""What there is to learn from, said before any of it is: sizes, crops, twins, long captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .buckets import Placement, Size, bucket_sizes, nearest_bucket, place
from .examples import Example

ALIKE = 3
"""bits of 64 in which pictures that look the same may differ"""
SHOWN = 5
FAR = 512
"""models of at least so many pixels have buckets in steps of 64"""


def plan_buckets(
    examples: Sequence[Example], shape: Size, step: int, *, many: bool
) -> list[Placement]:
    """Where each picture goes.

    Args:
        examples: the pictures.
        shape: (width, height) whose area all buckets have.
        step: sides are multiples of it.
        many: buckets of all forms; else one, of the shape itself.
    """
    sizes = bucket_sizes(shape[0] * shape[1], step) if many else [_multiple(shape, step)]
    return [place(one.size, nearest_bucket(one.size, sizes)) for one in examples]


def default_step(own: Size, multiple: int) -> int:
    """64 for models of full size, else what sides have to be multiples of, at least 8 pixels."""
    if min(own) >= FAR:
        return 64
    return max(multiple, 8 // multiple * multiple)


def _multiple(shape: Size, step: int) -> Size:
    width, height = (max(step, side // step * step) for side in shape)
    return width, height


def tell(
    examples: Sequence[Example],
    placements: Sequence[Placement],
    tokenizers: Sequence[tuple[Any, int]],
    report: Callable[[str], None],
) -> None:
    """Say what the data is like.

    Args:
        examples, placements: the pictures, and where they go.
        tokenizers: each with the number of tokens that it has room for, its two ends counted.
        report: prints one line.
    """
    widths, heights = zip(*(one.size for one in examples), strict=True)
    report(
        f"data: {len(examples)} pictures, {min(widths)}x{min(heights)} to "
        f"{max(widths)}x{max(heights)} pixels, {len({p.bucket for p in placements})} bucket(s)"
    )
    counts = Counter(one.bucket for one in placements)
    for (width, height), count in sorted(counts.items(), key=lambda row: (-row[1], row[0])):
        own = [one for one in placements if one.bucket == (width, height)]
        cut = sum(one.cut for one in own) / len(own)
        report(
            f"data: {width}x{height}: {count} pictures, {cut:.1%} of them cut off on average, "
            f"{max(one.cut for one in own):.1%} at most"
        )
    small = sum(one.enlarged for one in placements)
    if small:
        report(f"data: {small} pictures are smaller than their bucket, and enlarged")
    _tell_twins(examples, report)
    _tell_long(examples, tokenizers, report)


def twins(looks: Sequence[int], alike: int = ALIKE) -> list[tuple[int, int]]:
    """Pairs of places whose 64 bits differ in at most so many."""
    rows = np.array(looks, dtype=np.uint64)
    found = []
    for place_, look in enumerate(rows[:-1]):
        different = np.unpackbits((rows[place_ + 1 :] ^ look).view(np.uint8).reshape(-1, 8), axis=1)
        near = np.flatnonzero(different.sum(axis=1) <= alike)
        found += [(place_, place_ + 1 + int(other)) for other in near]
    return found


def _tell_twins(examples: Sequence[Example], report: Callable[[str], None]) -> None:
    pairs = twins([one.look for one in examples])
    if not pairs:
        return
    shown = "; ".join(f"{examples[a].name} and {examples[b].name}" for a, b in pairs[:SHOWN])
    more = "; …" if len(pairs) > SHOWN else ""
    report(
        f"data: {len(pairs)} pairs look the same: {shown}{more}. What is there twice counts twice, "
        "and a held-out picture with a twin measures nothing"
    )


def _tell_long(
    examples: Sequence[Example],
    tokenizers: Sequence[tuple[Any, int]],
    report: Callable[[str], None],
) -> None:
    captions = {caption: one.name for one in examples for caption in one.captions}
    for tokenizer, room in tokenizers:
        lengths = {
            caption: len(tokenizer(caption, verbose=False).input_ids) for caption in captions
        }
        long = [caption for caption, length in lengths.items() if length > room]
        if long:
            first = long[0]
            report(
                f"data: {len(long)} captions have more than {room} tokens; the rest of them is not "
                f"learned: {captions[first]} ({lengths[first]} tokens)"
            )
            return

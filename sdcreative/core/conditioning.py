"""Conditioning: what the denoiser is told of a prompt, how two are blended, and guidance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UsageError
from .curves import EVEN, Spans, smooth_lerp, smooth_slerp
from .shots import Method


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Embeddings of N prompts; N is 1 until ``stack`` joins several.

    Attributes:
        embeddings: one vector for each token, (N, T, W). A long prompt is several chunks of the
            text encoder's length, one after another: T is a multiple of it.
        pooled: one vector for each prompt, (N, P), for models that ask for it; else None.
        sizes: original height and width, top and left of the crop, target height and width in
            pixels, (N, 6), as Stable Diffusion XL is told them; None until a batch is made.
        scale: guidance scales, (N,), for models that are told them; else None.

    Raises:
        UsageError: other shapes.
    """

    embeddings: Tensor
    pooled: Tensor | None = None
    sizes: Tensor | None = None
    scale: Tensor | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.embeddings.shape)
        if len(shape) != 3:
            raise UsageError(f"embeddings have shape {shape}; give (prompts, tokens, width)")
        if self.pooled is not None and (
            self.pooled.ndim != 2 or self.pooled.shape[0] != self.embeddings.shape[0]
        ):
            raise UsageError(
                f"pooled embeddings have shape {tuple(self.pooled.shape)} for {shape[0]} "
                "prompts; give (prompts, width)"
            )


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The prompts around a path between two, which make it a smooth curve; see ``core.curves``.

    Attributes:
        before: the prompt before the path's start, as long as that; None where there is none.
        after: the prompt after its end, likewise.
        spans: how long the ways before -> start, start -> end and end -> after last.
    """

    before: Conditioning | None = None
    after: Conditioning | None = None
    spans: Spans = EVEN


def blend(
    a: Conditioning,
    b: Conditioning,
    t: float,
    method: Method = "slerp",
    *,
    centre: Conditioning | None = None,
    neighbours: Neighbours | None = None,
) -> Conditioning:
    """The point at t between two prompts of equal length.

    Tokens that are the same in both, such as the start token, stay the same bit for bit.

    Args:
        a: given back, as a copy, at t = 0.
        b: given back, as a copy, at t = 1; ``align`` makes it as long as a.
        t: in [0, 1].
        method: "slerp" turns the vector of each token on its own arc; "lerp" goes straight.
        centre: the prompt whose tokens slerp turns around, as long as a; the origin if None. A
            straight line has no centre.
        neighbours: the prompts that the path comes from and goes on to; None for the shortest way.

    Raises:
        UsageError: t or method out of range, lengths, widths or numbers of prompts that differ,
            one without pooled.
    """
    if method not in ("slerp", "lerp"):
        raise UsageError(f"no way of blending is called {method!r}; choose slerp or lerp")
    around = neighbours or Neighbours()
    involved = (around.before, around.after, centre)
    _check_alike([a, b, *(each for each in involved if each is not None)])

    def point(start: Tensor, end: Tensor, *beside: Tensor | None) -> Tensor:
        before, after, middle = beside
        if method == "lerp":
            return smooth_lerp(before, start, end, after, t, around.spans)
        return smooth_slerp(before, start, end, after, t, around.spans, centre=middle)

    pooled = None
    if a.pooled is not None and b.pooled is not None:
        pooled = point(a.pooled, b.pooled, *(None if c is None else c.pooled for c in involved))
    beside = (None if c is None else c.embeddings for c in involved)
    return Conditioning(point(a.embeddings, b.embeddings, *beside), pooled)


def align(
    a: Conditioning, b: Conditioning, empty: Conditioning
) -> tuple[Conditioning, Conditioning]:
    """Make two prompts equally long: the shorter one goes on with chunks of the empty prompt.

    Args:
        a: (N, T, W).
        b: (N, T', W).
        empty: the empty prompt, one chunk, (1, C, W).

    Returns:
        a and b, both as long as the longer; the longer is given back as it is.

    Raises:
        UsageError: lengths that differ by something other than whole chunks.
    """
    tokens = max(a.embeddings.shape[1], b.embeddings.shape[1])
    return pad(a, tokens, empty), pad(b, tokens, empty)


def pad(conditioning: Conditioning, tokens: int, empty: Conditioning) -> Conditioning:
    """Lengthen a prompt to so many tokens with chunks of the empty prompt, (1, C, W).

    Raises:
        UsageError: the prompt is longer, or lacks something other than whole chunks.
    """
    count, length, _ = conditioning.embeddings.shape
    chunk = empty.embeddings.shape[1]
    chunks, rest = divmod(tokens - length, chunk)
    if chunks < 0 or rest:
        raise UsageError(
            f"cannot lengthen a prompt of {length} tokens to {tokens} with chunks of {chunk}"
        )
    if not chunks:
        return conditioning
    padding = empty.embeddings.to(conditioning.embeddings).expand(count, -1, -1)
    embeddings = torch.cat([conditioning.embeddings, *[padding] * chunks], dim=1)
    return Conditioning(embeddings, conditioning.pooled)


def fit(conditioning: Conditioning, tokens: int, empty: Conditioning) -> Conditioning:
    """A prompt beside a path of so many tokens: padded as ``pad`` does, or cut.

    What a neighbour or a centre has beyond both ends of a path moves nothing: there both ends
    are chunks of the empty prompt, and what is equal in both stays as it is.
    """
    if conditioning.embeddings.shape[1] > tokens:
        return Conditioning(conditioning.embeddings[:, :tokens], conditioning.pooled)
    return pad(conditioning, tokens, empty)


def stack(conditionings: Sequence[Conditioning]) -> Conditioning:
    """Join prompts of equal length into one batch, in order.

    Raises:
        UsageError: none given, lengths or widths that differ, some without pooled.
    """
    if not conditionings:
        raise UsageError("no conditioning to stack; give at least one")
    _check_alike(conditionings)
    pooled = [each.pooled for each in conditionings if each.pooled is not None]
    sizes = [each.sizes for each in conditionings if each.sizes is not None]
    scales = [each.scale for each in conditionings if each.scale is not None]
    return Conditioning(
        torch.cat([each.embeddings for each in conditionings]),
        torch.cat(pooled) if pooled else None,
        torch.cat(sizes) if sizes else None,
        torch.cat(scales) if scales else None,
    )


def guide(unconditional: Tensor, conditional: Tensor, scale: float | Tensor) -> Tensor:
    """Classifier-free guidance: away from one prediction of the denoiser, towards the other.

    J. Ho and T. Salimans, "Classifier-free diffusion guidance" (2022), equation 6, with
    scale = 1 + w:

        (1 + w) conditional - w unconditional = unconditional + scale (conditional - unconditional)

    Args:
        unconditional: prediction for the negative prompt, (N, C, H, W).
        conditional: prediction for the prompt, likewise.
        scale: 0 gives the unconditional, 1 the conditional prediction, both up to rounding; a
            tensor (N,) holds one for each picture.

    Returns:
        Shape and dtype of the predictions; computed in at least float32, so that a picture is the
        same whether its scale comes as a number or in a tensor.

    Raises:
        UsageError: predictions that differ in shape, or not one scale for each picture.
    """
    if unconditional.shape != conditional.shape:
        raise UsageError(
            f"cannot guide from shape {tuple(unconditional.shape)} to "
            f"{tuple(conditional.shape)}; predict both for the same pictures"
        )
    wide = torch.promote_types(conditional.dtype, torch.float32)
    start, end = unconditional.to(wide), conditional.to(wide)
    if isinstance(scale, Tensor):
        if scale.ndim and scale.shape != conditional.shape[:1]:
            raise UsageError(
                f"guidance scales have shape {tuple(scale.shape)} for "
                f"{conditional.shape[0]} pictures; give one for each"
            )
        scale = scale.to(start).reshape(-1, *[1] * (conditional.ndim - 1))
    return (start + scale * (end - start)).to(conditional.dtype)


def _check_alike(conditionings: Sequence[Conditioning]) -> None:
    shapes = {tuple(each.embeddings.shape[1:]) for each in conditionings}
    if len(shapes) > 1:
        raise UsageError(
            f"embeddings have (tokens, width) {' and '.join(map(str, sorted(shapes)))}; "
            "align unequal lengths first, and take all from one model"
        )
    pooled = {None if each.pooled is None else each.pooled.shape[1] for each in conditionings}
    if len(pooled) > 1:
        raise UsageError(
            "pooled embeddings differ in width, or are not there for all prompts; "
            "take all from one model"
        )

"""Embeddings of the built-in model: centres, curves, and prompts of unequal length."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sdcreative import Blend, Curve, Studio
from sdcreative.core.conditioning import Conditioning
from sdcreative.core.curves import smooth_slerp
from sdcreative.core.interpolation import slerp
from sdcreative.core.shots import Centre
from sdcreative.rendering.embeddings import Embeddings

BEAR, APPLE, CAR = "a picture of a bear", "a picture of a red apple", "a blue car"
LONG = " ".join(["a picture of a green frog, a red apple and a blue car"] * 9)
CENTRES: list[Centre] = ["zero", "empty", "negative"]


@pytest.fixture
def embeddings(studio: Studio) -> Embeddings:
    return Embeddings(studio.parts)


def tokens(conditioning: Conditioning | None) -> Tensor:
    assert conditioning is not None
    return conditioning.embeddings


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_centres(embeddings: Embeddings, t: float) -> None:
    bear, apple, car, empty = (tokens(embeddings.of(text)) for text in (BEAR, APPLE, CAR, ""))
    middles = {"zero": None, "empty": empty, "negative": car}
    for centre in CENTRES:
        found, free = embeddings.pair(Blend(BEAR, APPLE, t, centre=centre), Blend(CAR), 7.5)
        assert torch.equal(tokens(found), slerp(bear, apple, t, centre=middles[centre]))
        assert torch.equal(tokens(free), car)


def test_a_negative_centre_is_encoded_without_guidance_too(embeddings: Embeddings) -> None:
    wanted = Blend(BEAR, APPLE, 0.3, centre="negative")
    guided, _ = embeddings.pair(wanted, Blend(CAR), 7.5)
    alone, free = embeddings.pair(wanted, Blend(CAR), 1)
    assert free is None
    assert torch.equal(tokens(alone), tokens(guided))


def test_a_negative_prompts_own_path_turns_around_the_empty_prompt(embeddings: Embeddings) -> None:
    path = Blend(CAR, APPLE, 0.3, centre="negative")
    _, free = embeddings.pair(Blend(BEAR), path, 7.5)
    assert torch.equal(tokens(free), tokens(embeddings.blend(replace(path, centre="empty"))))


def test_a_curve_goes_through_its_neighbours(embeddings: Embeddings) -> None:
    spans = (1.0, 2.0, 3.0)
    points = [tokens(embeddings.of(text)) for text in (CAR, BEAR, APPLE, "")]
    found = embeddings.blend(Blend(BEAR, APPLE, 0.3, curve=Curve(CAR, "", spans)))
    assert torch.equal(tokens(found), smooth_slerp(*points, 0.3, spans))
    ended = embeddings.blend(Blend(BEAR, APPLE, 0.3, curve=Curve(CAR, None, spans)))
    assert torch.equal(tokens(ended), smooth_slerp(*points[:3], None, 0.3, spans))


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize(
    ("prompts", "negative"),
    [
        ((LONG, BEAR, APPLE, CAR), ""),
        ((BEAR, LONG, APPLE, CAR), ""),
        ((BEAR, APPLE, LONG, CAR), ""),
        ((BEAR, APPLE, CAR, LONG), ""),
        ((BEAR, APPLE, CAR, ""), LONG),
        ((LONG, LONG + " at night", LONG, CAR), LONG),
    ],
)
def test_prompts_of_any_length_go_together(
    embeddings: Embeddings, prompts: tuple[str, str, str, str], negative: str, centre: Centre
) -> None:
    before, start, end, after = prompts
    curve = Curve(before, after)

    def at(t: float) -> tuple[Conditioning, Conditioning | None]:
        return embeddings.pair(Blend(start, end, t, "slerp", centre, curve), Blend(negative), 7.5)

    for t in (0.0, 0.4, 1.0):
        found, free = at(t)
        assert tokens(found).shape == tokens(free).shape
        assert torch.isfinite(tokens(found)).all()
    for t, prompt in ((0.0, start), (1.0, end)):
        plain = tokens(embeddings.of(prompt))
        assert torch.equal(tokens(at(t)[0])[:, : plain.shape[1]], plain)


def test_a_long_neighbour_does_not_lengthen_a_path(embeddings: Embeddings) -> None:
    """Else a keyframe would be shown with more chunks on its path than on its own: a jump."""
    assert len(tokens(embeddings.of(LONG))[0]) > len(tokens(embeddings.of(BEAR))[0])
    path = Blend(BEAR, APPLE, 0.5, "slerp", "empty", Curve(LONG, LONG))
    assert tokens(embeddings.blend(path)).shape == tokens(embeddings.of(BEAR)).shape


@pytest.mark.parametrize("centre", CENTRES)
def test_what_all_prompts_share_does_not_move(embeddings: Embeddings, centre: Centre) -> None:
    """CLIP's tokens know only those before them, so that equal beginnings are equal vectors."""
    bear, apple = tokens(embeddings.of(BEAR)), tokens(embeddings.of(APPLE))
    shared = int((bear == apple).all(dim=-1).sum())
    assert shared >= 4
    path = Blend(BEAR, APPLE, 0.4, "slerp", centre, Curve(CAR, ""))
    found, _ = embeddings.pair(path, Blend(CAR), 7.5)
    assert torch.equal(tokens(found)[:, :shared], bear[:, :shared])

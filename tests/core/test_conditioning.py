import dataclasses

import pytest
import torch

from sdcreative.core.conditioning import (
    Conditioning,
    Neighbours,
    align,
    blend,
    fit,
    guide,
    pad,
    stack,
)
from sdcreative.core.curves import smooth_lerp, smooth_slerp
from sdcreative.core.interpolation import lerp, slerp
from sdcreative.errors import UsageError

CHUNK, WIDTH, POOLED = 7, 16, 12


def prompt(seed, chunks=1, pooled=True, dtype=torch.float32):
    """Embeddings that begin, as those of CLIP do, with the same start token in every prompt."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(1, chunks * CHUNK, WIDTH, generator=generator)
    embeddings[:, 0] = 1 / 3
    summary = torch.randn(1, POOLED, generator=generator) if pooled else None
    return Conditioning(embeddings.to(dtype), None if summary is None else summary.to(dtype))


def same(a, b):
    return torch.equal(a.embeddings, b.embeddings) and (
        a.pooled is b.pooled is None or torch.equal(a.pooled, b.pooled)
    )


@pytest.mark.parametrize(("method", "function"), [("slerp", slerp), ("lerp", lerp)])
@pytest.mark.parametrize("t", [0.25, 0.5, 0.9])
def test_blend_takes_each_token_and_the_pooled_vector(method, function, t):
    a, b = prompt(0), prompt(1)
    result = blend(a, b, t, method)
    for token in range(CHUNK):
        expected = function(a.embeddings[0, token], b.embeddings[0, token], t)
        assert torch.equal(result.embeddings[0, token], expected)
    assert torch.equal(result.pooled, function(a.pooled, b.pooled, t))


@pytest.mark.parametrize("method", ["slerp", "lerp"])
@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_ends_are_the_plain_prompts(method, pooled, dtype):
    a, b = prompt(0, pooled=pooled, dtype=dtype), prompt(1, pooled=pooled, dtype=dtype)
    assert same(blend(a, b, 0.0, method), a)
    assert same(blend(a, b, 1.0, method), b)


@pytest.mark.parametrize("method", ["slerp", "lerp"])
@pytest.mark.parametrize("step", range(11))
def test_what_two_prompts_share_does_not_grow(method, step):
    a, b = prompt(2), prompt(3)
    assert same(blend(a, a, step / 10, method), a)
    assert torch.equal(blend(a, b, step / 10, method).embeddings[:, 0], a.embeddings[:, 0])


def test_blend_refuses():
    a = prompt(0)
    with pytest.raises(UsageError, match=r"\(7, 16\) and \(14, 16\); align"):
        blend(a, prompt(1, chunks=2), 0.5)
    with pytest.raises(UsageError, match="not there for all prompts"):
        blend(a, prompt(1, pooled=False), 0.5)
    with pytest.raises(UsageError, match="'cubic'; choose slerp or lerp"):
        blend(a, a, 0.5, "cubic")
    with pytest.raises(UsageError, match=r"t is 1\.5"):
        blend(a, a, 1.5)


@pytest.mark.parametrize(("first", "second"), [(1, 3), (3, 1), (2, 3), (2, 2)])
def test_align_repeats_the_empty_prompt(first, second):
    a, b, empty = prompt(0, chunks=first), prompt(1, chunks=second), prompt(9)
    longest = max(first, second)
    for before, after, chunks in zip((a, b), align(a, b, empty), (first, second), strict=True):
        assert after.embeddings.shape == (1, longest * CHUNK, WIDTH)
        assert torch.equal(after.embeddings[:, : chunks * CHUNK], before.embeddings)
        for chunk in range(chunks, longest):
            rows = after.embeddings[:, chunk * CHUNK : (chunk + 1) * CHUNK]
            assert torch.equal(rows, empty.embeddings)
        assert torch.equal(after.pooled, before.pooled)
        if chunks == longest:
            assert after is before
    blend(*align(a, b, empty), 0.5)


def test_pad_serves_a_batch_and_keeps_its_dtype():
    batch = stack([prompt(0, dtype=torch.float16), prompt(1, dtype=torch.float16)])
    padded = pad(batch, 2 * CHUNK, prompt(9))
    assert padded.embeddings.shape == (2, 2 * CHUNK, WIDTH)
    assert padded.embeddings.dtype == torch.float16


@pytest.mark.parametrize("tokens", [CHUNK - 1, CHUNK + 1, 0])
def test_pad_refuses_parts_of_chunks(tokens):
    with pytest.raises(UsageError, match=f"7 tokens to {tokens} with chunks of 7"):
        pad(prompt(0), tokens, prompt(9))


@pytest.mark.parametrize("pooled", [True, False])
def test_stack_keeps_the_order(pooled):
    prompts = [prompt(seed, pooled=pooled) for seed in (4, 2, 7)]
    batch = stack(prompts)
    assert batch.embeddings.shape == (3, CHUNK, WIDTH)
    for row, each in enumerate(prompts):
        assert torch.equal(batch.embeddings[row : row + 1], each.embeddings)
        if pooled:
            assert torch.equal(batch.pooled[row : row + 1], each.pooled)
    assert (batch.pooled is None) is not pooled


def test_stack_refuses():
    with pytest.raises(UsageError, match="no conditioning to stack"):
        stack([])
    with pytest.raises(UsageError, match="align unequal lengths first"):
        stack([prompt(0), prompt(1, chunks=2)])
    with pytest.raises(UsageError, match="not there for all prompts"):
        stack([prompt(0), prompt(1, pooled=False)])
    with pytest.raises(UsageError, match="differ in width"):
        stack([prompt(0), Conditioning(prompt(1).embeddings, torch.zeros(1, POOLED + 1))])


def test_conditioning_checks_its_shapes_and_is_frozen():
    with pytest.raises(UsageError, match=r"shape \(7, 16\)"):
        Conditioning(torch.zeros(7, 16))
    with pytest.raises(UsageError, match=r"shape \(2, 12\) for 1 prompts"):
        Conditioning(torch.zeros(1, 7, 16), torch.zeros(2, 12))
    with pytest.raises(dataclasses.FrozenInstanceError):
        prompt(0).pooled = None


def predictions(dtype=torch.float32):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2, 3, 4, 8, 8, generator=generator).to(dtype)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 7.5, 30.0])
def test_guide_is_equation_6(scale):
    unconditional, conditional = predictions(torch.float64)
    w = scale - 1
    expected = (1 + w) * conditional - w * unconditional
    torch.testing.assert_close(guide(unconditional, conditional, scale), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_guide_is_the_same_from_a_number_and_from_a_tensor(dtype):
    unconditional, conditional = predictions(dtype)
    scales = [1.0, 7.3, 12.1]
    batch = guide(unconditional, conditional, torch.tensor(scales))
    assert batch.dtype == dtype
    for row, scale in enumerate(scales):
        alone = guide(unconditional[row : row + 1], conditional[row : row + 1], scale)
        assert torch.equal(batch[row : row + 1], alone)


def test_guide_leaves_equal_predictions_and_its_inputs_alone():
    unconditional, conditional = predictions()
    before = conditional.clone()
    assert torch.equal(guide(conditional, conditional, 7.5), before)
    guide(unconditional, conditional, 7.5)
    assert torch.equal(conditional, before)


def test_guide_refuses():
    unconditional, conditional = predictions()
    with pytest.raises(UsageError, match="same pictures"):
        guide(unconditional[:2], conditional, 7.5)
    for scales in (torch.ones(2), torch.ones(3, 1)):
        with pytest.raises(UsageError, match="give one for each"):
            guide(unconditional, conditional, scales)


@pytest.mark.parametrize("method", ["slerp", "lerp"])
@pytest.mark.parametrize("t", [0.25, 0.9])
def test_neighbours_bend_each_token_and_the_pooled_vector(method, t):
    before, a, b, after, centre = (prompt(seed) for seed in range(5))
    spans = (1.0, 2.0, 0.5)
    function, options = smooth_lerp, {}
    if method == "slerp":
        function, options = smooth_slerp, {"centre": centre.embeddings[0]}
    around = Neighbours(before, after, spans)
    result = blend(a, b, t, method, centre=centre, neighbours=around)
    tokens = [each.embeddings[0] for each in (before, a, b, after)]
    assert torch.equal(result.embeddings[0], function(*tokens, t, spans, **options))
    if method == "slerp":
        options = {"centre": centre.pooled}
    pooled = [each.pooled for each in (before, a, b, after)]
    assert torch.equal(result.pooled, function(*pooled, t, spans, **options))
    assert same(blend(a, b, 0.0, method, centre=centre, neighbours=around), a)
    assert same(blend(a, b, 1.0, method, centre=centre, neighbours=around), b)
    assert torch.equal(result.embeddings[:, 0], a.embeddings[:, 0])


def test_a_centre_changes_slerp_and_leaves_lerp_alone():
    a, b, centre = prompt(0), prompt(1), prompt(2)
    assert same(blend(a, b, 0.5, "lerp", centre=centre), blend(a, b, 0.5, "lerp"))
    assert not same(blend(a, b, 0.5, centre=centre), blend(a, b, 0.5))


def test_neighbours_and_centre_are_checked_too():
    a, b = prompt(0), prompt(1)
    with pytest.raises(UsageError, match="align"):
        blend(a, b, 0.5, centre=prompt(2, chunks=2))
    with pytest.raises(UsageError, match="not there for all prompts"):
        blend(a, b, 0.5, neighbours=Neighbours(after=prompt(2, pooled=False)))


def test_fit_pads_or_cuts():
    empty, long = prompt(9), prompt(0, chunks=3)
    assert same(fit(long, 3 * CHUNK, empty), long)
    assert torch.equal(fit(long, CHUNK, empty).embeddings, long.embeddings[:, :CHUNK])
    assert torch.equal(fit(long, CHUNK, empty).pooled, long.pooled)
    assert same(fit(prompt(1), 2 * CHUNK, empty), pad(prompt(1), 2 * CHUNK, empty))

"""A denoiser in full and in its outermost layers, against diffusers' own forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sdcreative import Studio, UsageError
from sdcreative.core.conditioning import Conditioning
from sdcreative.models.caching import caching_predictors, timed_share
from sdcreative.models.denoiser import predictor
from sdcreative.models.loading import Parts, load_parts
from sdcreative.models.seamless import wrapping
from sdcreative.models.shallow import full_and_shallow

CPU = torch.device("cpu")
TIME = torch.tensor(500)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=["sd1", "sdxl", "sd3", "emoji"])
def parts(request: pytest.FixtureRequest) -> Parts:
    if request.param == "emoji":
        studio: Studio = request.getfixturevalue("studio")
        return studio.parts
    names = {"sd1": "tiny_checkpoint", "sdxl": "tiny_xl", "sd3": "tiny_sd3"}
    folder: Path = request.getfixturevalue(names[request.param])
    return load_parts(folder, device=CPU, dtype=torch.float32)


def asked(parts: Parts, count: int = 2, height: int = 8, width: int = 8) -> Any:
    """Latents, timestep and conditioning of so many rows."""
    config = parts.denoiser.config
    latents = noise(0, count, config.in_channels, height, width)
    width = config.get("cross_attention_dim") or config.joint_attention_dim
    words = Conditioning(noise(1, count, 5, width))
    if parts.family.name == "sdxl":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        words = replace(words, pooled=noise(2, count, pooled), sizes=torch.full((count, 6), 32.0))
    if parts.family.name == "sd3":
        words = replace(words, pooled=noise(2, count, config.pooled_projection_dim))
    return latents, TIME, words


def depths(parts: Parts) -> range:
    if parts.transformer is not None:
        return range(1, len(parts.transformer.transformer_blocks))
    return range(1, 1 + sum(len(block.resnets) for block in parts.unet.up_blocks))


@torch.inference_mode()
def test_full_is_the_model_bit_for_bit_and_shallow_the_same(parts: Parts) -> None:
    call = asked(parts)
    expected = predictor(parts)(*call)
    for depth in depths(parts):
        full, shallow = caching_predictors(parts, depth)
        output, features = full(*call)
        assert torch.equal(output, expected)
        assert (shallow(*call, features) - expected).abs().max() <= 1e-5


@torch.inference_mode()
def test_a_shallow_call_sees_its_own_latents_and_the_others_features(parts: Parts) -> None:
    full, shallow = caching_predictors(parts, 1)
    latents, time, words = asked(parts)
    _, features = full(latents, time, words)
    expected, _ = full(latents + 0.1, time, words)
    found = shallow(latents + 0.1, time, words, features)
    assert (found - expected).abs().max() > 1e-6
    assert (shallow(latents, time, words, features) - found).abs().max() > 1e-4


@torch.inference_mode()
@pytest.mark.parametrize(("height", "width"), [(7, 10), (9, 5)])
def test_sides_that_do_not_halve_evenly(studio: Studio, height: int, width: int) -> None:
    call = asked(studio.parts, 1, height, width)
    expected = predictor(studio.parts)(*call)
    for depth in depths(studio.parts):
        full, shallow = caching_predictors(studio.parts, depth)
        output, features = full(*call)
        assert torch.equal(output, expected)
        assert (shallow(*call, features) - expected).abs().max() <= 1e-5


@torch.inference_mode()
def test_convolutions_that_wrap_and_layers_with_hooks_stay_what_they_are(studio: Studio) -> None:
    parts, call = studio.parts, asked(studio.parts)
    full, shallow = caching_predictors(parts, 2)
    plain, _ = full(*call)
    last = parts.unet.up_blocks[-1].resnets[-1].conv1
    # As adapters that are not merged add to what a layer gives.
    hook = last.register_forward_hook(lambda layer, inputs, output: output + 0.5)
    try:
        with wrapping([parts.unet], "x"):
            expected = predictor(parts)(*call)
            output, features = full(*call)
            assert torch.equal(output, expected)
            assert (shallow(*call, features) - expected).abs().max() <= 1e-5
    finally:
        hook.remove()
    assert (plain - expected).abs().max() > 1e-3


@pytest.mark.parametrize("depth", [0, 100])
def test_depths_that_a_model_does_not_have_are_refused(parts: Parts, depth: int) -> None:
    most = depths(parts)[-1]
    with pytest.raises(UsageError, match=f"cache depth is {depth}; this model has 1 to {most}"):
        caching_predictors(parts, depth)


def test_blocks_of_another_kind_are_refused() -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        down_block_types=("ResnetDownsampleBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        layers_per_block=1,
        cross_attention_dim=32,
    )
    with pytest.raises(UsageError, match="ResnetDownsampleBlock2D, ResnetUpsampleBlock2D"):
        full_and_shallow(unet, 1)


def test_models_that_are_told_the_guidance_scale_are_refused(tiny_checkpoint: Path) -> None:
    from diffusers import UNet2DConditionModel

    parts = load_parts(tiny_checkpoint, device=CPU, dtype=torch.float32)
    config = {**parts.unet.config, "time_cond_proj_dim": 8}
    told = replace(parts, unet=UNet2DConditionModel.from_config(config))
    with pytest.raises(UsageError, match="told the guidance scale"):
        caching_predictors(told, 1)


def test_layers_that_come_to_the_device_one_at_a_time_are_refused(tiny_checkpoint: Path) -> None:
    from diffusers.hooks import apply_group_offloading

    parts = load_parts(tiny_checkpoint, device=CPU, dtype=torch.float32)
    apply_group_offloading(
        parts.unet, onload_device=CPU, offload_device=CPU, offload_type="leaf_level"
    )
    with pytest.raises(UsageError, match="layers come to the device one at a time"):
        caching_predictors(parts, 1)


@torch.inference_mode()
def test_a_shallow_call_is_taken_whole_by_torch_compile(tiny_checkpoint: Path) -> None:
    parts = load_parts(tiny_checkpoint, device=CPU, dtype=torch.float32)
    latents, time, words = asked(parts)
    told = (latents, time, words.embeddings, None)
    full, shallow = full_and_shallow(parts.unet, 1)
    _, features = full(*told)
    compiled = torch.compile(shallow, backend="eager", fullgraph=True)
    # Linear layers compute by another library when compiled, so sums are in another order.
    torch.testing.assert_close(compiled(*told, features), shallow(*told, features))


class Filling:
    """Compiled layers that want five rows, as ``models.compiling`` calls them."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.forms: list[tuple[object, ...]] = []

    def call(
        self,
        form: tuple[object, ...],
        count: int,
        fast: Callable[[int], Any],
        plain: Callable[[], Any],
    ) -> Any:
        self.forms.append(form)
        return fast(5)


@torch.inference_mode()
def test_compiled_calls_are_filled_up(tiny_xl: Path) -> None:
    parts = load_parts(tiny_xl, device=CPU, dtype=torch.float32)
    compiled = Filling(parts)
    call = asked(parts, 3)
    expected, deep = caching_predictors(parts, 1)[0](*call)
    full, shallow = caching_predictors(replace(parts, compiled=compiled), 1)  # type: ignore[arg-type]
    output, features = full(*call)
    assert (output - expected).abs().max() <= 1e-5
    assert (features - deep).abs().max() <= 1e-5
    assert (shallow(*call, features) - expected).abs().max() <= 1e-5
    assert len(set(compiled.forms)) == 2
    assert {form[0] for form in compiled.forms} == {"denoiser"}


def test_a_shallow_call_takes_a_share_of_a_full_one(studio: Studio) -> None:
    from sdcreative.core.sampling import Guidance

    latents, _, words = asked(studio.parts, 4, 16, 16)
    guidance = Guidance(words, None, torch.ones(4))
    # Another program may take any one call's time; not that of all.
    shares = [timed_share(studio.parts, 1, latents, guidance) for _ in range(3)]
    assert 0 < min(shares) < 0.5

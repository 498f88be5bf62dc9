"""Compiled layers against the model's own; what compiles for seconds is only run when asked for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sdcreative import Studio
from sdcreative.core.conditioning import Conditioning
from sdcreative.models import twins
from sdcreative.models.building import build_autoencoder, build_unet
from sdcreative.models.compiling import Compiled, is_worth_it
from sdcreative.models.denoiser import predictor
from sdcreative.models.parts import Parts
from sdcreative.models.seamless import wrapping
from sdcreative.models.vae import decode_latents


@pytest.fixture
def parts(studio: Studio) -> Parts:
    return studio.parts


def inputs(rows: int, parts: Parts) -> tuple[Tensor, Tensor, Conditioning]:
    draws = torch.Generator().manual_seed(rows)
    width = parts.unet.config.cross_attention_dim
    embeddings = torch.randn(rows, parts.context + 2, width, generator=draws)
    latents = torch.randn(rows, parts.latent_channels, 16, 16, generator=draws)
    return latents, torch.tensor(500), Conditioning(embeddings)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Layers are not compiled, but noted when they are called as though they were."""
    calls: list[str] = []

    def noting(layer: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(type(layer).__name__)
        return layer(*args, **kwargs)

    monkeypatch.setattr(twins, "_compile", lambda: noting)
    return calls


def test_a_film_is_compiled_on_cuda_where_it_pays_back() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert not is_worth_it("auto", cuda, 5999, 512 * 512)
    assert is_worth_it("auto", cuda, 1500, 1024 * 1024)
    assert not is_worth_it("auto", cpu, 10**9, 512 * 512)
    assert is_worth_it("on", cpu, 1, 64 * 64)
    assert not is_worth_it("off", cuda, 10**9, 512 * 512)


def test_every_layer_that_repeats_is_compiled_and_the_models_own_are_not(
    parts: Parts, traced: list[str]
) -> None:
    before = {id(one): dict(vars(one)) for one in parts.unet.modules()}
    compiled = Compiled(parts, pytest.fail).begin(2)
    fast = predictor(replace(parts, compiled=compiled))
    with torch.inference_mode():
        given = inputs(4, parts)
        assert torch.equal(fast(*given), predictor(parts)(*given))
    kinds = [type(one).__name__ for one in parts.unet.modules()]
    repeated = kinds.count("ResnetBlock2D") + kinds.count("Transformer2DModel")
    assert len(traced) == repeated > 10
    for one in parts.unet.modules():
        assert vars(one) == before[id(one)]
        assert one._compiled_call_impl is None


def test_after_the_first_pictures_nothing_new_is_compiled(parts: Parts, traced: list[str]) -> None:
    compiled = Compiled(parts, pytest.fail).begin(4)
    fast, plain = predictor(replace(parts, compiled=compiled)), predictor(parts)

    def is_compiled(rows: int) -> bool:
        traced.clear()
        given = inputs(rows, parts)
        assert torch.allclose(fast(*given), plain(*given), atol=1e-5)
        return bool(traced)

    with torch.inference_mode():
        # Guided and not; rows that are filled up to these, and those that would waste too much.
        found = [is_compiled(rows) for rows in (8, 4, 7, 6, 5, 3, 2, 1)]
        assert found == [True, True, True, True, False, True, False, False]
        compiled.settle()
        assert [is_compiled(rows) for rows in (8, 6, 9, 16)] == [True, True, False, False]


def test_what_somebody_else_changes_is_not_compiled(parts: Parts, traced: list[str]) -> None:
    fast = predictor(replace(parts, compiled=Compiled(parts, pytest.fail).begin(1)))
    given = inputs(2, parts)
    with torch.inference_mode(), wrapping([parts.unet], "x"):
        assert torch.equal(fast(*given), predictor(parts)(*given))
    hook = parts.unet.conv_out.register_forward_hook(lambda *said: None)
    with torch.inference_mode():
        fast(*given)
    hook.remove()
    assert not traced
    with torch.inference_mode():
        fast(*given)
    assert traced


def test_pictures_of_a_short_batch_are_filled_up(parts: Parts, traced: list[str]) -> None:
    compiled = Compiled(parts, pytest.fail).begin(4)
    both = replace(parts, compiled=compiled)
    latents = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    decode_latents(both, latents)
    compiled.settle()
    traced.clear()
    assert torch.allclose(
        decode_latents(both, latents[:3]), decode_latents(parts, latents[:3]), atol=1e-5
    )
    assert traced
    traced.clear()
    decode_latents(both, latents[:2])
    assert not traced


def test_a_machine_without_a_compiler_goes_on_without(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(layer: Any, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("No working C++ compiler found in cpp.cxx\nand more")

    monkeypatch.setattr(twins, "_compile", lambda: failing)
    said: list[str] = []
    fast = predictor(replace(parts, compiled=Compiled(parts, said.append).begin(1)))
    given = inputs(2, parts)
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(fast(*given), predictor(parts)(*given))
    [line] = said
    assert "No working C++ compiler" in line and "\n" not in line


@pytest.fixture
def tiny(parts: Parts) -> Parts:
    torch.manual_seed(0)
    unet = build_unet([16, 16], 1, 4, 8, 24).eval().requires_grad_(False)
    vae = build_autoencoder([8, 8], 1, 4, 16).eval().requires_grad_(False)
    return replace(parts, unet=unet, vae=vae, downsampling=2)


@pytest.mark.skipif(
    not os.environ.get("SDCREATIVE_COMPILE_TESTS"),
    reason="a minute of compiling; set SDCREATIVE_COMPILE_TESTS to run it",
)
def test_compiled_on_this_machine_for_real(
    tmp_path: Path, tiny: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    compiled = Compiled(tiny, pytest.fail).begin(2)
    both = replace(tiny, compiled=compiled)
    fast, plain = predictor(both), predictor(tiny)

    def agree(rows: int) -> bool:
        given = inputs(rows, tiny)
        with torch.inference_mode():
            return bool((fast(*given) - plain(*given)).abs().max() < 1e-4)

    latents = inputs(2, tiny)[0]
    assert agree(4)
    assert (decode_latents(both, latents) - decode_latents(tiny, latents)).abs().max() < 1e-4
    compiled.settle()
    graphs = counters["stats"]["unique_graphs"]
    repeated = [one for one in tiny.unet.modules() if twins._is_layer(one)]
    assert 0 < graphs < len(repeated) + 10
    assert agree(3) and agree(4) and agree(2)
    decode_latents(both, latents)
    assert counters["stats"]["unique_graphs"] == graphs
    assert any(tmp_path.rglob("*.so"))

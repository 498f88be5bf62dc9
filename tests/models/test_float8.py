"""Products in 8 bits: their error, and what of a denoiser is made of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative.errors import UsageError
from sdcreative.models.float8 import (
    LARGEST,
    TYPE,
    Float8Linear,
    check_float8,
    convertible,
    in_float8,
    multiply,
    to_float8,
)

CPU = torch.device("cpu")


def inputs() -> tuple[torch.Tensor, torch.nn.Linear]:
    """Rows and weights that span ten powers of ten, one row and one weight of zeros."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(48, 32).requires_grad_(False)
    rows = torch.randn(20, 48) * 10 ** torch.linspace(-5, 5, 20)[:, None]
    linear.weight *= 10 ** torch.linspace(-3, 3, 32)[:, None]
    rows[3], linear.weight[5] = 0, 0
    return rows, linear


def test_products_are_within_the_types_rounding() -> None:
    """The bound in the module's docstring, and not a tenth of it by chance."""
    rows, linear = inputs()
    x, w = rows.double(), linear.weight.double()
    found = Float8Linear(linear)(rows).double()
    step = 2.0**-10 / LARGEST

    def off(values: torch.Tensor) -> torch.Tensor:
        return values.abs() / 16 + step * values.abs().amax(dim=1, keepdim=True)

    bound = off(x) @ w.abs().T + x.abs() @ off(w).T + off(x) @ off(w).T
    error = (found - (x @ w.T + linear.bias.double())).abs()
    rounding = 1e-5 * (x.abs() @ w.abs().T + linear.bias.double().abs())
    assert (error <= bound + rounding).all()
    typical = (found - linear.bias - x @ w.T).norm() / (x @ w.T).norm()
    assert 0.005 < typical < 0.06
    assert torch.isfinite(found).all()


def test_the_scaled_product_of_torch_is_the_reference() -> None:
    rows, linear = inputs()
    quantised, scale = to_float8(rows)
    weight, own = to_float8(linear.weight)
    assert weight.dtype == TYPE
    assert scale.shape == (20, 1)
    theirs = torch._scaled_mm(
        quantised, weight.t(), scale_a=scale, scale_b=own.t(), out_dtype=torch.float32
    )
    ours = multiply(quantised, scale, weight, own, torch.float32)
    # Sums in another order, of numbers that cancel out.
    assert ((ours - theirs).abs() <= 1e-5 * (rows.abs() @ linear.weight.abs().T)).all()


def test_only_transformer_blocks_are_converted_and_the_original_stays(studio: Studio) -> None:
    unet = studio.parts.unet
    before = {name: value.data_ptr() for name, value in unet.state_dict().items()}
    twin = in_float8(unet)
    names = convertible(unet)
    assert names
    assert all("transformer_blocks." in name for name in names)
    assert all(isinstance(twin.get_submodule(name), Float8Linear) for name in names)
    assert {name: value.data_ptr() for name, value in unet.state_dict().items()} == before
    shared = [name for name in twin.state_dict() if name in before]
    assert all(twin.state_dict()[name].data_ptr() == before[name] for name in shared)
    assert not set(shared) & {f"{name}.weight" for name in names}
    torch.manual_seed(1)
    latents, width = torch.randn(2, 4, 16, 16), unet.config.cross_attention_dim
    prompt = torch.randn(2, 77, width)
    with torch.no_grad():
        whole = unet(latents, torch.tensor(500), prompt).sample
        eighth = twin(latents, torch.tensor(500), prompt).sample
    share = float((eighth - whole).norm() / whole.norm())
    assert 1e-3 < share < 0.05


def test_a_cast_to_another_type_leaves_the_bytes_as_they_are() -> None:
    layer = Float8Linear(torch.nn.Linear(32, 16))
    before = layer.scale_bytes.clone(), layer.weight_bytes.clone()
    layer.to(torch.bfloat16)
    assert torch.equal(layer.scale_bytes, before[0])
    assert torch.equal(layer.weight_bytes, before[1])


def test_merged_loras_are_converted_too() -> None:
    linear = torch.nn.Linear(32, 16, bias=False).requires_grad_(False)
    linear.weight += torch.outer(torch.ones(16), torch.ones(32))
    found = Float8Linear(linear)(torch.ones(1, 32))
    assert math.isclose(float(found.mean()), float(linear.weight.sum(dim=1).mean()), rel_tol=0.05)


def test_devices_without_it_are_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(UsageError, match=r"linears float8 needs a CUDA device .* not cpu"):
        check_float8(CPU)
    shots = [Shot(Blend("bear"), Noise(1))]
    timeline = Timeline(lambda: shots, 1, steps=1, linears="float8")
    with pytest.raises(UsageError, match="linears float8"):
        list(Studio.load(str(tiny_checkpoint), device="cpu").render(timeline))

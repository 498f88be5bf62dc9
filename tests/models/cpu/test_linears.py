"""Linear layers by oneDNN: the same numbers and gradients, and where they are left alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from sdcreative import Studio
from sdcreative.models.cpu import linears, quickening
from sdcreative.models.cpu.linears import OneDnnLinear, pays
from sdcreative.models.cpu.quickening import quicken

has_onednn = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")),
    reason="this PyTorch has no oneDNN",
)


def twins(bias: bool = True) -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    plain = nn.Linear(48, 80, bias=bias)
    quick = copy.deepcopy(plain)
    quick.__class__ = OneDnnLinear
    return plain, quick


@has_onednn
@pytest.mark.parametrize("shape", [(48,), (5, 48), (2, 7, 48), (3, 2, 4, 48), (0, 48)])
@pytest.mark.parametrize("bias", [True, False])
def test_numbers_and_gradients_are_those_of_an_ordinary_layer(
    shape: tuple[int, ...], bias: bool
) -> None:
    given = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = []
    for layer in twins(bias):
        rows = given.clone().requires_grad_()
        said = layer(rows)
        # A gradient that is no plain matrix, as those of sums over rows are.
        weights = torch.linspace(-1, 1, said.shape[-1]).expand(said.shape)
        (said * weights).sum().backward()
        found.append([said.detach(), rows.grad, *(one.grad for one in layer.parameters())])
    for ordinary, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, ordinary, rtol=1e-5, atol=1e-5)


@has_onednn
def test_frozen_weights_get_no_gradient_and_pass_it_on() -> None:
    plain, quick = twins()
    given = torch.randn(6, 48)
    grads = []
    for layer in (plain, quick):
        layer.requires_grad_(False)
        rows = given.clone().requires_grad_()
        layer(rows).square().sum().backward()
        grads.append(rows.grad)
        assert layer.weight.grad is None and layer.bias.grad is None
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-5, atol=1e-5)


@has_onednn
def test_a_row_does_not_depend_on_those_beside_it() -> None:
    """A frame is the same whichever batch it is in."""
    _, quick = twins()
    rows = torch.randn(16 * 64, 48)
    with torch.no_grad():
        whole = quick(rows)
        for count in (1, 2, 5, 8):
            assert torch.equal(quick(rows[: 64 * count]), whole[: 64 * count])


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize(
    "how", ["bfloat16", "float64", "autocast", "switched off", "compiled", "columns"]
)
def test_other_types_go_their_usual_way(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError("by oneDNN")

    monkeypatch.setattr(linears, "_product", refuse)
    plain, quick = twins()
    rows = torch.randn(4, 48)
    if how in ("bfloat16", "float64"):
        dtype = getattr(torch, how)
        plain, quick, rows = plain.to(dtype), quick.to(dtype), rows.to(dtype)
    if how == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(quick(rows), plain(rows))
    elif how == "compiled":
        whole = torch.compile(quick, backend="eager", fullgraph=True)
        assert torch.equal(whole(rows), plain(rows))
    elif how == "switched off":
        with torch.backends.mkldnn.flags(enabled=False):
            assert torch.equal(quick(rows), plain(rows))
    elif how == "columns":
        quick.weight = plain.weight = nn.Parameter(torch.randn(80, 96)[:, :48])
        assert torch.equal(quick(rows), plain(rows))
    else:
        assert torch.equal(quick(rows), plain(rows))
    if how == "autocast" and torch.backends.mkldnn.is_available():
        with pytest.raises(AssertionError, match="by oneDNN"):
            quick(rows)


@pytest.mark.parametrize(
    ("text", "vendor"),
    [
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t: 2\n", "AuthenticAMD"),
        ("processor\t: 0\nvendor_id\t: GenuineIntel\n", "GenuineIntel"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", ""),
    ],
)
def test_who_made_the_processor(
    text: str, vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(linears, "Path", lambda _: tmp_path / "cpuinfo")
    assert linears._vendor() == vendor
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    pays.cache_clear()
    try:
        assert not pays() or vendor == "AuthenticAMD"
    finally:
        pays.cache_clear()


def test_where_there_is_no_such_file_the_platform_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linears, "Path", lambda _: tmp_path / "none")
    said = "AMD64 Family 25 Model 80 Stepping 0, AuthenticAMD"
    monkeypatch.setattr(linears.platform, "processor", lambda: said)
    assert linears._vendor() == "AuthenticAMD"


def test_a_module_is_changed_where_it_pays_and_only_its_plain_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own(nn.Linear):
        pass

    for answer in (False, True):
        module = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)), Own(4, 4))
        before = copy.deepcopy(module.state_dict())
        monkeypatch.setattr(quickening, "pays", lambda answer=answer: answer)
        quicken(module)
        kinds = [type(one) for one in module.modules() if isinstance(one, nn.Linear)]
        kind = OneDnnLinear if answer else nn.Linear
        assert kinds == [kind, kind, Own]
        assert module.state_dict().keys() == before.keys()


@has_onednn
def test_a_model_says_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in model's U-Net and text encoder, loaded as on either kind of processor."""
    said = []
    for answer in (False, True):
        monkeypatch.setattr(quickening, "pays", lambda answer=answer: answer)
        studio = Studio.load("emoji", device="cpu", dtype="float32")
        parts = studio.parts
        ids = parts.tokenizer("a picture of a bear", return_tensors="pt").input_ids
        latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            words = parts.text_encoder(ids).last_hidden_state
            noise = parts.unet(latents, 500, encoder_hidden_states=words).sample
        kinds = {type(one) for one in parts.unet.modules() if isinstance(one, nn.Linear)}
        assert (OneDnnLinear in kinds) is answer
        said.append((words, noise))
    torch.testing.assert_close(said[1][0], said[0][0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(said[1][1], said[0][1], rtol=1e-3, atol=1e-4)


def test_convolutions_are_in_the_order_of_onednn_in_float32_only() -> None:
    for dtype, mapped, expected in (
        (torch.float32, False, True),
        (torch.float32, True, False),
        (torch.bfloat16, False, False),
    ):
        module = nn.Sequential(nn.Conv2d(4, 8, 3)).to(dtype)
        quicken(module, mapped=mapped)
        weight = module[0].weight
        assert weight.is_contiguous(memory_format=torch.channels_last) is expected
        assert weight.is_contiguous() is not expected


def test_a_module_elsewhere_stays_as_it_is() -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Linear(4, 4)).to("meta")
    quicken(module)
    assert type(module[1]) is nn.Linear
    assert module[0].weight.is_contiguous()

"""Merging: several LoRAs at once, scales per part, and taken out again to the bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdcreative.errors import ModelError
from sdcreative.models.addons.lora_applying import apply_loras
from sdcreative.models.addons.lora_reading import read_lora
from sdcreative.models.loading import Parts

ROOTS = ("unet", "text_encoder")


def weights(parts: Parts) -> dict[tuple[str, str], torch.Tensor]:
    return {
        (root, name): tensor.clone()
        for root in ROOTS
        for name, tensor in getattr(parts, root).state_dict().items()
    }


def equal(one: Mapping[Any, torch.Tensor], other: Mapping[Any, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_every_layer_gets_its_product(parts: Parts, kohya: Path, pairs: Mapping[Any, Any]) -> None:
    before = weights(parts)
    parameters = [id(one) for root in ROOTS for one in getattr(parts, root).parameters()]
    with apply_loras(parts, [(read_lora(kohya, parts), -0.5)]):
        after = weights(parts)
        assert parameters == [id(one) for r in ROOTS for one in getattr(parts, r).parameters()]
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {(root, f"{name}.weight") for root, name in pairs}
    for (root, name), (down, up, alpha) in pairs.items():
        key = root, f"{name}.weight"
        product = (up.flatten(1) @ down.flatten(1)).reshape(before[key].shape)
        assert torch.allclose(after[key] - before[key], -0.5 * alpha / 4 * product, atol=1e-5)
    assert equal(weights(parts), before)


def test_parts_have_scales_of_their_own(parts: Parts, kohya: Path) -> None:
    before, lora = weights(parts), read_lora(kohya, parts)
    for scale, changed in (((1.0, 0.0), "unet"), ((0.0, 1.0), "text_encoder")):
        with apply_loras(parts, [(lora, scale)]):
            after = weights(parts)
        assert {key[0] for key in before if not torch.equal(before[key], after[key])} == {changed}
    with apply_loras(parts, [(lora, 0)]):
        assert equal(weights(parts), before)


def test_several_add_up_in_any_order(parts: Parts, kohya: Path, tmp_path: Path) -> None:
    save_file({key: 2 * one for key, one in load_file(kohya).items()}, tmp_path / "b.safetensors")
    one, other = read_lora(kohya, parts), read_lora(tmp_path / "b.safetensors", parts)
    before, deltas = weights(parts), []
    for use in ([(one, 0.5)], [(other, 0.25)], [(one, 0.5), (other, 0.25)]):
        with apply_loras(parts, use):
            deltas.append({key: tensor - before[key] for key, tensor in weights(parts).items()})
    with apply_loras(parts, [(other, 0.25), (one, 0.5)]):
        turned = weights(parts)
    for key in before:
        assert torch.allclose(deltas[0][key] + deltas[1][key], deltas[2][key], atol=1e-5)
        assert torch.allclose(turned[key] - before[key], deltas[2][key], atol=1e-5)
    assert equal(weights(parts), before)


def test_nested_ones_are_undone_one_by_one(parts: Parts, kohya: Path) -> None:
    lora, before = read_lora(kohya, parts), weights(parts)
    outer = apply_loras(parts, [(lora, 0.3)])
    between = weights(parts)
    inner = apply_loras(parts, [(lora, 0.4)])
    assert not equal(weights(parts), between)
    inner.close()
    assert equal(weights(parts), between)
    outer.close()
    outer.close()
    assert equal(weights(parts), before)


def test_an_error_inside_undoes_too(parts: Parts, kohya: Path) -> None:
    before = weights(parts)
    with pytest.raises(KeyError), apply_loras(parts, [(read_lora(kohya, parts), 1.0)]):
        raise KeyError
    assert equal(weights(parts), before)


def test_half_precision_is_summed_in_float32(
    parts: Parts, kohya: Path, pairs: Mapping[Any, Any]
) -> None:
    exact = {key: tensor.half().float() for key, tensor in weights(parts).items()}
    for root in ROOTS:
        getattr(parts, root).half()
    before = weights(parts)
    with apply_loras(parts, [(read_lora(kohya, parts), 0.7)]):
        after = weights(parts)
    for (root, name), (down, up, alpha) in pairs.items():
        key = root, f"{name}.weight"
        product = (up.flatten(1) @ down.flatten(1)).reshape(exact[key].shape)
        expected = exact[key] + 0.7 * alpha / 4 * product
        assert after[key].dtype == torch.float16
        # Half a unit in the last place, and what float32 sums differ in.
        assert ((after[key].float() - expected).abs() <= expected.abs() * 2**-11 + 1e-6).all()
    assert equal(weights(parts), before)


def test_an_overflow_is_one_line_and_changes_nothing(parts: Parts, kohya: Path) -> None:
    parts.unet.half()
    before = weights(parts)
    with pytest.raises(ModelError, match=r"overflow float16 with LoRA detail at its scale"):
        apply_loras(parts, [(read_lora(kohya, parts), 1e6)])
    assert equal(weights(parts), before)


def test_files_in_half_precision_and_pickles(parts: Parts, kohya: Path, tmp_path: Path) -> None:
    table = {key: tensor.bfloat16() for key, tensor in load_file(kohya).items()}
    save_file(table, tmp_path / "half.safetensors")
    torch.save(table, tmp_path / "half.pt")
    one, other = (read_lora(tmp_path / f"half.{end}", parts) for end in ("safetensors", "pt"))
    with apply_loras(parts, [(one, 1.0)]):
        first = weights(parts)
    with apply_loras(parts, [(other, 1.0)]):
        assert equal(weights(parts), first)


def test_alpha_may_be_missing_or_in_a_configuration_beside(
    parts: Parts, pairs: Mapping[Any, Any], diffusers_keys: Callable[[Any], str], tmp_path: Path
) -> None:
    place, (down, up, _) = next(iter(pairs.items()))
    module = parts.unet.get_submodule(place[1])
    before, product = module.weight.clone(), (up.flatten(1) @ down.flatten(1))
    name = f"base_model.model.{diffusers_keys(place).partition('.')[2]}"
    path = tmp_path / "adapter_model.safetensors"
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, path)
    for config, scale in (
        (None, 1),
        ('{"lora_alpha": 8}', 2),
        ('{"lora_alpha": 8, "use_rslora": true}', 4),
        (f'{{"lora_alpha": 8, "alpha_pattern": {{"{place[1]}": 12}}}}', 3),
    ):
        if config:
            (tmp_path / "adapter_config.json").write_text(config)
        with apply_loras(parts, [(read_lora(path, parts), 1.0)]):
            added = (module.weight - before).reshape(product.shape)
            assert torch.allclose(added, scale * product, atol=1e-5)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match="configuration of peft is not JSON"):
        read_lora(path, parts)


def test_a_lora_read_for_another_model(parts: Parts, kohya: Path) -> None:
    lora = read_lora(kohya, parts)
    parts.unet.mid_block = torch.nn.Identity()
    with pytest.raises(ModelError, match=r"detail was read for another model: no unet\.mid"):
        apply_loras(parts, [(lora, 1.0)])

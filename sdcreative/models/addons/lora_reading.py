"""Read a LoRA, or one of LyCORIS' forms, for a loaded model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ..loading import Parts
from ..strangers import is_file, parse_json, read_file, shown
from .families import family_of_layers, family_of_parts
from .files import check_tensor, read_content
from .finding import PEFT_CONFIG
from .lora_keys import Roles, build_layer, form_of, split_key
from .lora_layers import LoraLayer
from .module_names import find_module, modules_by_name

_SHOWN = 3
_MOST_ALPHA = 1e12
_ROLES_OF_ONE_NUMBER = ("alpha", "on_input")
_BUNDLED = "bundle_emb."
_PEFT = "base_model.model."


@dataclass(frozen=True, eq=False)
class Lora:
    """What a file changes of a model.

    Attributes:
        name: the file's name without its ending.
        path: the file.
        layers: (part, name of its module as diffusers and transformers call it) -> change.
        family: the family of models that it seems to be of; None if nothing shows it.
        metadata: texts in the file.
        embeddings: token -> vectors (n, width), float32, of embeddings that come with it.
        unmatched: names of layers in the file that the model lacks; empty if read strictly.
    """

    name: str
    path: Path
    layers: Mapping[tuple[str, str], LoraLayer]
    family: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()


def read_lora(path: Path, parts: Parts, *, strict: bool = True) -> Lora:
    """Read a LoRA and find the module of every layer.

    Args:
        path: safetensors or a pickle, with keys of kohya, LyCORIS, peft or diffusers.
        parts: the model that it is for.
        strict: refuse layers that the model lacks; otherwise they are counted, and one that fits
            is enough.

    Raises:
        ModelError: broken, of an unknown form, of another family, or not for this model.
    """
    content = read_content(path, "LoRA")
    layers, bundled, unknown = _group(content.value, path)
    family = family_of_layers(layers, content.metadata)
    if unknown:
        raise ModelError(_of_unknown_form(path, unknown))
    if not layers:
        raise ModelError(f"LoRA holds no layers: {path}")
    alphas = _Alphas(path, content.metadata, beside=any(map(_of_peft, layers)))
    names = modules_by_name(parts)
    matched: dict[tuple[str, str], LoraLayer] = {}
    unmatched: list[str] = []
    misfit: list[str] = []
    for name, roles in layers.items():
        layer = build_layer(roles, alphas.of(name, roles))
        if layer is None:
            raise ModelError(
                f"LoRA has an incomplete or unknown layer {shown(name)}, made of "
                f"{', '.join(sorted(roles))}: {path}"
            )
        place = names.get(name.removeprefix(_PEFT))
        if place is None:
            unmatched.append(name)
        elif place in matched:
            raise ModelError(f"LoRA changes {'.'.join(place)} twice ({shown(name)}): {path}")
        else:
            module = find_module(parts, place)
            bias = getattr(module, "bias", None)
            if not layer.fits(module.weight.shape, None if bias is None else bias.shape):
                misfit.append(name)
            matched[place] = layer
    if misfit or (unmatched and (strict or not matched)):
        raise ModelError(_does_not_fit(path, family, parts, unmatched, misfit, len(layers)))
    return Lora(path.stem, path, matched, family, dict(content.metadata), bundled, tuple(unmatched))


def _of_peft(name: str) -> bool:
    return name.startswith(_PEFT)


class _Alphas:
    """Alphas that peft's configuration gives: diffusers keeps it in the metadata, peft beside."""

    def __init__(self, path: Path, metadata: Mapping[str, str], *, beside: bool) -> None:
        try:
            content = metadata.get("lora_adapter_metadata", "{}").encode("utf-8")
            if beside and is_file(path.parent / PEFT_CONFIG):
                content = read_file(path.parent / PEFT_CONFIG)
            config = parse_json(content)
        except (OSError, ValueError):
            raise ModelError(f"LoRA's configuration of peft is not JSON: {path}") from None
        self._config: dict[str, Any] = config if isinstance(config, dict) else {}

    def of(self, name: str, roles: Roles) -> float | None:
        """Alpha of a layer; None where the file says none."""
        root, _, module = name.removeprefix(_PEFT).partition(".")
        start = f"{root}."
        if f"{start}lora_alpha" not in self._config:
            start, module = "", name
        alpha = self._config.get(f"{start}lora_alpha")
        pattern = self._config.get(f"{start}alpha_pattern")
        for ending, own in pattern.items() if isinstance(pattern, dict) else ():
            if f".{module}".endswith(f".{ending.lstrip('^')}"):
                alpha = own
        down = roles.get("down")
        if (
            isinstance(alpha, bool)
            or not isinstance(alpha, int | float)
            or not abs(alpha) < _MOST_ALPHA
        ):
            return None
        if self._config.get(f"{start}use_rslora") is True and down is not None:
            # rsLoRA (Kalajdzievski 2023) divides by the root of the rank.
            return float(alpha * math.sqrt(down.shape[0])) if down.dim() else None
        return float(alpha)


def _group(
    value: Any, path: Path
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor], list[str]]:
    """Layers, embeddings that come with them, and keys of no known form."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ModelError(f"LoRA is not a table of tensors: {path}")
    if "string_to_param" in value or "emb_params" in value or {"clip_l", "clip_g"} & set(value):
        raise ModelError(f"{path} is a textual-inversion embedding, not a LoRA")
    if any(key.startswith(("model.diffusion_model.", "cond_stage_model.")) for key in value):
        raise ModelError(f"{path} is a whole model, not a LoRA")
    layers: dict[str, dict[str, Tensor]] = {}
    bundled: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, tensor in value.items():
        split = split_key(key)
        if key.startswith(_BUNDLED):
            token = key.removeprefix(_BUNDLED).rpartition(".string_to_param")[0]
            vectors = check_tensor(tensor, key, "LoRA", path).float()
            if not token or vectors.dim() != 2:
                unknown.append(key)
            bundled[token] = vectors
        elif split is None:
            unknown.append(key)
        else:
            name, role = split
            layers.setdefault(name, {})[role] = _checked(tensor, role, key, path)
    unknown += [
        f"{name}.weight"
        for name, roles in layers.items()
        if "weight" in roles and "on_input" not in roles
    ]
    return layers, bundled, unknown


def _checked(tensor: object, role: str, key: str, path: Path) -> Tensor:
    if role not in _ROLES_OF_ONE_NUMBER:
        checked = check_tensor(tensor, key, "LoRA", path)
        if not checked.numel():
            raise ModelError(f"LoRA holds an empty tensor as {shown(key)}: {path}")
        return checked
    if isinstance(tensor, bool | int | float):
        tensor = torch.tensor(float(tensor))
    if not isinstance(tensor, Tensor) or tensor.is_meta or tensor.numel() != 1:
        raise ModelError(f"LoRA holds no single number as {shown(key)}: {path}")
    return check_tensor(tensor.detach().reshape(()).double(), key, "LoRA", path)


def _of_unknown_form(path: Path, unknown: list[str]) -> str:
    form = next((form for form in map(form_of, unknown) if form), None)
    if form:
        return (
            f"LoRA is of the form {form}, which cannot be merged here: {path}; known are LoRA, "
            "LoCon, LoHa, LoKr, IA3, DoRA and full differences"
        )
    return f"LoRA has {_some(unknown, 'key')} of no known form: {path}; is it a LoRA?"


def _does_not_fit(
    path: Path,
    family: str | None,
    parts: Parts,
    unmatched: list[str],
    misfit: list[str],
    layers: int,
) -> str:
    own = family_of_parts(parts)
    if family and family != own:
        which = f"is one of {own}" if own else "is another"
        return f"{path} is a LoRA for {family}, and this model {which}; take one made for it"
    if misfit:
        return (
            f"LoRA does not fit this model: {_some(misfit, 'layer')} of {layers} have other "
            f"shapes than its modules: {path}"
        )
    return (
        f"LoRA does not fit this model: {_some(unmatched, 'layer')} of {layers} are of modules "
        f"that it lacks: {path}"
    )


def _some(names: list[str], what: str) -> str:
    """How many, and the first few."""
    more = ", …" if len(names) > _SHOWN else ""
    plural = "" if len(names) == 1 else "s"
    return f"{len(names)} {what}{plural} ({', '.join(map(shown, names[:_SHOWN]))}{more})"

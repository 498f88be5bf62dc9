"""The keys of a LoRA's file: to which layer a tensor belongs, and what it is of it.

Known are the keys of kohya's sd-scripts and LyCORIS (``lora_down.weight``, ``hada_w1_a``, …), of
peft (``lora_A.weight``), and of diffusers in its older versions (``lora.down.weight``,
``lora_linear_layer.down.weight``, ``processor.to_q_lora.down.weight``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from .lora_layers import Change, Difference, Hadamard, Kronecker, LoraLayer, LowRank, Scaling

Roles = Mapping[str, Tensor]
"""what a tensor is -> the tensor"""

_WEIGHTS = {
    "lora_down": "down",
    "lora_up": "up",
    "lora_mid": "mid",
    "lora.down": "down",
    "lora.up": "up",
    "lora_linear_layer.down": "down",
    "lora_linear_layer.up": "up",
}
_PLAIN = (
    *("alpha", "diff", "diff_b", "dora_scale", "on_input"),
    *("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
)
_ENDS = {
    **{f".{name}.weight": role for name, role in _WEIGHTS.items()},
    **{f".{name}": name for name in _PLAIN},
    ".w_norm": "diff",
    ".b_norm": "diff_b",
}
# The name of an adapter may stand between.
_PEFT = re.compile(
    r"(.+)\.lora_(A|B|magnitude_vector)(?:\.(?!weight$|bias$)\w+)?(?:\.(weight|bias))?"
)
_PEFT_ROLES = {
    ("A", "weight"): "down",
    ("B", "weight"): "up",
    ("B", "bias"): "up_bias",
    ("magnitude_vector", "weight"): "magnitude",
    ("magnitude_vector", None): "magnitude",
}
_PROCESSOR = re.compile(r"(.+?)(\.processor)?\.to_(q|k|v|out)_lora\.(down|up)\.weight")
_OTHER_FORMS = {
    "oft_blocks": "OFT",
    "oft_diag": "OFT",
    "a1.weight": "GLoRA",
    "bias_indices": "sparse",
    "lora_embedding_A": "embedding-LoRA",
}


def split_key(key: str) -> tuple[str, str] | None:
    """(layer, what the tensor is of it) of a key; None for a key of no known form."""
    if match := _PROCESSOR.fullmatch(key):
        attention, _, which, end = match.groups()
        if attention.endswith("self_attn"):
            return f"{attention}.{which}_proj", end
        return f"{attention}.to_{which}{'.0' if which == 'out' else ''}", end
    if match := _PEFT.fullmatch(key):
        role = _PEFT_ROLES.get((match[2], match[3]))
        return (match[1], role) if role else None
    for end, role in _ENDS.items():
        if key.endswith(end) and len(key) > len(end):
            return key.removesuffix(end), role
    # Only IA3 has this one; another tensor of the layer says so.
    if key.endswith(".weight"):
        return key.removesuffix(".weight"), "weight"
    return None


def form_of(key: str) -> str | None:
    """The name of a form that is known to exist, and cannot be used, by one of its keys."""
    return next((form for end, form in _OTHER_FORMS.items() if end in key), None)


def build_layer(roles: Roles, alpha: float | None = None) -> LoraLayer | None:
    """One layer of its tensors; None where they make up no known form, or not the whole of it.

    Args:
        roles: as ``split_key`` calls them; ``alpha`` and ``on_input`` are single numbers.
        alpha: where the layer has none of its own; without any it is the rank, so the scale is 1.
    """
    if "alpha" in roles:
        alpha = float(roles["alpha"].item())
    given = set(roles) - {"alpha", "diff_b", "up_bias", "magnitude", "dora_scale"}
    change = _change(roles, given, alpha)
    if given and change is None:
        return None
    bias = roles.get("diff_b")
    if "up_bias" in roles:
        if bias is not None or not isinstance(change, LowRank):
            return None
        bias = roles["up_bias"].float() * change.scale
    magnitude = roles.get("dora_scale")
    if "magnitude" in roles:
        # peft's lie along the inputs where the weight is a convolution's, and are of the outputs.
        magnitude = roles["magnitude"].flatten()
    if change is None and (bias is None or magnitude is not None):
        return None
    return LoraLayer(change, magnitude, bias)


def _change(roles: Roles, given: set[str], alpha: float | None) -> Change | None:
    if given == {"diff"}:
        return Difference(roles["diff"])
    if given == {"weight", "on_input"}:
        return Scaling(roles["weight"], bool(roles["on_input"].item()))
    if any(roles[role].dim() < 2 for role in given):
        return None
    if given in ({"down", "up"}, {"down", "up", "mid"}):
        down = roles["down"]
        rank = down.shape[0]
        return LowRank(down, roles["up"], rank if alpha is None else alpha, roles.get("mid"))
    halves = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}
    if given in (halves, halves | {"hada_t1", "hada_t2"}):
        w1_a, w1_b, w2_a, w2_b = (roles[role] for role in sorted(halves))
        rank = w1_b.shape[0]
        core = roles.get("hada_t1"), roles.get("hada_t2")
        return Hadamard(w1_a, w1_b, w2_a, w2_b, rank if alpha is None else alpha, *core)
    return _kronecker(roles, given, alpha)


def _kronecker(roles: Roles, given: set[str], alpha: float | None) -> Kronecker | None:
    w1: Tensor | tuple[Tensor, Tensor]
    w2: Tensor | tuple[Tensor, Tensor, Tensor | None]
    ranks = []
    if "lokr_w1" in given:
        w1, first = roles["lokr_w1"], {"lokr_w1"}
    elif (first := {"lokr_w1_a", "lokr_w1_b"}) <= given:
        w1 = roles["lokr_w1_a"], roles["lokr_w1_b"]
        ranks.append(w1[1].shape[0])
    else:
        return None
    if "lokr_w2" in given:
        w2, second = roles["lokr_w2"], {"lokr_w2"}
    elif (second := {"lokr_w2_a", "lokr_w2_b"}) <= given:
        w2 = roles["lokr_w2_a"], roles["lokr_w2_b"], roles.get("lokr_t2")
        second |= {"lokr_t2"} & given
        ranks.append(w2[1].shape[0])
    else:
        return None
    if given != first | second:
        return None
    # LyCORIS writes some number as alpha where both are whole; it counts for nothing there.
    scale = alpha / ranks[-1] if ranks and alpha is not None else 1.0
    return Kronecker(w1, w2, scale)

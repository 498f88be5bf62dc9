"""Weights into a module that has none yet: checked, cast and placed, a tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .checks import compare_shapes

if TYPE_CHECKING:
    import torch

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_RELEASE_BYTES = 8 << 20
_T5_TWIN = "encoder.embed_tokens.weight"
"""the same tensor as shared.weight"""


@dataclass(frozen=True)
class Target:
    """Where weights go.

    Attributes:
        device: of the weights.
        dtype: that they are cast to.
        mapped: whether those that need no change may stay in their file, from which they are read
            when they are used.
        channels_last: whether weights of convolutions lie in the order in which tensor cores and
            oneDNN take them; nothing else changes.
    """

    device: torch.device
    dtype: torch.dtype
    mapped: bool = False
    channels_last: bool = False


def bytes_of(module: Any, dtype: torch.dtype) -> int:
    """What the weights of a module take."""
    return int(sum(one.numel() for one in module.parameters()) * dtype.itemsize)


def fill(
    part: str,
    module: Any,
    state: dict[str, Any],
    path: Path,
    build: str | None,
    release: Callable[[], None],
    target: Target,
) -> None:
    """Check, cast and place the weights of one part, a tensor at a time."""
    import torch

    device, dtype = target.device, target.dtype

    expected = {
        name: tuple(tensor.shape)
        for name, tensor in module.state_dict().items()
        if not (_is_t5(part) and name == _T5_TWIN)
    }
    state = _rename(part, state, expected)
    compare_shapes(
        part, path, {key: tuple(one.shape) for key, one in state.items()}, expected, build
    )
    read = 0
    for key in list(state):
        tensor = state.pop(key)
        read += tensor.nbytes
        # T5's feed-forward layers overflow in half precision; transformers keeps these wide too.
        wide = _is_t5(part) and key.endswith(".wo.weight") and dtype == torch.float16
        wanted = torch.float32 if wide else dtype
        if not (target.mapped and device.type == "cpu" and tensor.dtype == wanted):
            tensor = _place(part, tensor, path, replace(target, dtype=wanted))
        if not _is_finite(tensor):
            raise ModelError(
                f"weights of {part} hold NaN or infinity as {str(dtype).removeprefix('torch.')} "
                f"({key} in {path}); the file is damaged, or needs float32"
            )
        state[key] = tensor
        if read >= _RELEASE_BYTES:
            release()
            read = 0
    release()
    module.load_state_dict(state, strict=not _is_t5(part), assign=True)
    if _is_t5(part):
        module.set_input_embeddings(module.shared)
    for layer in module.modules():
        # The only buffer that is not in the file.
        if "position_ids" in layer._buffers:
            length = layer.position_embedding.weight.shape[0]
            layer._buffers["position_ids"] = torch.arange(length, device=device)[None]
    module.eval().requires_grad_(False)


def _is_finite(tensor: Any) -> bool:
    """Whether there is neither NaN nor infinity; both show in the least or the largest number."""
    if tensor.is_meta or not tensor.numel() or not tensor.is_floating_point():
        return True
    least, largest = (float(one) for one in tensor.aminmax())
    return isfinite(least) and isfinite(largest)


def _place(part: str, tensor: Any, path: Path, target: Target) -> Any:
    """A copy that no longer needs the file."""
    import torch

    device, wanted = target.device, target.dtype if tensor.is_floating_point() else tensor.dtype
    last = target.channels_last and tensor.dim() == 4
    order = torch.channels_last if last else torch.contiguous_format
    try:
        return tensor.to(device=device, dtype=wanted, copy=True, memory_format=order)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "llocat" not in str(error):
            raise
        raise ModelError(
            f"weights of {part} do not fit into the memory of {device}: {path}; close other "
            "programs, or choose a smaller dtype or another device"
        ) from None


def _rename(part: str, state: dict[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Names of older versions of diffusers and transformers to those of the installed ones."""
    if part == "vae":
        for old, new in _OLD_ATTENTION.items():
            state = {key.replace(f".{old}.", f".{new}."): one for key, one in state.items()}
    if _is_t5(part):
        shared = state.pop(_T5_TWIN, None)
        return state if shared is None else {"shared.weight": shared} | state
    if part == "clip":
        return {key: one for key, one in state.items() if not key.endswith("position_ids")}
    if part.startswith("text_encoder"):
        # transformers 5 has no text_model between some of the encoders and their layers.
        prefix = "text_model."
        names = {name.removeprefix(prefix): name for name in expected}
        state = {
            names.get(bare, key): tensor
            for key, tensor in state.items()
            if not (bare := key.removeprefix(prefix)).endswith("position_ids")
        }
    return state


def _is_t5(part: str) -> bool:
    return part == "text_encoder_3"

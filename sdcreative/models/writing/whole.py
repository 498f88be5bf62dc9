"""A model read as a whole, a tensor at a time: its parts as built, and their tensors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..checks import compare_shapes
from ..filling import _rename
from ..fitting import check_fit
from ..loading import _build_empty, quiet
from ..opening import Source

if TYPE_CHECKING:
    from torch import Tensor

_TWIN = "encoder.embed_tokens.weight"
"""of T5, the same tensor as shared.weight"""


@dataclass(frozen=True, eq=False)
class Whole:
    """A model whose tensors are still on the disk.

    Attributes:
        model: where it is from.
        modules: its parts with weights, as built, without memory for their weights.
        states: part -> name -> tensor, in the names of the installed libraries.
        release: gives back the memory that reading tensors has taken.
    """

    model: Source
    modules: Mapping[str, Any]
    states: Mapping[str, Mapping[str, Tensor]]
    release: Callable[[], None]


def empty_modules(model: Source) -> dict[str, Any]:
    """The parts of a model that have weights, as built, without memory for them.

    Raises:
        ModelError: a configuration describes nothing that can be built.
    """
    quiet()
    return {part: _build_empty(model, part, config) for part, config in model.configs.items()}


def read_whole(model: Source) -> Whole:
    """Look at all tensors of a model; none is read.

    Raises:
        ModelError: a part is missing, broken or does not fit the others; tensors are missing.
    """
    modules = empty_modules(model)
    check_fit(model.path, {part: module.config for part, module in modules.items()})
    states, releases = {}, []
    for part, module in modules.items():
        state, path, release = model.weights(part, module)
        expected = {
            name: tuple(one.shape) for name, one in module.state_dict().items() if name != _TWIN
        }
        state = _rename(part, state, expected)
        found = {name: tuple(one.shape) for name, one in state.items()}
        compare_shapes(part, path, found, expected, model.build)
        states[part] = state
        releases.append(release)

    def release_all() -> None:
        for release in releases:
            release()

    return Whole(model, modules, states, release_all)


def takes_mask(modules: Mapping[str, Any]) -> bool:
    """Whether the denoiser also takes a mask and the masked picture's latents (inpainting)."""
    denoiser = modules.get("unet") or modules["transformer"]
    channels: int = denoiser.config.in_channels
    return channels == 2 * int(modules["vae"].config.latent_channels) + 1

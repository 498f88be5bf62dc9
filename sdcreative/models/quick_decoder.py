"""A decoder of a few thousand numbers, fitted to a model's own in closed form; for previews.

An autoencoder's latents are almost a small picture: colours follow from them linearly, and where a
latent is more than one pixel wide, so does much of what is within it, given its neighbours. So a
pixel is taken as linear in the 3 x 3 latents around it,

    pixels(y, x) = W [z(y - 1 .. y + 1, x - 1 .. x + 1), 1],

with one W (3 f^2, 9 C + 1) for all places, f pixels to a latent: a convolution whose channels are
the f x f pixels of a latent. W is the least-squares solution over decoded latents of the model
itself, W = Y' X (X' X + n r I)^-1, with n places and a ridge r.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

RIDGE = 1e-3
"""against latents that go together; of latents of about unit variance"""


class QuickDecoder(nn.Module):
    """Stands in for an autoencoder: decodes by one convolution, and encodes as that does.

    Args:
        vae: the autoencoder.
        channels: of its latents.
        downsampling: f, pixels per latent along a side.

    Attributes:
        fit: share of the variance of full pictures that is explained (R^2); None before fitting.
    """

    def __init__(self, vae: Any, channels: int, downsampling: int) -> None:
        super().__init__()
        # Not a module of this one: it is not to be moved, or cast, with it.
        self._vae = [vae]
        self.config = vae.config
        self.downsampling = downsampling
        self.fit: float | None = None
        numbers = 3 * downsampling**2
        self.taps = nn.Conv2d(channels, numbers, 3, padding=1, padding_mode="replicate")
        self.requires_grad_(False).eval()

    @property
    def dtype(self) -> torch.dtype:
        """Of pictures that are encoded, and of latents that are decoded."""
        found: torch.dtype = self._vae[0].dtype
        return found

    def state(self) -> dict[str, Tensor]:
        """All that was found, by name: weight, bias and fit."""
        fit = torch.tensor([self.fit or 0.0])
        return {"weight": self.taps.weight.cpu(), "bias": self._constants.cpu(), "fit": fit}

    def restore(self, state: Mapping[str, Tensor]) -> bool:
        """Take what ``state`` gave; False, with nothing changed, for what is not of this shape."""
        shapes = {name: tensor.shape for name, tensor in self.state().items()}
        if {name: tensor.shape for name, tensor in state.items()} != shapes:
            return False
        if not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
            return False
        self.taps.weight.copy_(state["weight"])
        self._constants.copy_(state["bias"])
        self.fit = float(state["fit"])
        return True

    @property
    def _constants(self) -> Tensor:
        found: Any = self.taps.bias
        constants: Tensor = found
        return constants

    def encode(self, pixels: Tensor) -> Any:
        """As the autoencoder does."""
        return self._vae[0].encode(pixels)

    def decode(self, latents: Tensor) -> Any:
        """Pictures (N, 3, f h, f w), about [-1, 1], in ``sample``.

        Args:
            latents: (N, C, h, w), as the autoencoder takes them.
        """
        found = functional.pixel_shuffle(self.taps(latents.float()), self.downsampling)
        return SimpleNamespace(sample=found)

    def to(self, *args: Any, **kwargs: Any) -> QuickDecoder:
        """Moves; what it is asked of types it passes on, and stays in float32 itself."""
        device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        if dtype is not None:
            self._vae[0].to(dtype)
        return self if device is None else super().to(device)

    def solve(self, latents: Tensor, pixels: Tensor) -> None:
        """Fit to decoded latents, in float64 on the CPU, so that all machines find the same.

        Args:
            latents: (N, C, h, w), as the autoencoder takes them.
            pixels: (N, 3, f h, f w), what it decodes, clipped to [-1, 1].
        """
        seen = _places(latents.double().cpu())
        blocks = functional.pixel_unshuffle(pixels.double().cpu(), self.downsampling)
        wanted = blocks.permute(0, 2, 3, 1).flatten(0, 2)
        gram = seen.T @ seen
        gram += RIDGE * len(seen) * torch.eye(len(gram), dtype=gram.dtype)
        found = torch.linalg.solve(gram, seen.T @ wanted).T
        self.taps.weight.copy_(found[:, :-1].unflatten(1, self.taps.weight.shape[1:]))
        self._constants.copy_(found[:, -1])

    def explained(self, latents: Tensor, pixels: Tensor) -> float:
        """R^2 = 1 - squared error / variance, over all pixels and colours, at most 1."""
        found = self.decode(latents.to(self.taps.weight.device)).sample.cpu().clamp(-1, 1)
        wanted = pixels.float().cpu()
        spread = (wanted - wanted.mean(dim=(0, 2, 3), keepdim=True)).square().sum()
        return float(1 - (found - wanted).square().sum() / spread.clamp(min=1e-12))


def _places(latents: Tensor) -> Tensor:
    """(N h w, 9 C + 1): the latents around every place, and a 1."""
    padded = functional.pad(latents, (1, 1, 1, 1), mode="replicate")
    around = functional.unfold(padded, 3).transpose(1, 2).flatten(0, 1)
    return torch.cat([around, torch.ones(len(around), 1, dtype=around.dtype)], dim=1)

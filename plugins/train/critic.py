"""The adversarial term of the autoencoder: a critic of patches, and how much it weighs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .stages import AutoencoderStage

LARGEST_WEIGHT = 1e4
"""of the adaptive weight, where the critic's gradient vanishes"""


class Critic(nn.Module):
    """A patch discriminator with the hinge loss (Isola et al. 2017; Lim and Ye 2017).

    Both sides are trained by one optimiser: gradients of the judging term reach only the critic,
    gradients of the fooling term only the autoencoder.
    """

    seen: Tensor

    def __init__(self, stage: AutoencoderStage) -> None:
        super().__init__()
        self.start = stage.adversarial_start * stage.schedule.accumulate
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        if stage.critic == "small":
            self.layers = small_critic()
        else:
            self.layers = patch_gan(stage.critic_channels, stage.critic_layers)

    def terms(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """(fooling, judging) hinge terms; fooling is zero for the first ``start`` batches."""
        self.seen += 1
        judging = functional.relu(1 - self.layers(real)).mean()
        judging = judging + functional.relu(1 + self.layers(fake.detach())).mean()
        if int(self.seen) <= self.start:
            return torch.zeros_like(judging), judging
        frozen = {k: v.detach() for k, v in self.layers.named_parameters()}
        scores = torch.func.functional_call(self.layers, frozen, (fake,))
        return -scores.mean(), judging


def small_critic() -> nn.Sequential:
    """0.04 million parameters, which see patches of 18 pixels."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.GroupNorm(8, 64),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 1, 3, 1, 1),
    )


def patch_gan(channels: int, layers: int) -> nn.Sequential:
    """PatchGAN: C64-C128-C256-C512 for 64 channels and 3 layers (Isola et al. 2017, sec. 6.1.2).

    With group norm where the paper has batch norm, so that what is said of a picture does not
    depend on the others, and a batch in parts is the same batch. Pictures need at least
    2 ** layers * 4 pixels a side.
    """
    stack: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
    width = channels
    for layer in range(1, layers + 1):
        wider = channels * min(2**layer, 8)
        stride = 2 if layer < layers else 1
        stack += [
            nn.Conv2d(width, wider, 4, stride, 1, bias=False),
            nn.GroupNorm(8, wider),
            nn.LeakyReLU(0.2),
        ]
        width = wider
    return nn.Sequential(*stack, nn.Conv2d(width, 1, 4, 1, 1))


def adaptive_weight(others: Tensor, fooling: Tensor, last_layer: Tensor) -> Tensor:
    """The ratio of the norms of two terms' gradients at one layer (Esser et al. 2021, eq. 7)."""
    if not fooling.requires_grad:
        return torch.zeros_like(fooling)
    ours = torch.autograd.grad(others, last_layer, retain_graph=True)[0]
    theirs = torch.autograd.grad(fooling, last_layer, retain_graph=True)[0]
    return (ours.norm() / (theirs.norm() + 1e-6)).clamp(0, LARGEST_WEIGHT).detach()

"""Estimates of memory against what is alive at once in real modules, counted tensor by tensor."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from sdcreative.models.catalogue.memory import memory, per_latent, per_pixel

META = torch.device("meta")
SD3: dict[str, Any] = {"num_attention_heads": 24, "attention_head_dim": 64, "patch_size": 2}


class Alive(TorchDispatchMode):
    """Counts elements of tensors without memory, the parameters of a module left out."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.known = {one.untyped_storage()._cdata for one in module.parameters()}
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_iter(out):
            if isinstance(one, torch.Tensor):
                storage = one.untyped_storage()
                if storage._cdata not in self.known:
                    self._count(storage, storage._cdata, storage.nbytes() // 4)
        return out

    def _count(self, storage: Any, key: int, elements: int) -> None:
        def gone() -> None:
            self.known.discard(key)
            self.now -= elements

        self.known.add(key)
        self.now += elements
        self.most = max(self.most, self.now)
        weakref.finalize(storage, gone)


def most(module: Any, run: Callable[[], Any]) -> int:
    with torch.no_grad(), Alive(module) as alive:
        run()
    return alive.most


@pytest.mark.parametrize("widths", [(320, 640), (64, 128, 128)])
def test_unets(widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import UNet2DConditionModel

    # As on a GPU, where attention does not write its scores down.
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda query, *rest, **options: torch.empty_like(query),
    )
    count = len(widths)
    down = ("CrossAttnDownBlock2D",) * (count - 1) + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (count - 1)
    with META:
        unet = UNet2DConditionModel(
            block_out_channels=widths,
            down_block_types=down,
            up_block_types=up,
            cross_attention_dim=64,
        ).eval()
        given = torch.empty(2, 4, 64, 64), torch.tensor(1), torch.empty(2, 77, 64)
    counted = most(unet, lambda: unet(*given)) / (2 * 64 * 64)
    assert per_latent(unet.config) == pytest.approx(counted, rel=0.15)


def test_autoencoders() -> None:
    from diffusers import AutoencoderKL

    with META:
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=2,
            norm_num_groups=8,
        ).eval()
        latents = torch.empty(1, 4, 64, 64)
    counted = most(vae, lambda: vae.decode(latents)) / 256**2
    assert per_pixel(vae.config) == pytest.approx(counted, rel=0.15)


def test_the_published_families() -> None:
    vae = {"block_out_channels": [128, 256, 512, 512]}
    sd = {"block_out_channels": [320, 640], "down_block_types": ["CrossAttnDownBlock2D"]}
    # 860 + 84 + 123 M parameters; the autoencoder takes more than the U-Net.
    found = memory(1_066_000_000, {"unet": sd, "vae": vae}, (512, 512), 8)
    assert found["float32"]["load"] == 4 * 1_066_000_000
    assert found["float16"]["render"] == 2 * (1_066_000_000 + 3 * 256 * 512 * 512)
    xl = {"block_out_channels": [320, 640], "down_block_types": ["DownBlock2D"]}
    assert per_latent(xl) == pytest.approx(5054, rel=0.02)
    assert per_latent(SD3) == pytest.approx(5090, rel=0.02)
    assert memory(10, {}, (8, 8), 8) == {
        "float16": {"load": 20, "render": 20},
        "float32": {"load": 40, "render": 40},
    }

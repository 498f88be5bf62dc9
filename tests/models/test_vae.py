from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sdcreative.errors import RenderError
from sdcreative.models import vae
from sdcreative.models.loading import Parts, load_parts
from sdcreative.models.vae import decode_latents, encode_pictures


@pytest.fixture
def parts(tiny_checkpoint: Path) -> Parts:
    return load_parts(tiny_checkpoint, device=torch.device("cpu"), dtype=torch.float32)


def pictures(count: int, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_latents_are_the_scaled_mean(parts: Parts) -> None:
    pixels = pictures(2)
    latents = encode_pictures(parts, pixels)
    mean = parts.vae.encode(pixels).latent_dist.mean
    assert latents.shape == (2, 4, 8, 8)
    torch.testing.assert_close(latents, mean * parts.vae.config.scaling_factor)


def test_a_shift_is_undone_by_decoding(parts: Parts) -> None:
    latents = encode_pictures(parts, pictures(1))
    plain = decode_latents(parts, latents)
    parts.vae.register_to_config(shift_factor=0.5)
    shifted = encode_pictures(parts, pictures(1))
    torch.testing.assert_close(shifted, latents - 0.5 * parts.vae.config.scaling_factor)
    torch.testing.assert_close(decode_latents(parts, shifted), plain, rtol=1e-4, atol=1e-5)


def test_slices_give_the_same_pictures(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = pictures(5)
    latents = encode_pictures(parts, pixels)
    whole = decode_latents(parts, latents)
    assert whole.shape == (5, 3, 32, 32)
    assert whole.dtype == torch.float32
    monkeypatch.setattr(vae, "SLICE_PIXELS", 2 * 32 * 32)
    torch.testing.assert_close(encode_pictures(parts, pixels), latents, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decode_latents(parts, latents), whole, rtol=1e-4, atol=1e-5)


def test_large_pictures_go_through_in_tiles(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vae, "TILE_SIDE", 64)
    monkeypatch.setattr(vae, "TILE_PIXELS", 64 * 64)
    latents = encode_pictures(parts, pictures(1, 128))
    assert latents.shape == (1, 4, 32, 32)
    assert decode_latents(parts, latents).shape == (1, 3, 128, 128)
    assert not parts.vae.use_tiling
    whole = decode_latents(parts, latents, tile=False)
    tiled = decode_latents(parts, latents, tile=True)
    assert not torch.equal(whole, tiled)
    # Where a corner's tile is not blended with another, it sees nearly the same.
    assert (whole - tiled)[..., :16, :16].abs().mean() < 0.2


def test_nan_latents_are_reported_by_number(parts: Parts) -> None:
    latents = torch.zeros(3, 4, 8, 8)
    latents[1, 0, 0, 0] = float("nan")
    with pytest.raises(RenderError, match="picture 2 of 3 came out as NaN from the U-Net"):
        decode_latents(parts, latents)


def test_nan_of_half_precision_is_tried_again_in_float32(parts: Parts) -> None:
    # In bfloat16 the weights are what they are in float32, so the second try can be compared.
    parts.vae.to(torch.bfloat16)
    breaks = []

    def overflow(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        breaks.append(output.dtype)
        return output if output.dtype == torch.float32 else output * float("nan")

    parts.vae.decoder.register_forward_hook(overflow)
    result = decode_latents(parts, torch.ones(1, 4, 8, 8))
    assert breaks == [torch.bfloat16, torch.float32]
    assert torch.isfinite(result).all()
    # It stays in float32: no second failure.
    decode_latents(parts, torch.ones(1, 4, 8, 8))
    assert breaks[2:] == [torch.float32]


def test_nan_in_float32_is_an_error(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vae, "SLICE_PIXELS", 32 * 32)
    with torch.no_grad():
        parts.vae.decoder.conv_out.bias[0] = float("nan")
    with pytest.raises(RenderError, match="picture 1 of 2 came out as NaN from the autoencoder"):
        decode_latents(parts, torch.zeros(2, 4, 8, 8))


CONVOLUTIONS = {
    "block_out_channels": (8, 16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "norm_num_groups": 4,
}


def with_autoencoder(parts: Parts, autoencoder: Any) -> Parts:
    autoencoder.eval().requires_grad_(False)
    return replace(parts, vae=autoencoder, latent_channels=autoencoder.config.latent_channels)


def test_sixteen_channels_without_quantising_convolutions(parts: Parts) -> None:
    """As Stable Diffusion 3 has them: shifted, then scaled."""
    from diffusers import AutoencoderKL

    torch.manual_seed(1)
    vae16 = AutoencoderKL(
        **CONVOLUTIONS,
        latent_channels=16,
        scaling_factor=1.5305,
        shift_factor=0.0609,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    parts = with_autoencoder(parts, vae16)
    latents = encode_pictures(parts, pictures(2))
    assert latents.shape == (2, 16, 8, 8)
    mean = vae16.encode(pictures(2)).latent_dist.mean
    torch.testing.assert_close(latents, (mean - 0.0609) * 1.5305)
    torch.testing.assert_close(decode_latents(parts, latents), vae16.decode(mean).sample)


def test_a_vq_model_quantises_when_it_decodes(parts: Parts) -> None:
    from diffusers import VQModel

    torch.manual_seed(1)
    vq = VQModel(**CONVOLUTIONS, latent_channels=3, num_vq_embeddings=8, scaling_factor=0.5)
    parts = with_autoencoder(parts, vq)
    latents = encode_pictures(parts, pictures(2))
    assert latents.shape == (2, 3, 8, 8)
    torch.testing.assert_close(latents, vq.encode(pictures(2)).latents * 0.5)
    decoded = decode_latents(parts, latents)
    torch.testing.assert_close(decoded, vq(pictures(2)).sample)
    torch.testing.assert_close(decode_latents(parts, latents * 1.0001), decoded)
    # It has no tiles to be cut into, and needs none asked for.
    torch.testing.assert_close(decode_latents(parts, latents, tile=True), decoded)


@pytest.mark.parametrize("channels", [4, 16])
def test_tiny_autoencoders_encode_and_decode(
    parts: Parts, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import AutoencoderTiny

    torch.manual_seed(1)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
        latent_channels=channels,
    )
    parts = with_autoencoder(parts, tiny)
    latents = encode_pictures(parts, pictures(2))
    assert latents.shape == (2, channels, 8, 8)
    torch.testing.assert_close(latents, tiny.encode(pictures(2)).latents)
    torch.testing.assert_close(decode_latents(parts, latents), tiny.decode(latents).sample)
    monkeypatch.setattr(vae, "TILE_PIXELS", 1)
    torch.testing.assert_close(encode_pictures(parts, pictures(2)), latents)
    # Overflows are found in it as in others.
    tiny.to(torch.bfloat16)
    hook = tiny.decoder.register_forward_hook(
        lambda module, inputs, output: output * (1 if output.dtype == torch.float32 else torch.nan)
    )
    assert torch.isfinite(decode_latents(parts, latents)).all()
    hook.remove()
    assert tiny.dtype == torch.float32


def test_nan_latents_of_a_transformer_are_reported_as_such(parts: Parts) -> None:
    with pytest.raises(RenderError, match="came out as NaN from the transformer"):
        decode_latents(replace(parts, unet=None), torch.full((1, 4, 8, 8), float("nan")))

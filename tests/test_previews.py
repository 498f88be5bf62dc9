"""Previews: a decoder that is fitted in closed form, few steps, and keys of their own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative.models.places import locate
from sdcreative.models.quick_decoder import QuickDecoder
from sdcreative.models.vae import decode_latents
from sdcreative.rendering.planning import plan
from sdcreative.rendering.previewing import parts_for, said_of
from sdcreative.runs.home import previews_folder
from sdcreative.runs.keys import frame_keys
from sdcreative.settings import PREVIEW_STEPS, RenderSettings
from sdcreative.tools import PictureTool


def film(settings: RenderSettings) -> Timeline:
    shots = [Shot(Blend("a picture of a bear"), Noise(seed)) for seed in range(4)]
    return Timeline(lambda: shots, 4, steps=settings.steps, sampler=settings.sampler)


TOOL = PictureTool("film", "A film.", RenderSettings, film)


class Linear:
    """An autoencoder whose decoder is one convolution."""

    dtype = torch.float32
    config: dict[str, Any] = {}  # noqa: RUF012


def test_a_linear_decoder_is_found_again() -> None:
    torch.manual_seed(0)
    decoder = QuickDecoder(Linear(), 4, 2)
    weight, bias = torch.randn(12, 4, 3, 3), torch.randn(12)
    latents = torch.randn(6, 4, 12, 12)
    padded = functional.pad(latents, (1, 1, 1, 1), mode="replicate")
    pixels = functional.pixel_shuffle(functional.conv2d(padded, weight, bias), 2)
    decoder.solve(latents, pixels)
    assert torch.allclose(decoder.taps.weight, weight, atol=0.01)
    assert torch.allclose(decoder.taps.bias, bias, atol=0.01)
    assert torch.allclose(decoder.decode(latents).sample, pixels, atol=0.05)
    small = pixels / pixels.abs().max()
    decoder.solve(latents, small)
    assert decoder.explained(latents, small) > 0.999
    assert decoder.explained(latents, small.flip(0)) < 0.5


def test_it_shows_what_the_full_decoder_does_and_is_kept(studio: Studio) -> None:
    timeline = TOOL.plan(RenderSettings(preview=True))
    [shot] = list(timeline)[:1]
    parts = parts_for(Studio(studio.parts).parts, timeline)
    again = parts_for(studio.parts, timeline)
    assert parts is again
    assert parts_for(studio.parts, TOOL.plan(RenderSettings())) is studio.parts
    assert isinstance(parts.vae, QuickDecoder)
    assert parts.vae.fit is not None
    assert 0.8 < parts.vae.fit < 1
    assert f"{parts.vae.fit:.0%}" in said_of(parts)
    full = studio.render(Timeline(lambda: [shot], 1, steps=timeline.steps))
    quick = studio.render(Timeline(lambda: [shot], 1, steps=timeline.steps, preview=True))
    one, other = (np.asarray(next(pictures), dtype=float) for pictures in (full, quick))
    assert one.shape == other.shape
    error = np.square(one - other).mean()
    assert 10 * math.log10(255**2 / error) > 20
    assert error > 0


def test_another_process_reads_the_decoder_instead_of_fitting_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdcreative.rendering import previewing

    monkeypatch.setattr(previewing, "LEAST_PLACES", 1024)
    previewing._made.clear()
    timeline, first = TOOL.plan(RenderSettings(preview=True)), studio.parts
    fitted = parts_for(first, timeline).vae
    [file] = previews_folder().glob("*.safetensors")
    assert file.stat().st_size < 32_000
    fits: list[Any] = []
    whole = previewing._fit
    monkeypatch.setattr(previewing, "_fit", lambda *given: (fits.append(given), whole(*given)))
    previewing._made.clear()
    read = parts_for(first, timeline).vae
    assert not fits
    assert torch.equal(read.taps.weight, fitted.taps.weight)
    assert read.fit == pytest.approx(fitted.fit)
    file.write_bytes(file.read_bytes()[:100])
    previewing._made.clear()
    assert parts_for(first, timeline).vae.fit == pytest.approx(fitted.fit)
    assert len(fits) == 1
    previewing._made.clear()


def test_latents_of_another_scale_are_decoded_as_the_autoencoder_does(studio: Studio) -> None:
    timeline = TOOL.plan(RenderSettings(preview=True))
    quick = parts_for(studio.parts, timeline)
    latents = torch.cat(list(_samples(studio)))
    whole, found = (decode_latents(parts, latents).clamp(-1, 1) for parts in (studio.parts, quick))
    spread = (whole - whole.mean()).square().mean()
    assert float((whole - found).square().mean() / spread) < 0.3


def _samples(studio: Studio) -> Any:
    from sdcreative.rendering.previewing import _samples

    return _samples(studio.parts, 3)


def test_a_preview_has_few_steps_and_keys_of_its_own() -> None:
    wanted = {"model": "m", "size": (64, 64), "dtype": "float32"}
    whole = TOOL.plan(RenderSettings())
    quick = TOOL.plan(RenderSettings(preview=True, hires={"scale": 2.0}))
    assert (whole.steps, quick.steps, quick.hires) == (20, PREVIEW_STEPS, None)
    assert plan(quick).evaluations == 4 * 2 * PREVIEW_STEPS
    assert TOOL.plan(RenderSettings(preview=True, steps=3)).steps == 3
    same = TOOL.plan(RenderSettings(steps=PREVIEW_STEPS))
    assert not set(frame_keys(quick, **wanted)) & set(frame_keys(same, **wanted))
    assert [frame.noise for frame in quick] == [frame.noise for frame in whole]


def test_a_tiny_autoencoder_in_the_models_folders_is_taken(tmp_path: Path) -> None:
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    )
    tiny.save_pretrained(tmp_path / "vae" / "taesd")
    settings = RenderSettings(preview=True, models_dir=[str(tmp_path)], device="cpu")
    place = locate(settings)
    assert dict(place.swaps) == {"vae": tmp_path / "vae" / "taesd"}
    assert locate(settings.model_copy(update={"preview": False})).swaps == ()
    studio = Studio.load(place, device="cpu")
    timeline = TOOL.plan(settings)
    assert parts_for(studio.parts, timeline) is studio.parts
    assert "tiny autoencoder" in studio.preview_said(timeline)
    pictures = list(studio.render(timeline))
    assert [picture.size for picture in pictures] == [(64, 64)] * 4

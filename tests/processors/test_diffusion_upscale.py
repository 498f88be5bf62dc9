"""Larger pictures by a diffusion model, with small weights of the published layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from sdcreative.errors import ModelError, UsageError
from sdcreative.models.sources import BUILTIN
from sdcreative.models.upscaler import load_upscaler
from sdcreative.processors.diffusion_upscale import DIFFUSION_UPSCALE, DiffusionUpscaleSettings
from sdcreative.processors.running import apply_steps, plan_steps
from sdcreative.processors.steps import Step
from sdcreative.tools import Film

CPU = torch.device("cpu")
SIZE = (32, 24)
PROMPTS = {"prompt": "a bear", "negative_prompt": "an apple"}


@pytest.fixture(scope="session")
def tiny_upscaler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven channels and a noise level in; never write to it."""
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel

    from sdcreative.models.building import build_autoencoder

    folder = tmp_path_factory.mktemp("x4") / "model"
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(BUILTIN / "emoji" / part, folder / part)
    width = json.loads((folder / "text_encoder" / "config.json").read_text())["hidden_size"]
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=32,
        in_channels=7,
        out_channels=4,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=8,
        cross_attention_dim=width,
        num_class_embeds=1000,
        use_linear_projection=True,
    ).save_pretrained(folder / "unet")
    build_autoencoder((8, 16, 16), 1, 4, 32).save_pretrained(folder / "vae")
    schedule = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear"}
    DDIMScheduler(
        **schedule,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    ).save_pretrained(folder / "scheduler")
    DDPMScheduler(**schedule).save_pretrained(folder / "low_res_scheduler")
    index = {
        "_class_name": "StableDiffusionUpscalePipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "low_res_scheduler": ["diffusers", "DDPMScheduler"],
        "max_noise_level": 350,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def upscaler(tiny_upscaler: Path, tmp_path: Path) -> Path:
    """A copy, to be broken."""
    return Path(shutil.copytree(tiny_upscaler, tmp_path / "model"))


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    levels = numpy.random.default_rng(seed).integers(0, 256, (6, 8, 3), numpy.uint8)
    return Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC)


def step(folder: Path, **given: Any) -> Step:
    settings = {"model": str(folder), "steps": 4, "device": "cpu"} | PROMPTS | given
    return Step(DIFFUSION_UPSCALE, DiffusionUpscaleSettings(**settings))


def enlarged(folder: Path, pictures: list[Image.Image], **given: Any) -> list[Image.Image]:
    film = Film(pictures[0].size, len(pictures), 12.0)
    return list(apply_steps([step(folder, **given)], film, pictures))


def apart(a: Image.Image, b: Image.Image) -> numpy.ndarray:
    return abs(numpy.asarray(a).astype(int) - numpy.asarray(b).astype(int))


@pytest.mark.parametrize(("scale", "level"), [(6.0, 20), (1.0, 300)])
def test_the_picture_is_that_of_diffusers(tiny_upscaler: Path, scale: float, level: int) -> None:
    from diffusers import StableDiffusionUpscalePipeline

    pipeline = StableDiffusionUpscalePipeline.from_pretrained(
        tiny_upscaler, torch_dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    [expected] = pipeline(
        image=picture(),
        num_inference_steps=4,
        guidance_scale=scale,
        noise_level=level,
        generator=torch.Generator().manual_seed(7),
        **PROMPTS,
    ).images
    [found] = enlarged(tiny_upscaler, [picture()], guidance_scale=scale, noise_level=level, seed=7)
    assert found.size == expected.size == (128, 96)
    assert apart(found, expected).max() <= 1
    assert numpy.asarray(found).std() > 5
    for other in ({"noise_level": level + 1}, {"seed": 8}):
        given = {"guidance_scale": scale, "noise_level": level, "seed": 7} | other
        assert apart(enlarged(tiny_upscaler, [picture()], **given)[0], expected).max() > 1


def test_noise_stands_still_in_a_film(tiny_upscaler: Path) -> None:
    first, second, third = enlarged(tiny_upscaler, [picture(0), picture(1), picture(0)])
    assert first.tobytes() == third.tobytes()
    assert apart(first, second).max() > 1
    # So it does with a sampler that adds noise on the way.
    first, third = enlarged(tiny_upscaler, [picture(0)] * 2, sampler="Euler a")
    assert first.tobytes() == third.tobytes()


def test_large_pictures_go_through_in_windows(tiny_upscaler: Path) -> None:
    from sdcreative.processors.diffusion_enlarger import DiffusionEnlarger

    loaded = load_upscaler(tiny_upscaler, device=CPU, dtype=torch.float32)
    shapes = []
    loaded.parts.unet.register_forward_pre_hook(
        lambda module, given: shapes.append(tuple(given[0].shape[1:]))
    )
    small = picture(0, (45, 33))
    made = {}
    for tile in (16, 128):
        shapes.clear()
        settings = step(tiny_upscaler, tile=tile, tile_overlap=0.5).settings
        assert isinstance(settings, DiffusionUpscaleSettings)
        made[tile] = DiffusionEnlarger(loaded, settings).enlarge(small)
        assert made[tile].size == (180, 132)
        assert set(shapes) == {(7, 16, 16) if tile == 16 else (7, 33, 45)}
    # A window sees the same small picture and the same noise, so it makes nearly the same.
    [other] = enlarged(tiny_upscaler, [small], seed=1)
    assert 0 < 2 * apart(made[16], made[128]).mean() < apart(other, made[128]).mean()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": None}, "missing key 'model'"),
        ({"noise_level": 1000}, "less than or equal to 999"),
        ({"sampler": "DDIN"}, "DDIM"),
        ({"sampler": "DDIM", "steps": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step(Path("x4"), **given)


def test_what_is_no_upscaler_is_said_before_rendering(tmp_path: Path) -> None:
    film = Film(SIZE, 1, 12.0)
    with pytest.raises(ModelError, match=r"there is no folder .*nowhere.*hf download"):
        plan_steps([step(tmp_path / "nowhere")], film)
    with pytest.raises(ModelError, match="is a StableDiffusionPipeline, not a StableDiffusionUp"):
        plan_steps([step(BUILTIN / "emoji")], film)
    (tmp_path / "x4.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="is a single file; give the folder"):
        plan_steps([step(tmp_path / "x4.safetensors")], film)


def test_a_level_beyond_the_models_own_is_refused(tiny_upscaler: Path) -> None:
    with pytest.raises(UsageError, match="noise_level is 351; this model knows 350 at most"):
        enlarged(tiny_upscaler, [picture()], noise_level=351)


def change(path: Path, **given: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | given))


@pytest.mark.parametrize(
    ("file", "given", "message"),
    [
        ("unet/config.json", {"in_channels": 4}, "takes 4 and gives 4 channels"),
        ("unet/config.json", {"num_class_embeds": None}, "one of 351 classes"),
        ("unet/config.json", {"cross_attention_dim": 8}, "reads vectors of 8"),
        ("unet/config.json", {"block_out_channels": [32]}, "describes nothing that can be built"),
        ("unet/config.json", {"layers_per_block": 2}, "weights of unet do not fit"),
        ("vae/config.json", {"_class_name": "UNet2DModel"}, "holds a UNet2DModel"),
        ("scheduler/scheduler_config.json", {"prediction_type": "x"}, "prediction_type 'x'"),
        ("low_res_scheduler/scheduler_config.json", {"beta_schedule": "x"}, "low_res_scheduler"),
        ("model_index.json", {"vae": ["os", "system"]}, "not trusted"),
        ("model_index.json", {"max_noise_level": "many"}, "max_noise_level is 'many'"),
    ],
)
def test_broken_upscalers_are_named(
    upscaler: Path, file: str, given: dict[str, Any], message: str
) -> None:
    change(upscaler / file, **given)
    with pytest.raises(ModelError, match=message):
        load_upscaler(upscaler, device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("part", ["low_res_scheduler", "tokenizer", "vae"])
def test_missing_parts_are_named(upscaler: Path, part: str) -> None:
    shutil.rmtree(upscaler / part)
    with pytest.raises(ModelError, match=part):
        load_upscaler(upscaler, device=CPU, dtype=torch.float32)

"""Stable Diffusion XL and inpainting checkpoints: loading, and pictures equal to diffusers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdcreative import Studio
from sdcreative.core.noise import draw_noise
from sdcreative.core.shots import Blend, Noise, Shot, Sizes
from sdcreative.core.timeline import Timeline
from sdcreative.errors import ModelError
from sdcreative.models.loading import load_parts
from sdcreative.models.text import encode
from sdcreative.models.vae import encode_pictures, to_pixels
from sdcreative.rendering.embeddings import Embeddings

PROMPT, SEED, STEPS, SCALE = "a bear (in red)", 7, 4, 4.0
NOISE = draw_noise(SEED, (4, 8, 8))[None]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def xl(tiny_xl: Path) -> Studio:
    return Studio.load(str(tiny_xl), device="cpu")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def mask() -> Image.Image:
    array = np.zeros((32, 32), np.uint8)
    array[8:24, 4:20] = 255
    return Image.fromarray(array)


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def pipeline(name: str, folder: Path) -> Any:
    import diffusers

    without = {} if "XL" in name else {"safety_checker": None}
    pipe = getattr(diffusers, name).from_pretrained(folder, local_files_only=True, **without)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    return pipe


def render(studio: Studio, shot: Shot, **options: Any) -> np.ndarray:
    timeline = Timeline(lambda: [shot], 1, steps=STEPS, sampler="Euler", prompts="plain", **options)
    [picture] = studio.render(timeline)
    return np.asarray(picture) / 255


def apart(ours: np.ndarray, theirs: Any) -> float:
    return float(np.abs(ours - theirs.images[0]).max())


@pytest.mark.parametrize("negative", ["", "an apple"])
def test_a_picture_of_sdxl_is_that_of_the_pipeline(
    xl: Studio, tiny_xl: Path, negative: str
) -> None:
    theirs = pipeline("StableDiffusionXLPipeline", tiny_xl)(
        PROMPT,
        negative_prompt=negative or None,
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        latents=NOISE,
        output_type="np",
    )
    shot = Shot(Blend(PROMPT), Noise(SEED), Blend(negative), SCALE)
    assert apart(render(xl, shot), theirs) <= 1 / 255


def test_sdxl_is_told_sizes(xl: Studio, tiny_xl: Path) -> None:
    theirs = pipeline("StableDiffusionXLPipeline", tiny_xl)(
        PROMPT,
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        latents=NOISE,
        original_size=(16, 24),
        crops_coords_top_left=(4, 8),
        target_size=(64, 40),
        negative_original_size=(16, 24),
        negative_crops_coords_top_left=(4, 8),
        negative_target_size=(64, 40),
        output_type="np",
    )
    shot = Shot(Blend(PROMPT), Noise(SEED), guidance_scale=SCALE)
    told = Shot(
        shot.prompt, shot.noise, guidance_scale=SCALE, sizes=Sizes((24, 16), (8, 4), (40, 64))
    )
    assert apart(render(xl, told), theirs) <= 1 / 255
    assert apart(render(xl, shot), theirs) > 2 / 255


def test_clip_skip_of_sdxl_begins_at_the_last_layer_but_one(xl: Studio, tiny_xl: Path) -> None:
    pipe = pipeline("StableDiffusionXLPipeline", tiny_xl)
    own, two, three = (encode(xl.parts, [PROMPT], clip_skip=skip)[0] for skip in (1, 2, 3))
    assert torch.equal(own.embeddings, two.embeddings)
    for found, skipped in ((two, None), (three, 1)):
        theirs, _, pooled, _ = pipe.encode_prompt(PROMPT, clip_skip=skipped)
        torch.testing.assert_close(found.embeddings, theirs, rtol=0, atol=1e-5)
        torch.testing.assert_close(found.pooled, pooled, rtol=0, atol=1e-5)


def test_a_long_prompt_of_sdxl_is_chunks_with_the_first_pooled(xl: Studio) -> None:
    long, first = encode(xl.parts, ["bear " * 20, "bear " * 14])
    assert long.embeddings.shape == (1, 32, 96)
    assert torch.equal(long.embeddings[:, :16], first.embeddings)
    assert long.pooled is not None and first.pooled is not None
    assert torch.equal(long.pooled, first.pooled)


def test_a_path_between_prompts_of_sdxl_moves_the_pooled_prompt_too(xl: Studio) -> None:
    embeddings = Embeddings(xl.parts, "plain")
    ends = [embeddings.of(text).pooled for text in ("a bear", "an apple " * 12)]
    halfway = embeddings.blend(Blend("a bear", "an apple " * 12, 0.5)).pooled
    assert halfway is not None and ends[0] is not None and ends[1] is not None
    to_ends = [torch.dist(halfway, end) for end in ends]
    assert max(to_ends) < torch.dist(*ends)


def test_batches_of_sdxl_give_the_same_pictures(xl: Studio) -> None:
    shots = [
        Shot(Blend("a bear", "an apple", t), Noise(seed), sizes=sizes)
        for t, seed, sizes in ((0.0, 1, None), (0.5, 2, Sizes((8, 8))), (1.0, 3, None))
    ]
    timeline = Timeline(lambda: shots, 3, steps=3, sampler="Euler")
    together, alone = (list(xl.render(timeline, batch_size=size)) for size in (3, 1))
    for a, b in zip(together, alone, strict=True):
        assert np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1


@pytest.mark.parametrize("name", ["tiny_inpainting", "tiny_xl_inpainting"])
def test_an_inpainted_picture_is_that_of_the_pipeline(
    name: str, request: pytest.FixtureRequest, picture: Image.Image, mask: Image.Image
) -> None:
    folder = request.getfixturevalue(name)
    studio = Studio.load(str(folder), device="cpu")
    assert studio.parts.inpaints
    kept = to_pixels([picture]) * (to_pixels([mask.convert("L")]) < 0)
    kind = "StableDiffusionXLInpaintPipeline" if "xl" in name else "StableDiffusionInpaintPipeline"
    theirs = pipeline(kind, folder)(
        PROMPT,
        image=picture,
        mask_image=mask,
        masked_image_latents=encode_pictures(studio.parts, kept),
        height=32,
        width=32,
        strength=1.0,
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        latents=NOISE,
        output_type="np",
    )
    shot = Shot(
        Blend(PROMPT), Noise(SEED), guidance_scale=SCALE, image=picture, mask=mask, strength=1.0
    )
    ours = render(studio, shot)
    painted = np.asarray(mask) > 0
    assert np.abs(ours - theirs.images[0])[painted].max() <= 1 / 255
    # What is kept is the picture itself, not what the autoencoder makes of it.
    assert np.array_equal(ours[~painted] * 255, np.asarray(picture)[~painted])


def test_an_inpainting_checkpoint_also_makes_whole_pictures(tiny_inpainting: Path) -> None:
    studio = Studio.load(str(tiny_inpainting), device="cpu")
    first, second = (studio.picture("a bear", seed=seed, steps=3) for seed in (1, 2))
    assert first.size == second.size == (32, 32)
    assert first.tobytes() != second.tobytes()


BROKEN = {
    "no second encoder": (
        lambda m: shutil.rmtree(m / "text_encoder_2"),
        "the model lacks its text_encoder_2",
    ),
    "no second tokenizer": (
        lambda m: (m / "tokenizer_2" / "vocab.json").unlink(),
        "tokenizer_2 is incomplete: no vocab.json",
    ),
    "a refiner": (
        lambda m: edit_json(
            m / "unet" / "config.json", projection_class_embeddings_input_dim=48 + 5 * 8
        ),
        "asks for an aesthetic score",
    ),
    "no sizes": (
        lambda m: edit_json(m / "unet" / "config.json", addition_embed_type=None),
        "has addition_embed_type None",
    ),
    "narrow": (
        lambda m: edit_json(m / "unet" / "config.json", cross_attention_dim=64),
        "the unet reads vectors of 64, the text encoders give 96",
    ),
    "second encoder of another class": (
        lambda m: edit_json(
            m / "model_index.json", text_encoder_2=["transformers", "CLIPTextModel"]
        ),
        "text_encoder_2 is",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_wrong_with_sdxl_is_said(tiny_xl: Path, tmp_path: Path, fault: str) -> None:
    folder = Path(shutil.copytree(tiny_xl, tmp_path / "model"))
    break_it, line = BROKEN[fault]
    break_it(folder)
    with pytest.raises(ModelError, match=line) as caught:
        load_parts(folder, device=CPU, dtype=torch.float32)
    assert "\n" not in str(caught.value)

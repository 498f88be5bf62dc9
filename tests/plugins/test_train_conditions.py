"""U-Nets that are told a class or nothing, or are shown a picture; and what then runs them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sdcreative import DataError, Job, ModelError, OutputError, Studio, UsageError
from sdcreative.models.building import build_autoencoder, build_unet, read_part, save_part
from sdcreative_plugins.train.job import run_training
from sdcreative_plugins.train.masks import random_mask
from sdcreative_plugins.train.pictures import read_folder
from sdcreative_plugins.train.sample import run_sampling
from sdcreative_plugins.train.sample_settings import SampleSettings
from sdcreative_plugins.train.seen import Holes, SmallPicture
from sdcreative_plugins.train.settings import TrainSettings
from sdcreative_plugins.train.shapes import add_classes, attends_to_text, fold_scaling, widen_input
from sdcreative_plugins.train.stages import Inpainting, SuperResolution

COLOURS = ("red", "green", "blue")


def plan(steps: int = 2) -> dict[str, Any]:
    return {"steps": steps, "batch": 4, "warmup": 0, "learning_rate": 3e-3, "save_every": 2}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of drawings without a caption: circles, and squares."""
    folder = tmp_path_factory.mktemp("pictures")
    for shape in ("circle", "square"):
        (folder / shape).mkdir()
        for colour in COLOURS:
            picture = Image.new("RGBA", (32, 32))
            draw = ImageDraw.Draw(picture)
            (draw.ellipse if shape == "circle" else draw.rectangle)((6, 6, 26, 26), fill=colour)
            picture.save(folder / shape / f"{colour}.png")
    return folder


def settings(
    pictures: Path, output: Path, unet: dict[str, Any] | None, **changes: Any
) -> TrainSettings:
    values: dict[str, Any] = {
        "data": {"source": "folder", "folder": str(pictures)},
        "size": 32,
        "output": str(output),
    }
    if unet is not None:
        values["unet"] = {"channels": [32, 32], "variants": 1, "schedule": plan(), **unet}
    return TrainSettings.model_validate({**values, **changes})


def work(wanted: TrainSettings, **changes: Any) -> list[str]:
    lines: list[str] = []
    run_training(
        wanted, Job(**{"overwrite": False, "dry_run": False, **changes}, report=lines.append)
    )
    return lines


Trained = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """(name, U-Net settings) -> folder of a model trained for two steps, once for each name."""
    root = tmp_path_factory.mktemp("trained")

    def make(name: str, codebook: int | None = None, **unet: Any) -> Path:
        if not (root / name).is_dir():
            data = {"source": "folder", "folder": str(pictures / "circle")}
            if unet.get("condition") == "class":
                data["folder"] = str(pictures)
            autoencoder: dict[str, Any] = {"channels": [8, 16, 16], "schedule": plan()}
            if codebook is not None:
                autoencoder |= {"regulariser": "vq", "codebook": codebook}
            extra = {"autoencoder": autoencoder, "data": data}
            work(settings(pictures, root / name, unet, **extra))
        return root / name

    return make


@pytest.fixture(scope="module")
def plain(trained: Trained) -> Path:
    return trained("plain", condition="none")


def test_a_u_net_told_nothing_looks_at_no_text_and_runs_like_any_other(plain: Path) -> None:
    unet = read_part(plain / "unet")
    assert not attends_to_text(unet)
    rng = torch.Generator().manual_seed(0)
    noisy = torch.randn(1, 4, 8, 8, generator=rng)
    with torch.no_grad():
        said = [
            unet(noisy, 500, encoder_hidden_states=torch.randn(1, 3, 32, generator=rng)).sample
            for _ in range(2)
        ]
    assert torch.equal(*said)
    studio = Studio.load(str(plain), device="cpu")
    one, other = (studio.picture(text, seed=1, steps=2) for text in ("", "anything"))
    assert one.size == (32, 32) and one.tobytes() == other.tobytes()
    assert not (plain / "conditions.json").exists() and not (plain / "clip").exists()


def test_a_first_stage_with_a_codebook_runs_like_any_other(trained: Trained) -> None:
    model = trained("vq", codebook=16, condition="none")
    assert json.loads((model / "model_index.json").read_text())["vae"] == ["diffusers", "VQModel"]
    studio = Studio.load(str(model), device="cpu")
    assert studio.picture("", seed=1, steps=2).size == (32, 32)


def test_captions_are_asked_for_only_where_something_reads_them(
    pictures: Path, tmp_path: Path
) -> None:
    circles = {"source": "folder", "folder": str(pictures / "circle")}
    stage = {"channels": [8, 16], "schedule": plan(1)}
    work(settings(pictures, tmp_path / "a", None, autoencoder=stage, data=circles))
    clip = {"width": 32, "layers": 1, "heads": 2, "vocabulary": 600, "schedule": plan(1)}
    with pytest.raises(DataError, match="no caption"):
        work(settings(pictures, tmp_path / "b", None, clip=clip, data=circles))
    with pytest.raises(UsageError, match="training needs a vae"):
        work(settings(pictures, tmp_path / "c", {"condition": "none"}))


def test_classes_are_the_folders_and_are_sampled_by_name(trained: Trained, tmp_path: Path) -> None:
    model = trained("class", condition="class")
    said = json.loads((model / "conditions.json").read_text())
    assert said == {"classes": ["circle", "square"]}
    unet = read_part(model / "unet")
    assert unet.config.num_class_embeds == 3
    assert unet.class_embedding.weight.abs().max() > 0
    figures = json.loads((model / "training" / "unet" / "measured.jsonl").read_text())
    assert figures["mixed_loss"] > 0
    # Two steps teach little; with classes that are far apart their pictures are.
    model = shutil.copytree(model, tmp_path.with_name("apart"))
    with torch.no_grad():
        unet.class_embedding.weight.normal_(0, 3, generator=torch.Generator().manual_seed(0))
    save_part(unet, model / "unet")
    lines = sample(tmp_path, model=str(model), count=2, steps=2)
    names = ["circle_0000.png", "circle_0001.png", "square_0000.png", "square_0001.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names and "4 pictures" in lines[-1]
    contents = {Image.open(tmp_path / name).tobytes() for name in names}
    assert len(contents) == 4 and Image.open(tmp_path / names[0]).size == (32, 32)
    with pytest.raises(OutputError, match="exists"):
        sample(tmp_path, model=str(model), steps=2)
    alone = tmp_path / "alone"
    sample(alone, model=str(model), classes=["square"], seed=1, steps=2)
    two = (np.asarray(Image.open(folder / names[3])).astype(int) for folder in (alone, tmp_path))
    assert np.abs(next(two) - next(two)).max() <= 1


def sample(output: Path, **values: Any) -> list[str]:
    lines: list[str] = []
    run_sampling(
        SampleSettings(output=str(output), device="cpu", **values), Job(False, False, lines.append)
    )
    return lines


def test_sampling_says_what_is_wrong(
    trained: Trained, plain: Path, pictures: Path, tmp_path: Path
) -> None:
    classes = str(trained("class", condition="class"))
    small = str(trained("small", condition="none", superresolution={"max_noise_level": 30}))

    def complaint(kind: type[Exception], **values: Any) -> str:
        with pytest.raises(kind) as caught:
            sample(tmp_path / "out", **values)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    assert "no class 'star'; there are circle, square" in complaint(
        UsageError, model=classes, classes=["star"]
    )
    assert "is told a class" in complaint(UsageError, model=classes, pictures="a.png")
    assert "sdcreative image --model" in complaint(ModelError, model=str(plain))
    assert "enlarges pictures; give one" in complaint(UsageError, model=small)
    assert "knows 0 to 30" in complaint(UsageError, model=small, pictures="a.png", noise_level=31)
    assert "not a readable picture" in complaint(DataError, model=small, pictures="a.png")
    odd = tmp_path / "odd.png"
    Image.new("RGB", (9, 8)).save(odd)
    with pytest.raises(DataError, match="multiples of 8 pixels"):
        sample(tmp_path / "out", model=small, pictures=str(odd))


def test_pictures_without_a_class_are_named(pictures: Path, tmp_path: Path) -> None:
    circles = {"source": "folder", "folder": str(pictures / "circle")}
    stage = {"channels": [8, 16], "schedule": plan(1)}
    wanted = settings(pictures, tmp_path, {"condition": "class"}, autoencoder=stage, data=circles)
    with pytest.raises(DataError, match="lies in no folder of its own"):
        work(wanted)
    groups = [d.group for d in read_folder(pictures, 32, captioned=False, grouped=True)]
    assert groups == ["circle"] * 3 + ["square"] * 3


def test_an_upscaler_runs_in_diffusers_as_in_the_tool(trained: Trained, tmp_path: Path) -> None:
    from diffusers import StableDiffusionUpscalePipeline

    model = trained("small", condition="none", superresolution={"max_noise_level": 30})
    pipeline = StableDiffusionUpscalePipeline.from_pretrained(model, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.config.max_noise_level == 30
    assert pipeline.unet.config.in_channels == 7 and pipeline.unet.config.num_class_embeds == 31
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    small.save(tmp_path / "dot.png")
    options = {"pictures": str(tmp_path), "steps": 3, "seed": 4, "noise_level": 20}
    lines = sample(tmp_path / "large", model=str(model), **options)
    assert "1 pictures" in lines[-1]
    ours = np.asarray(Image.open(tmp_path / "large" / "dot_0004.png"))
    given = torch.from_numpy(np.asarray(small, dtype=np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    theirs = pipeline(
        prompt="",
        image=given,
        noise_level=20,
        guidance_scale=1,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(4 + 2**32),
        latents=torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4)),
        output_type="np",
    ).images[0]
    assert ours.shape == (32, 32, 3)
    assert np.abs(ours / 255 - theirs).max() < 0.02


def test_folding_the_scaling_leaves_pictures_as_they_are() -> None:
    torch.manual_seed(0)
    vae = build_autoencoder([8, 16], 1, 4, 16)
    vae.register_to_config(scaling_factor=0.4)
    pixels = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        before = vae.encode(pixels).latent_dist
        copy = vae.decode(before.mean).sample
        fold_scaling(vae, 0.1)
        after = vae.encode(pixels).latent_dist
    assert vae.config.scaling_factor == 0.1
    torch.testing.assert_close(after.mean * 0.1, before.mean * 0.4)
    torch.testing.assert_close(after.std * 0.1, before.std * 0.4)
    torch.testing.assert_close(vae.decode(after.mean).sample, copy, atol=1e-5, rtol=1e-4)


def test_an_inpainting_model_is_one_of_stable_diffusions_kind(
    pictures: Path, plain: Path, tmp_path: Path
) -> None:
    from diffusers import StableDiffusionInpaintPipeline

    output, unet = tmp_path / "model", {"condition": "none", "inpainting": {}}
    circles = {"source": "folder", "folder": str(pictures / "circle")}
    work(settings(pictures, output, unet, start_from=str(plain), data=circles))
    figures = json.loads((output / "training" / "unet" / "measured.jsonl").read_text())
    assert 0 < figures["hole"] < 1 and 0 < figures["mean_fill"] < 1
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(output, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.unet.config.in_channels == 9
    picture, mask = Image.new("RGB", (32, 32), "red"), Image.new("L", (32, 32), 255)
    options = {"height": 32, "width": 32, "num_inference_steps": 2, "guidance_scale": 1}
    made = pipeline("", image=picture, mask_image=mask, **options).images[0]
    assert made.size == (32, 32)
    assert Studio.load(str(output), device="cpu").parts.inpaints
    # What the U-Net is shown is what the pipeline shows it.
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    hole = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    hole[..., 4:20, 8:] = True
    vae = pipeline.vae
    with torch.no_grad():
        ours = Holes(Inpainting(), vae).of_masks(pixels, hole, vae)
        vae.quant_conv.bias[4:] = -30.0
        vae.quant_conv.weight[4:] = 0.0
        given = hole.float(), pixels * (hole < 0.5)
        tail = (1, 32, 32, torch.float32, torch.device("cpu"), torch.Generator(), False)
        mask_channel, latents = pipeline.prepare_mask_latents(*given, *tail)
    torch.testing.assert_close(ours, torch.cat([mask_channel, latents], 1), atol=1e-4, rtol=1e-4)
    with pytest.raises(UsageError, match=r"an inpainting U-Net; set unet\.inpainting"):
        on = settings(
            pictures, tmp_path / "on", {"condition": "none"}, start_from=str(output), data=circles
        )
        work(on)


def test_new_channels_and_classes_have_no_effect_until_they_are_trained() -> None:
    torch.manual_seed(0)
    unet = build_unet([32, 32], 1, 4, 8, 16)
    noisy, extra = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 8, 8)
    told = {"timestep": torch.tensor([1, 900]), "encoder_hidden_states": torch.randn(2, 3, 16)}
    with torch.no_grad():
        before = unet(noisy, **told).sample
        widen_input(unet, 9)
        add_classes(unet, 6)
        given = torch.cat([noisy, extra], 1)
        after = unet(given, **told, class_labels=torch.tensor([0, 5])).sample
    assert torch.equal(before, after)
    assert unet.config.in_channels == 9 and unet.config.num_class_embeds == 6
    unet(given, **told, class_labels=torch.tensor([0, 5])).sample.sum().backward()
    assert unet.conv_in.weight.grad[:, 4:].abs().max() > 0
    assert unet.class_embedding.weight.grad[5].abs().max() > 0


def test_small_pictures_are_seen_as_pixels_or_as_latents() -> None:
    torch.manual_seed(0)
    vae = build_autoencoder([8, 16, 16], 1, 4, 32)
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    rng = np.random.default_rng(0)
    with torch.no_grad():
        plain = SmallPicture(SuperResolution(), vae)
        small = plain.shrink(pixels)
        assert small.shape == (2, 3, 8, 8) and torch.equal(plain.of(pixels, vae, rng), small)
        encoded = SmallPicture(SuperResolution(factor=2, seen_as="latents"), vae)
        assert encoded.of(pixels, vae, rng).shape == (2, 4, 8, 8)
    # Of level t there is sqrt(1 - alpha_t) of noise, Stable Diffusion's alphas.
    levels = torch.tensor([0, 350])
    noise = plain.noised(torch.zeros_like(small), levels, torch.ones_like(small))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)[levels]
    torch.testing.assert_close(noise[:, 0, 0, 0].double(), (1 - alphas).sqrt(), rtol=1e-4, atol=0)
    with pytest.raises(UsageError, match="larger than the latents"):
        SmallPicture(SuperResolution(factor=2), vae)


def test_masks_are_whole_as_often_as_asked_and_never_empty() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_mask(rng, 24, 40, Inpainting(whole=0.25)) for _ in range(400)]
    assert all(mask.shape == (24, 40) and mask.any() for mask in drawn)
    assert 0.19 < np.mean([mask.all() for mask in drawn]) < 0.31
    holes = np.mean([mask.mean() for mask in drawn if not mask.all()])
    assert 0.1 < holes < 0.5
    boxes = [random_mask(rng, 32, 32, Inpainting(whole=0, strokes=0)) for _ in range(50)]
    strokes = [random_mask(rng, 32, 32, Inpainting(whole=0, strokes=1)) for _ in range(50)]

    def straight(mask: np.ndarray) -> bool:
        """Whether every row of pixels is one of few kinds, as of a few rectangles."""
        return len(np.unique(mask, axis=0)) <= 7

    assert all(map(straight, boxes)) and sum(map(straight, strokes)) < 25


def test_conditions_that_make_no_sense_are_refused(pictures: Path, tmp_path: Path) -> None:
    def complaint(unet: dict[str, Any], **changes: Any) -> str:
        with pytest.raises(ValueError) as caught:
            settings(pictures, tmp_path, unet, **changes)
        return str(caught.value)

    both = {"superresolution": {}, "inpainting": {}}
    assert "leave one out" in complaint(both)
    assert "text or none alone" in complaint({"condition": "class", "inpainting": {}})
    assert "no text is read" in complaint({"condition": "none", "train_text": True})
    assert "have only a group" in complaint({"condition": "class", "classes": "colour"})
    assert "not divisible by factor 3" in complaint({"superresolution": {"factor": 3}})
    assert "every part is new" in complaint({"fresh": True})
    music = {"source": "music_folder", "folder": str(pictures)}
    assert "music has no classes" in complaint({"condition": "class"}, data=music)


def test_going_on_needs_the_same_classes(trained: Trained, pictures: Path, tmp_path: Path) -> None:
    base = trained("class", condition="class")
    folder = tmp_path / "pictures"
    shutil.copytree(pictures, folder)
    (folder / "star").mkdir()
    shutil.copy(folder / "circle" / "red.png", folder / "star")
    unet = {"condition": "class"}
    wanted = settings(folder, tmp_path / "on", unet, start_from=str(base))
    with pytest.raises(UsageError, match="has 3 class labels, the settings make 4"):
        work(wanted)
    fresh = settings(folder, tmp_path / "new", {**unet, "fresh": True}, start_from=str(base))
    lines = work(fresh)
    assert "tool sample" in lines[-1]
    assert json.loads((tmp_path / "new" / "conditions.json").read_text())["classes"][2] == "star"

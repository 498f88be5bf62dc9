"""Settings that say how a model is put together and sampled, from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file, save_file

from sdcreative import Studio
from sdcreative.cli import build_cli
from sdcreative.host import Host
from sdcreative.models.loading import load_parts
from sdcreative.models.offloading import Shifts, choose_plan, spread
from sdcreative.models.places import ModelPlace
from sdcreative.models.vae import decode_latents

CPU = torch.device("cpu")
VAE = "vae/diffusion_pytorch_model.safetensors"


def image(model: Path | str, output: Path, *options: str) -> Result:
    command = ["image", "a bear", "--model", str(model), "--steps", "3", "--device", "cpu"]
    command += ["--output", str(output), "--overwrite", *options]
    return CliRunner().invoke(build_cli(Host.load(enabled=False)), command)


def made(model: Path | str, output: Path, *settings: str, **more: Any) -> np.ndarray:
    options = [word for setting in settings for word in ("--set", setting)]
    done = image(model, output, *options)
    assert done.exit_code == 0, (done.output, done.exception)
    with Image.open(output) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def refused(model: Path | str, output: Path, *settings: str) -> str:
    done = image(model, output, *[word for setting in settings for word in ("--set", setting)])
    assert done.exit_code in (1, 2), done.output
    assert not output.exists()
    assert "\n" not in str(done.exception)
    return str(done.exception)


@pytest.fixture(scope="module")
def other_vae(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with another decoder; never write to it."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("other") / "model"))
    state = load_file(folder / VAE)
    torch.manual_seed(5)
    name = "decoder.conv_out.weight"
    save_file({**state, name: torch.randn_like(state[name])}, folder / VAE)
    return folder


def test_another_autoencoder(tiny_checkpoint: Path, other_vae: Path, tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    own, whole = made(tiny_checkpoint, output), made(other_vae, output)
    assert np.abs(own - whole).max() > 10
    for place in (other_vae, other_vae / "vae", other_vae / VAE):
        assert np.array_equal(made(tiny_checkpoint, output, f"swap.vae={place}"), whole)


def test_another_scheduler(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    config = tiny_checkpoint / "scheduler" / "scheduler_config.json"
    changed = tmp_path / "scheduler_config.json"
    changed.write_text(json.dumps(json.loads(config.read_text()) | {"beta_end": 0.03}))
    own, other = (
        made(tiny_checkpoint, output, *more) for more in ((), (f"swap.scheduler={changed}",))
    )
    assert not np.array_equal(own, other)


def test_a_swap_that_is_not_there(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    assert "no vae 'nowhere'" in refused(tiny_checkpoint, output, "swap.vae=nowhere")
    said = refused(tiny_checkpoint, output, f"swap.text_encoder_2={tiny_checkpoint}")
    assert "has no text_encoder_2" in said
    said = refused(tiny_checkpoint, output, f"swap.vae={tiny_checkpoint / 'unet'}")
    assert "expected AutoencoderKL" in said


def test_an_earlier_layer_of_the_text_encoder(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    own, earlier = (made(tiny_checkpoint, output, f"clip_skip={layer}") for layer in (1, 2))
    assert not np.array_equal(own, earlier)
    assert "the text encoder of this model has 3 layers" in refused(
        tiny_checkpoint, tmp_path / "none.png", "clip_skip=4"
    )


def test_large_pictures_in_windows_and_in_a_second_pass(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "picture.png"
    assert made(tiny_checkpoint, output, "size=64x48", "tile=32").shape == (48, 64, 3)
    assert made(tiny_checkpoint, output, "hires.scale=2").shape == (64, 64, 3)
    again = image(tiny_checkpoint, output, "--set", "hires.scale=2")
    assert "1 of 1 frames are there already" in again.output


def test_guidance_that_does_nothing_is_the_same_frame(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "picture.png"
    plain = made(tiny_checkpoint, output)
    done = image(tiny_checkpoint, output, "--set", "guidance.rescale=0")
    assert "1 of 1 frames are there already" in done.output
    assert not np.array_equal(made(tiny_checkpoint, output, "guidance.rescale=1"), plain)
    half = made(tiny_checkpoint, output, "guidance.interval=[0, 0.5]")
    assert not np.array_equal(half, plain)


def test_sizes_are_for_sdxl(tiny_checkpoint: Path, tiny_xl: Path, tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    own = made(tiny_xl, output)
    assert not np.array_equal(made(tiny_xl, output, "sizes.original=256x256"), own)
    assert "only Stable Diffusion XL is" in refused(
        tiny_checkpoint, tmp_path / "none.png", "sizes.original=256x256"
    )


def test_what_a_transformer_cannot_do_is_said_first(tiny_sd3: Path, tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    assert made(tiny_sd3, output, "sampler=Euler").shape == (32, 32, 3)
    none = tmp_path / "none.png"
    assert "does not work with models of flow matching" in refused(tiny_sd3, none, "sampler=DDIM")
    assert "sees the edges" in refused(tiny_sd3, none, "sampler=Euler", "seamless=x")
    assert "at most 64 pixels" in refused(tiny_sd3, none, "sampler=Euler", "size=128")
    assert made(tiny_sd3, output, "sampler=Euler", "size=128", "tile=32").shape == (128, 128, 3)


def test_models_are_found_by_name(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "comfy" / "models" / "diffusers"
    shutil.copytree(tiny_checkpoint, shelf / "My_Tiny")
    output = tmp_path / "picture.png"
    assert image("my_tiny", output).exit_code == 1
    assert image("my_tiny", output, "--models-dir", str(tmp_path / "comfy")).exit_code == 0
    monkeypatch.setenv("SDCREATIVE_MODELS_DIR", str(tmp_path / "comfy"))
    assert image("my_tiny", output).exit_code == 0


@pytest.fixture(scope="module")
def watched(
    tiny_checkpoint: Path, tiny_safety: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny checkpoint with a safety checker; never write to it."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("watched") / "model"))
    for name in ("safety_checker", "feature_extractor"):
        shutil.copytree(tiny_safety / name, folder / name)
    return folder


@pytest.mark.parametrize("threshold", [-9.0, 9.0])
def test_the_safety_checker_reports_or_stops(
    watched: Path, tmp_path: Path, threshold: float
) -> None:
    folder = Path(shutil.copytree(watched, tmp_path / "model"))
    weights = folder / "safety_checker" / "model.safetensors"
    state = load_file(weights)
    for name in ("concept_embeds_weights", "special_care_embeds_weights"):
        state[name] = torch.full_like(state[name], threshold)
    save_file(state, weights)
    output = tmp_path / "picture.png"
    plain = made(folder, output)
    done = image(folder, output, "--set", "safety=report")
    flagged = threshold < 0
    assert ("flagged frames 0" if flagged else "no frame is flagged") in done.output
    with Image.open(output) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), plain)
    output.unlink()
    done = image(folder, output, "--set", "safety=stop")
    assert output.exists() != flagged
    assert ("frame 0: the model's safety checker flags it" in str(done.exception)) == flagged


def test_a_model_without_a_safety_checker(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    done = image(tiny_checkpoint, output, "--set", "safety=report")
    assert "brings no safety checker; nothing was checked" in done.output
    assert "brings no safety checker" in refused(
        tiny_checkpoint, tmp_path / "none.png", "safety=stop"
    )


def test_low_memory_gives_the_same_picture(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "picture.png"
    plain = made(tiny_checkpoint, output)
    assert image(tiny_checkpoint, output, "--low-memory", "--no-keep").exit_code == 0
    with Image.open(output) as picture:
        assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - plain).max() <= 1


def test_weights_stay_in_their_file_where_memory_is_short(tiny_checkpoint: Path) -> None:
    place = ModelPlace(tiny_checkpoint)
    mapped, copied = (
        load_parts(place, device=CPU, dtype=torch.float32, low_memory=low) for low in (True, False)
    )
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = (getattr(one, part).state_dict() for one in (mapped, copied))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    maps = Path("/proc/self/maps").read_text()
    assert str(tiny_checkpoint / VAE) in maps
    starts = {one.data_ptr() for one in mapped.unet.parameters()}
    spans = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in maps.splitlines()
        if str(tiny_checkpoint) in line
    ]
    assert all(any(low <= start < high for low, high in spans) for start in starts)


def test_one_part_at_a_time_is_at_work(tiny_checkpoint: Path) -> None:
    parts = load_parts(tiny_checkpoint, device=CPU, dtype=torch.float32)
    names = ("text_encoder", "unet", "vae")
    plain = Studio(parts).picture("a bear", steps=2)
    shifts = Shifts({name: getattr(parts, name) for name in names}, CPU, CPU)
    seen: list[str] = []
    for name in names:
        module = getattr(parts, name)
        for called in (module, *module.children()):
            called.register_forward_hook(lambda *_: seen.append(shifts.at_work))
    again = Studio(parts).picture("a bear", steps=2)
    assert again.tobytes() == plain.tobytes()
    assert list(dict.fromkeys(seen)) == list(names)


def test_layers_that_come_and_go_give_the_same_picture(tiny_checkpoint: Path) -> None:
    plain = Studio.load(str(tiny_checkpoint), device="cpu").picture("a bear", steps=2)
    parts = load_parts(tiny_checkpoint, device=CPU, dtype=torch.float32)
    names = ("text_encoder", "unet", "vae")
    spread("layers", {name: getattr(parts, name) for name in names}, "unet", CPU)
    assert Studio(parts).picture("a bear", steps=2).tobytes() == plain.tobytes()


def test_where_weights_go_follows_from_the_free_memory() -> None:
    weights = {"unet": 1700, "vae": 160, "text_encoder": 240}
    assert choose_plan(weights, 500, None, True) == "resident"
    assert choose_plan(weights, 500, 8000, False) == "resident"
    assert choose_plan(weights, 500, 8000, True) == "parts"
    assert choose_plan(weights, 500, 3000, False) == "parts"
    assert choose_plan(weights, 500, 2000, False) == "layers"


def test_large_pictures_are_decoded_in_tiles_where_memory_is_short(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdcreative.models.offloading.SMALL", 48 * 48)
    low, plain = (
        load_parts(tiny_checkpoint, device=CPU, dtype=torch.float32, low_memory=low)
        for low in (True, False)
    )
    tiles: list[bool] = []
    for parts in (low, plain):
        monkeypatch.setattr(parts.vae, "enable_tiling", lambda: tiles.append(True), raising=True)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    decode_latents(plain, latents)
    assert tiles == []
    decode_latents(low, latents)
    assert tiles == [True]

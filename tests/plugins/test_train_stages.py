"""The stages: tokenizer, autoencoder, CLIP pair, U-Net, and a whole training at a tiny size."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sdcreative import DataError, ModelError, OutputError, Studio, UsageError
from sdcreative.models.building import build_scheduler, read_part, read_tokenizer
from sdcreative.tools import Job
from sdcreative_plugins.train.autoencoder import AutoencoderObjective, gradient_difference
from sdcreative_plugins.train.clip import ClipObjective
from sdcreative_plugins.train.critic import Critic
from sdcreative_plugins.train.job import run_training
from sdcreative_plugins.train.noise_schedule import (
    alphas_cumprod,
    noise_schedule,
    scheduler_config,
)
from sdcreative_plugins.train.pictures import read_folder
from sdcreative_plugins.train.settings import (
    AutoencoderStage,
    ClipStage,
    Schedule,
    TrainSettings,
    UnetStage,
)
from sdcreative_plugins.train.unet import UnetObjective
from sdcreative_plugins.train.vocabulary import write_tokenizer

CPU = torch.device("cpu")
COLOURS = ("red", "green", "blue", "orange", "purple", "black")


def plan(steps: int = 2, **changes: Any) -> dict[str, Any]:
    values = {"batch": 4, "warmup": 0, "learning_rate": 3e-3, "log_every": 1, "save_every": 2}
    return {"steps": steps, **values, **changes}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve captioned drawings: six colours, circles on nothing and squares on white."""
    folder = tmp_path_factory.mktemp("data") / "Bilder é"
    folder.mkdir()
    rows = []
    for colour in COLOURS:
        circle = Image.new("RGBA", (40, 32))
        ImageDraw.Draw(circle).ellipse((8, 4, 32, 28), fill=colour)
        circle.save(folder / f"{colour}_circle.png")
        square = Image.new("RGB", (32, 32), "white")
        ImageDraw.Draw(square).rectangle((6, 6, 26, 26), fill=colour)
        square.save(folder / f"{colour}_square.png")
        rows += [
            {"file": f"{colour}_{shape}.png", "caption": f"a {colour} {shape}"}
            for shape in ("circle", "square")
        ]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def settings(pictures: Path, output: Path, **changes: Any) -> TrainSettings:
    values = {
        "data": {"source": "folder", "folder": str(pictures), "captions": "captions.jsonl"},
        "size": 32,
        "output": str(output),
        "autoencoder": {"channels": [8, 16], "schedule": plan()},
        "clip": {"width": 32, "layers": 1, "heads": 2, "vocabulary": 600, "schedule": plan()},
        "unet": {"channels": [32, 32], "variants": 2, "train_text": True, "schedule": plan()},
    }
    merged = {**values, **changes}
    return TrainSettings.model_validate({k: v for k, v in merged.items() if v is not None})


def work(settings: TrainSettings, **changes: Any) -> list[str]:
    lines: list[str] = []
    run_training(
        settings, Job(**{"overwrite": False, "dry_run": False, **changes}, report=lines.append)
    )
    return lines


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "model"
    work(settings(pictures, output))
    return output


def test_the_tokenizer_reads_any_text(tmp_path: Path) -> None:
    captions = [f"a picture of a {colour} bear, café style" for colour in COLOURS]
    write_tokenizer(captions, 600, 16, tmp_path)
    tokenizer = read_tokenizer(tmp_path)
    assert type(tokenizer).__name__.startswith("CLIPTokenizer")
    assert 514 < len(tokenizer) <= 600 and tokenizer.model_max_length == 16
    for text in ("a red bear", "żółw и 熊 🐻 ñ", "Ünï!?%", "x" * 5, "1990s bears'"):
        ids = tokenizer(text).input_ids
        assert ids[0] == len(tokenizer) - 2 and ids[-1] == len(tokenizer) - 1 == max(ids)
        words = tokenizer.decode(ids, skip_special_tokens=True)
        assert words.replace(" ", "") == text.lower().replace(" ", "")
    assert len(tokenizer("bear picture").input_ids) == 4
    padded = tokenizer("", padding="max_length").input_ids
    assert len(padded) == 16 and set(padded[1:]) == {len(tokenizer) - 1}


def test_the_same_captions_give_the_same_tokenizer(tmp_path: Path) -> None:
    words = np.random.default_rng(0).integers(97, 123, (300, 6), dtype=np.uint8)
    captions = [bytes(word).decode() for word in words]
    written = []
    for run in range(4):
        write_tokenizer(captions, 700, 16, tmp_path / str(run))
        written.append((tmp_path / str(run) / "merges.txt").read_bytes())
    assert len(set(written)) == 1 and len(written[0].splitlines()) == 1 + 700 - 514


@pytest.mark.parametrize("captions", [["a"], ["é"], ["one word", "another thing"]])
def test_tokenizers_of_tiny_caption_sets_work(tmp_path: Path, captions: list[str]) -> None:
    write_tokenizer(captions, 2048, 8, tmp_path)
    tokenizer = read_tokenizer(tmp_path)
    assert len(tokenizer) >= 514
    assert (
        tokenizer.decode(tokenizer("zebra").input_ids, skip_special_tokens=True).strip() == "zebra"
    )


def test_a_training_ends_in_a_model_that_renders(trained: Path, pictures: Path) -> None:
    studio = Studio.load(str(trained), device="cpu")
    assert studio.size == (32, 32) and studio.parts.prediction_type == "v_prediction"
    picture = studio.picture("a red circle", seed=1, steps=3)
    assert picture.size == (32, 32)
    assert picture.tobytes() == studio.picture("a red circle", seed=1, steps=3).tobytes()
    for stage in ("autoencoder", "clip", "unet"):
        folder = trained / "training" / stage
        assert (folder / "curve.png").is_file() and (folder / "sheet_0000002.png").is_file()
        figures = json.loads((folder / "measured.jsonl").read_text().splitlines()[-1])
        assert figures["step"] == 2 and all(np.isfinite(v) for v in figures.values())
    assert (trained / "clip" / "model.safetensors").is_file()
    vae = read_part(trained / "vae")
    assert vae.config.scaling_factor != 0.18215 and vae.dtype == torch.float32


def test_a_finished_training_is_only_written_again(trained: Path, pictures: Path) -> None:
    files = [trained / part / "diffusion_pytorch_model.safetensors" for part in ("vae", "unet")]
    files.append(trained / "text_encoder" / "model.safetensors")
    before = [file.read_bytes() for file in files]
    lines = work(settings(pictures, trained))
    assert [file.read_bytes() for file in files] == before
    assert not any("latents" in line or "1/2" in line for line in lines)


def test_another_training_does_not_get_into_the_folder(trained: Path, pictures: Path) -> None:
    other = settings(pictures, trained, hold_out_every=3)
    with pytest.raises(OutputError, match="other settings"):
        work(other)
    with pytest.raises(OutputError, match="holds a model"):
        work(settings(pictures, copy_without_training(trained)))
    from filelock import FileLock

    with FileLock(trained / "training" / ".lock"), pytest.raises(OutputError, match="is running"):
        work(settings(pictures, trained))


def copy_without_training(model: Path) -> Path:
    import shutil

    target = model.with_name("copy")
    if not target.exists():
        shutil.copytree(model, target, ignore=shutil.ignore_patterns("training", "clip"))
    return target


def test_a_dry_run_writes_nothing(pictures: Path, tmp_path: Path) -> None:
    lines = work(settings(pictures, tmp_path / "new" / "model"), dry_run=True)
    assert any("12 pictures" in line for line in lines)
    assert any("unet: 2 steps of 4, 8 samples" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_faulty_data_leaves_the_output_free(pictures: Path, tmp_path: Path) -> None:
    missing = {"source": "folder", "folder": str(tmp_path / "nowhere")}
    with pytest.raises(DataError, match="no such folder"):
        work(settings(pictures, tmp_path / "out", data=missing))
    work(settings(pictures, tmp_path / "out", clip=None, unet=None))


def test_training_goes_on_from_a_model(trained: Path, pictures: Path, tmp_path: Path) -> None:
    new = {"variants": 1, "schedule": plan(1)}
    lines = work(
        settings(
            pictures,
            tmp_path / "on",
            start_from=str(trained),
            autoencoder=None,
            clip=None,
            unet=new,
        )
    )
    assert any("on from" in line for line in lines)
    assert (tmp_path / "on" / "vae" / "diffusion_pytorch_model.safetensors").read_bytes() == (
        trained / "vae" / "diffusion_pytorch_model.safetensors"
    ).read_bytes()
    assert (tmp_path / "on" / "clip").is_dir()
    assert Studio.load(str(tmp_path / "on"), device="cpu").size == (32, 32)
    before, after = (read_part(folder / "unet") for folder in (trained, tmp_path / "on"))
    moved = [
        (a - b).abs().max().item()
        for a, b in zip(before.parameters(), after.parameters(), strict=True)
    ]
    assert 0 < max(moved) < 0.1


def test_the_clip_stage_goes_on_from_a_pair_or_says_why_not(
    trained: Path, pictures: Path, tmp_path: Path
) -> None:
    only_clip = {"autoencoder": None, "unet": None}
    work(settings(pictures, tmp_path / "on", start_from=str(trained), **only_clip))
    old, new = (read_tokenizer(f / "tokenizer").get_vocab() for f in (trained, tmp_path / "on"))
    assert old == new
    lacking = copy_without_training(trained)
    with pytest.raises(UsageError, match="has no folder clip/ to go on from"):
        work(settings(pictures, tmp_path / "no", start_from=str(lacking), **only_clip))
    assert not (tmp_path / "no").exists()
    with pytest.raises(UsageError, match="set start_from to a model"):
        work(settings(pictures, tmp_path / "no", autoencoder=None))
    with pytest.raises(ModelError, match="no model"):
        work(settings(pictures, tmp_path / "no", start_from="nowhere"))


def test_parts_are_read_with_their_faults_named(trained: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    with pytest.raises(ModelError, match="lacks its vae"):
        read_part(tmp_path / "vae")
    shutil.copytree(trained / "unet", tmp_path / "vae")
    with pytest.raises(ModelError, match="holds a UNet2DConditionModel"):
        read_part(tmp_path / "vae")
    shutil.copytree(trained / "unet", tmp_path / "unet")
    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["conv_in.weight"]
    save_file(state, file)
    with pytest.raises(ModelError, match="1 tensors are missing"):
        read_part(tmp_path / "unet")


def test_the_schedule_is_the_models_own_unless_given() -> None:
    base = scheduler_config(UnetStage(schedule=Schedule(steps=1), terminal_snr=None))
    base |= {"prediction_type": "epsilon", "_class_name": "PNDMScheduler", "skip_prk_steps": True}
    own = noise_schedule(UnetStage(schedule=Schedule(steps=1)), base)
    assert own.prediction == "epsilon"
    torch.testing.assert_close(own.alphas, alphas_cumprod(None))
    assert own.config["_class_name"] == "DDIMScheduler"
    given = noise_schedule(
        UnetStage(schedule=Schedule(steps=1), prediction="v_prediction", terminal_snr=0.0), base
    )
    assert given.prediction == "v_prediction" and given.alphas[-1] == 0
    with pytest.raises(UsageError, match="epsilon says nothing"):
        noise_schedule(UnetStage(schedule=Schedule(steps=1), terminal_snr=0.0), base)
    with pytest.raises(UsageError, match="'sample'"):
        noise_schedule(UnetStage(schedule=Schedule(steps=1)), {**base, "prediction_type": "sample"})


@pytest.mark.parametrize("terminal_snr", [None, 0.0, 1e-4, 0.01])
def test_noise_ends_at_the_terminal_snr_and_schedulers_agree(terminal_snr: float | None) -> None:
    stage = UnetStage(schedule=Schedule(steps=1), terminal_snr=terminal_snr)
    schedule = noise_schedule(stage)
    last = float(schedule.alphas[-1])
    assert last / (1 - last) == pytest.approx(
        0.00468 if terminal_snr is None else terminal_snr, rel=0.01
    )
    assert (schedule.alphas.diff() < 0).all()
    assert schedule.alphas[0] == pytest.approx(1 - 0.00085, abs=1e-6)
    theirs = build_scheduler(schedule.config).alphas_cumprod
    torch.testing.assert_close(theirs, schedule.alphas, atol=2e-6, rtol=1e-3)


@pytest.fixture(scope="module")
def objective(trained: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(prediction, gamma) -> a U-Net objective on the tiny model."""

    def make(prediction: str, gamma: float | None, snr: float | None = 1e-4) -> UnetObjective:
        stage = UnetStage.model_validate(
            {
                "schedule": plan(),
                "channels": [32, 32],
                "variants": 1,
                "prediction": prediction,
                "min_snr_gamma": gamma,
                "terminal_snr": snr,
            }
        )
        return UnetObjective(
            stage,
            read_folder(pictures, 32, "captions.jsonl"),
            read_part(trained / "vae"),
            read_part(trained / "text_encoder"),
            read_tokenizer(trained / "tokenizer"),
            CPU,
            tmp_path_factory.mktemp("run"),
            lambda line: None,
        )

    return make


def answer(
    objective: UnetObjective, say: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    """Let the U-Net say a function of noisy latents and timesteps."""

    class Known(torch.nn.Module):
        def forward(self, noisy: Any, times: Any, encoder_hidden_states: Any) -> Any:
            return type("Out", (), {"sample": say(noisy, times)})

    objective.unet = Known()


def test_velocity_and_noise_are_the_same_target(objective: Any) -> None:
    """v = (epsilon - spread * noisy) / signal: the loss of the one from the error of the other."""
    velocity, noise = objective("v_prediction", None), objective("epsilon", None)
    batch = velocity.batch(np.random.default_rng(0), 6)
    latents = batch[0]

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(7)

    drawn = torch.randn(latents.shape, generator=(g := generator()))
    times = torch.randint(1000, (6,), generator=g)
    alpha = velocity.alphas[times].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * drawn
    v = alpha.sqrt() * drawn - (1 - alpha).sqrt() * latents
    torch.testing.assert_close(alpha.sqrt() * v + (1 - alpha).sqrt() * noisy, drawn)
    torch.testing.assert_close(alpha.sqrt() * noisy - (1 - alpha).sqrt() * v, latents)
    for one, right in ((velocity, v), (noise, drawn)):
        answer(one, lambda x, t, right=right: right)
        assert one.loss(batch, generator())["loss"].item() == pytest.approx(0, abs=1e-9)
        answer(one, lambda x, t, right=right: right + 0.5)
        assert one.loss(batch, generator())["loss"].item() == pytest.approx(0.25, rel=1e-4)


def test_min_snr_weights_have_their_closed_form(objective: Any) -> None:
    times = torch.arange(0, 1000, 37)
    for prediction in ("v_prediction", "epsilon"):
        one = objective(prediction, 5.0)
        snr = one.alphas[times].double() / (1 - one.alphas[times].double())
        over = snr + 1 if prediction == "v_prediction" else snr
        expected = torch.minimum(snr, torch.tensor(5.0, dtype=torch.float64)) / over
        torch.testing.assert_close(one._weights(times).double(), expected, rtol=1e-4, atol=1e-7)
    assert (objective("epsilon", None)._weights(times) == 1).all()
    zero = objective("v_prediction", 5.0, 0.0)._weights(torch.tensor([999]))
    assert torch.isfinite(zero).all() and zero == 0


def test_captions_are_dropped_as_often_as_asked(objective: Any) -> None:
    captions = objective("epsilon", None).batch(np.random.default_rng(0), 2000)[1]
    assert 0.07 < captions.count("") / 2000 < 0.13


def test_latents_are_made_anew_for_another_autoencoder(trained: Path, pictures: Path) -> None:
    from sdcreative_plugins.train.latents import cached_latents

    drawings, vae = read_folder(pictures, 32, "captions.jsonl"), read_part(trained / "vae")
    lines: list[str] = []
    run = trained / "training" / "other"
    first = cached_latents(drawings, vae, 1, CPU, run, lines.append)
    assert len(lines) == 1
    again = cached_latents(drawings, vae, 1, CPU, run, lines.append)
    assert len(lines) == 1 and torch.equal(first.values, again.values)
    assert first.captions == again.captions
    with torch.no_grad():
        vae.quant_conv.bias += 1
    changed = cached_latents(drawings, vae, 1, CPU, run, lines.append)
    assert len(lines) == 2 and not torch.equal(first.values, changed.values)


def test_the_gradients_of_critic_and_autoencoder_are_apart() -> None:
    stage = AutoencoderStage(
        schedule=Schedule(steps=1), adversarial_weight=1.0, adversarial_start=1
    )
    critic = Critic(stage)
    real = torch.randn(2, 3, 16, 16)
    fake = torch.randn(2, 3, 16, 16, requires_grad=True)
    fooling, judging = critic.terms(real, fake)
    assert fooling == 0 and judging > 0
    fooling, judging = critic.terms(real, fake)
    fooling.backward()
    assert fake.grad is not None and fake.grad.abs().max() > 0
    assert all(p.grad is None for p in critic.parameters())
    fake.grad = None
    judging.backward()
    assert fake.grad is None
    assert all(p.grad is not None for p in critic.parameters())


def test_gradient_differences_see_edges_and_no_offsets() -> None:
    a = torch.zeros(1, 3, 8, 8)
    b = a.clone()
    b[..., 4:] = 1
    assert gradient_difference(a, a + 0.5) == 0
    assert gradient_difference(a, b) == pytest.approx(1 / 7)


def _last_over_first(objective: Any, steps: int, rate: float) -> float:
    optimizer = torch.optim.AdamW(objective.modules[objective.name_of_module].parameters(), lr=rate)
    values = []
    for step in range(steps):
        generator = torch.Generator().manual_seed(step % 2)
        loss = objective.loss(objective.batch(np.random.default_rng(step % 2), 8), generator)[
            "loss"
        ]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return (values[-1] + values[-2]) / (values[0] + values[1])


def test_losses_fall_on_a_small_set(pictures: Path, tmp_path: Path, objective: Any) -> None:
    drawings = read_folder(pictures, 32, "captions.jsonl")
    stage = AutoencoderStage(schedule=Schedule(steps=30), channels=[8, 16])
    autoencoder: Any = AutoencoderObjective(stage, 32, drawings, [], CPU)
    autoencoder.name_of_module = "vae"
    assert _last_over_first(autoencoder, 30, 3e-3) < 0.7
    clip: Any = ClipObjective(
        ClipStage(schedule=Schedule(steps=30), width=32, layers=1, heads=2, vocabulary=600),
        32,
        drawings,
        [],
        CPU,
        tmp_path / "tokenizer",
    )
    clip.name_of_module = "clip"
    assert _last_over_first(clip, 30, 3e-3) < 0.8
    unet = objective("v_prediction", 5.0)
    unet.name_of_module = "unet"
    assert _last_over_first(unet, 30, 2e-3) < 0.8


def test_settings_that_make_no_sense_are_refused(pictures: Path, tmp_path: Path) -> None:
    def complaint(**changes: Any) -> str:
        with pytest.raises(ValueError) as caught:
            settings(pictures, tmp_path, **changes)
        return str(caught.value)

    assert "nothing to train" in complaint(autoencoder=None, clip=None, unet=None)
    assert "multiples of 8" in complaint(autoencoder={"channels": [12], "schedule": plan()})
    assert "multiples of 32" in complaint(unet={"channels": [32, 40], "schedule": plan()})
    assert "not divisible by clip.patch" in complaint(clip={"patch": 5, "schedule": plan()})
    assert "heads" in complaint(clip={"width": 50, "heads": 4, "schedule": plan()})
    assert "size 40 is not divisible by 16" in complaint(
        size=40,
        autoencoder={"channels": [8, 8, 8], "schedule": plan()},
        unet={"channels": [32, 32, 32], "schedule": plan()},
    )
    zero = {"prediction": "epsilon", "terminal_snr": 0.0, "schedule": plan()}
    assert "epsilon says nothing" in complaint(unet=zero)


def test_the_plugin_and_its_settings_need_no_torch() -> None:
    code = (
        "import sys, sdcreative_plugins.train as t, sdcreative_plugins.train.settings;"
        "t.sdcreative_tools(); print(*{'torch', 'diffusers', 'numpy'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_a_training_prints_nothing_of_its_libraries(
    trained: Path, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new = {"autoencoder": None, "unet": {"variants": 1, "schedule": plan(1)}}
    lines = work(settings(pictures, tmp_path / "out", start_from=str(trained), **new))
    assert capfd.readouterr() == ("", "") and "model written to" in lines[-1]


def test_ctrl_c_says_how_to_go_on(pictures: Path, tmp_path: Path) -> None:
    wanted = settings(pictures, tmp_path, clip=None, unet=None)
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if line.startswith("autoencoder 1/2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(wanted, Job(False, False, report))
    assert "1 of 2 steps are saved; run the same command again" in lines[-1]
    assert any("going on from step 1" in line for line in work(wanted))
    assert (tmp_path / "vae" / "config.json").is_file()

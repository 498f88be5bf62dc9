"""Whole tunings at a tiny size: what they leave, that they resume to the bit, and how they fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from sdcreative import DataError, OutputError, UsageError
from sdcreative.models.loading import load_parts
from sdcreative.models.text import encode
from sdcreative.tools import Job
from sdcreative_plugins.train.noise_schedule import alphas_cumprod
from sdcreative_plugins.train.tuning.job import run_finetune
from sdcreative_plugins.train.tuning.looks import colour_distance, colours, distance, saturation
from sdcreative_plugins.train.tuning.noising import Noising, draw_noise, errors
from sdcreative_plugins.train.tuning.objective import TuningObjective, _Buckets
from sdcreative_plugins.train.tuning.outcome import tell_outcome
from sdcreative_plugins.train.tuning.settings import FinetuneSettings
from sdcreative_plugins.train.tuning.store import Store
from sdcreative_plugins.train.tuning.texts import Texts

PRESETS = Path(__file__).parents[3] / "presets"
DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
Settings = Callable[..., FinetuneSettings]


def tune(settings: FinetuneSettings, **options: bool) -> list[str]:
    lines: list[str] = []
    job = Job(options.get("overwrite", False), options.get("dry_run", False), lines.append)
    run_finetune(settings, job)
    return lines


def steps(count: int, **changes: Any) -> dict[str, Any]:
    return {"steps": count, "batch": 2, "log_every": 1, "save_every": 1, "warmup": 0, **changes}


def test_a_lora_is_left_with_curve_sheets_and_a_summary(settings: Settings, tmp_path: Path) -> None:
    lines = tune(settings(schedule=steps(3), gradient_checkpointing=True))
    output, run = tmp_path / "out", tmp_path / "out" / "training" / "finetune"
    with safe_open(output / "out.safetensors", "pt") as file:
        told = file.metadata()
    assert told["ss_num_train_images"] == "4"
    assert json.loads(told["ss_bucket_info"])["buckets"]
    for name in ("curve.png", "validation.png", "sheet_0000003.png", "checkpoint.pt"):
        assert (run / name).is_file(), name
    with Image.open(run / "sheet_0000003.png") as sheet:
        assert sheet.size[1] % 2 == 0
    rows = [json.loads(line) for line in (run / "measured.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["moved"] == 0 < rows[-1]["moved"]
    assert json.loads((run / "summary.json").read_text())["held_out"] is True
    assert any(line.startswith("outcome: loss on held-out pictures") for line in lines)


@pytest.mark.parametrize("model", ["tiny_xl", "tiny_sd3"])
def test_other_families_are_tuned_with_their_text_encoders(
    settings: Settings, request: Any, tmp_path: Path, model: str
) -> None:
    folder = request.getfixturevalue(model)
    lora = {"rank": 2, "targets": ["attention", "mlp"], "text_encoders": True, "weights": "fp32"}
    tune(settings(model=str(folder), lora=lora, schedule=steps(1, learning_rate=0.01)))
    state = load_file(tmp_path / "out" / "out.safetensors")
    ends = ("lora_up.weight", "lora_B.weight")
    moved = {key for key, one in state.items() if key.endswith(ends) and one.abs().max() > 0}
    roots = (
        ("lora_unet_", "lora_te1_", "lora_te2_")
        if model == "tiny_xl"
        else ("transformer.", "text_encoder.", "text_encoder_2.")
    )
    for root in roots:
        assert any(key.startswith(root) for key in moved), root


@pytest.mark.parametrize("lora", [True, False])
def test_a_killed_run_ends_as_one_that_was_not(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: bool
) -> None:
    how: dict[str, Any] = {
        "schedule": steps(4, save_every=2, learning_rate=0.01, ema=0.5),
        "loss": {"min_snr_gamma": 5, "noise_offset": 0.1, "huber": 0.5},
    }
    if lora:
        how["lora"] = {"rank": 2, "dropout": 0.3, "weights": "fp32", "text_encoders": True}
    else:
        how |= {"lora": None, "full": {"weights": "fp32", "text_encoders": True}}
    tune(settings(output=str(tmp_path / "whole"), **how))
    seen = 0

    def killed(self: Any, batch: Any, generator: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 4:
            raise MemoryError
        return loss(self, batch, generator)

    loss = TuningObjective.loss
    monkeypatch.setattr(TuningObjective, "loss", killed)
    torch.manual_seed(99)
    with pytest.raises(MemoryError):
        tune(settings(output=str(tmp_path / "cut"), **how))
    monkeypatch.undo()
    torch.manual_seed(7)
    lines = tune(settings(output=str(tmp_path / "cut"), **how))
    assert "finetune: going on from step 2" in lines
    name = "unet/diffusion_pytorch_model.safetensors"
    files = [("whole.safetensors", "cut.safetensors")] if lora else [(name, name)]
    for whole, cut in files:
        expected, found = load_file(tmp_path / "whole" / whole), load_file(tmp_path / "cut" / cut)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    rows = [
        (tmp_path / one / "training" / "finetune" / "measured.jsonl").read_text()
        for one in ("whole", "cut")
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("model", ["tiny", "tiny_xl"])
def test_a_tuned_model_loads_here_and_in_diffusers(
    settings: Settings, request: Any, tmp_path: Path, model: str
) -> None:
    from diffusers import DiffusionPipeline

    folder = request.getfixturevalue(model)
    weights = "fp16" if model == "tiny" else "fp32"
    plan = steps(1, learning_rate=0.01)
    tune(settings(model=str(folder), lora=None, full={"weights": weights}, schedule=plan))
    dtype = torch.float32
    ours = load_parts(tmp_path / "out", device=torch.device("cpu"), dtype=dtype)
    theirs = DiffusionPipeline.from_pretrained(tmp_path / "out")
    before = load_parts(folder, device=torch.device("cpu"), dtype=dtype)
    state, mine = theirs.unet.state_dict(), ours.unet.state_dict()
    assert all(torch.equal(state[key], mine[key]) for key in mine)
    key = "conv_in.weight"
    assert not torch.allclose(mine[key], before.unet.state_dict()[key], atol=1e-3)
    stored = load_file(tmp_path / "out" / "unet" / "diffusion_pytorch_model.safetensors")
    assert stored[key].dtype == (torch.float16 if model == "tiny" else torch.float32)
    assert ours.prediction_type == "epsilon"
    text = ours.text_encoder.state_dict()
    close = {"atol": 1e-3 if model == "tiny" else 0}
    for name, value in before.text_encoder.state_dict().items():
        assert torch.allclose(value, text[name], **close)


def test_a_second_run_encodes_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(settings(schedule=steps(1)))
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(
        "sdcreative_plugins.train.tuning.latents.encode_pictures",
        lambda *args: pytest.fail("a picture was encoded again"),
    )
    monkeypatch.setattr(Texts, "encode", lambda *args: pytest.fail("a caption was encoded again"))
    tune(settings(schedule=steps(1)))


def test_a_nan_stops_and_leaves_the_last_good_file(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0

    def broken(self: Any, batch: Any, generator: Any) -> Any:
        nonlocal seen
        seen += 1
        terms = loss(self, batch, generator)
        return {"loss": terms["loss"] * float("nan")} if seen == 3 else terms

    loss = TuningObjective.loss
    monkeypatch.setattr(TuningObjective, "loss", broken)
    with pytest.raises(DataError, match="the loss became nan at step 3"):
        tune(settings(schedule=steps(4, learning_rate=0.01)))
    state = load_file(tmp_path / "out" / "out.safetensors")
    assert all(torch.isfinite(one).all() for one in state.values())
    assert any(one.abs().max() > 0 for key, one in state.items() if "lora_up" in key)
    saved = torch.load(tmp_path / "out" / "training" / "finetune" / "checkpoint.pt")
    assert saved["step"] == 2


def test_the_class_is_kept_beside_the_pictures(
    settings: Settings, pictures: Path, tmp_path: Path
) -> None:
    tune(settings(schedule=steps(1), prior={"folder": str(pictures), "weight": 0.5}))
    [row] = (tmp_path / "out" / "training" / "finetune" / "log.jsonl").read_text().splitlines()
    terms = json.loads(row)
    assert terms["loss"] == pytest.approx(terms["error"] + 0.5 * terms["prior"])


def test_other_settings_and_other_models_are_refused(
    settings: Settings, tiny_sd3: Path, tmp_path: Path
) -> None:
    assert tune(settings(), dry_run=True)[-1] == "finetune: 2 steps of 2 pictures"
    assert not (tmp_path / "out").exists()
    (tmp_path / "out" / "training").mkdir(parents=True)
    record = tmp_path / "out" / "training" / "settings.json"
    record.write_text(json.dumps(settings(background="black").model_dump(mode="json")))
    with pytest.raises(OutputError, match="holds a training with other settings"):
        tune(settings())
    record.unlink()
    (tmp_path / "out" / "model_index.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a model"):
        tune(settings())
    with pytest.raises(UsageError, match="min_snr_gamma is for models of diffusion"):
        tune(settings(model=str(tiny_sd3), loss={"min_snr_gamma": 5}))
    with pytest.raises(UsageError, match="clip_skip must be 1 to 3"):
        tune(settings(clip_skip=9), overwrite=True)


@pytest.mark.parametrize("name", ["finetune_lora", "finetune_full"])
def test_bundled_presets_need_nothing_but_the_built_in_model(name: str) -> None:
    text = (PRESETS / f"{name}.yaml").read_text("utf-8")
    values = yaml.safe_load(text)
    assert values.pop("plugin") == "finetune"
    wanted = FinetuneSettings.model_validate(values)
    assert wanted.model == "emoji" and wanted.data.source == "made"
    assert not set(wanted.sheet.prompts) & set(wanted.data.prompts)


def test_made_pictures_are_altered_and_made_once(settings: Settings, tmp_path: Path) -> None:
    made = {"source": "made", "prompts": ["a bear", "an owl"], "look": "grey", "steps": 1}
    tune(settings(data=made, schedule=steps(1), hold_out_every=2))
    [folder] = (tmp_path / "cache" / "made").iterdir()
    assert (folder / "0001.txt").read_text() == "an owl\n"
    with Image.open(folder / "0000.png") as picture:
        pixels = np.asarray(picture)
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    before = (folder / "0000.png").stat().st_mtime_ns
    tune(settings(data=made, schedule=steps(1), hold_out_every=2))
    assert (folder / "0000.png").stat().st_mtime_ns == before


@pytest.mark.parametrize("model", ["tiny", "tiny_xl", "tiny_sd3"])
def test_captions_are_read_as_the_runtime_reads_prompts(
    load: Any, request: Any, tmp_path: Path, model: str
) -> None:
    parts = load(request.getfixturevalue(model))
    captions = ["a picture of a bear", "", "two red apples"]
    direct = Texts(parts, 1, None).told(captions)
    kept = Texts(parts, 1, Store(tmp_path)).told(captions)
    for row, one in enumerate(encode(parts, captions)):
        for told in (direct, kept):
            assert torch.allclose(told.states[row], one.embeddings[0], atol=1e-5)
            if one.pooled is not None:
                assert torch.allclose(told.pooled[row], one.pooled[0], atol=1e-5)
    assert (kept.pooled is None) == (model == "tiny")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow"])
def test_the_target_gives_back_picture_and_noise(prediction: str) -> None:
    noising = Noising(prediction, {"shift": 3.0} if prediction == "flow" else DIFFUSION)
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 64, 4, 2, 2, generator=generator)
    times = noising.draw(64, generator)
    noisy = noising.noisy(latents, noise, times)
    target = noising.target(latents, noise, times)
    if prediction == "flow":
        share = times.view(-1, 1, 1, 1)
        assert ((times > 0) & (times < 1)).all()
        assert torch.allclose(noisy - share * target, latents, atol=1e-5)
        assert torch.allclose(noising.model_times(times), times * 1000)
        return
    alpha = alphas_cumprod(None)[times].view(-1, 1, 1, 1)
    clean = {
        "epsilon": (noisy - (1 - alpha).sqrt() * target) / alpha.sqrt(),
        "v_prediction": alpha.sqrt() * noisy - (1 - alpha).sqrt() * target,
        "sample": target,
    }[prediction]
    assert torch.allclose(clean, latents, atol=1e-3)
    snr = (alpha / (1 - alpha)).flatten()
    least = snr.clamp(max=5)
    expected = {"epsilon": least / snr, "v_prediction": least / (snr + 1), "sample": least}
    assert torch.allclose(noising.weights(times, 5.0), expected[prediction], rtol=1e-4)
    assert torch.equal(noising.weights(times, None), torch.ones(64))


def test_flow_draws_more_noise_with_a_shift() -> None:
    few, many = (
        Noising("flow", {"shift": shift}).draw(4000, torch.Generator().manual_seed(0))
        for shift in (1.0, 3.0)
    )
    assert float(few.median()) == pytest.approx(0.5, abs=0.02)
    assert float(many.median()) == pytest.approx(0.75, abs=0.02)
    with pytest.raises(UsageError, match="zero terminal SNR"):
        Noising("epsilon", {**DIFFUSION, "rescale_betas_zero_snr": True})


def test_huber_is_the_square_below_and_a_line_above() -> None:
    said, target = torch.full((2, 1, 1, 1), 0.1), torch.zeros(2, 1, 1, 1)
    assert torch.allclose(errors(said, target, 0.5), torch.full((2,), 0.01))
    assert torch.allclose(errors(said * 20, target, 0.5), torch.full((2,), 2 * 0.5 * (2 - 0.25)))
    assert torch.allclose(errors(said * 20, target, None), torch.full((2,), 4.0))


def test_offset_noise_is_shared_by_a_channel() -> None:
    plain = draw_noise(torch.Size((64, 4, 8, 8)), 0.0, torch.Generator().manual_seed(0))
    offset = draw_noise(torch.Size((64, 4, 8, 8)), 0.5, torch.Generator().manual_seed(0))
    shift = (offset - plain).flatten(2)
    assert torch.allclose(shift, shift[..., :1].expand_as(shift), atol=1e-6)
    assert float(shift.std()) == pytest.approx(0.5, rel=0.15)


def test_batches_are_of_one_bucket_and_pictures_come_up_equally_often() -> None:
    class Data:
        placements = [type("P", (), {"bucket": b}) for b in [(8, 8)] * 3 + [(8, 16)]]  # noqa: RUF012

    buckets, rng = _Buckets(Data()), np.random.default_rng(0)  # type: ignore[arg-type]
    counts = np.zeros(4)
    for _ in range(2000):
        drawn = buckets.draw(rng, 2)
        assert len({Data.placements[place].bucket for place in drawn}) == 1
        counts += np.bincount(drawn, minlength=4)
    assert np.allclose(counts / counts.sum(), 0.25, atol=0.02)


def test_figures_of_pictures() -> None:
    red = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    grey, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    assert saturation(red) == 1 and saturation(grey) == 0
    assert distance(white, -white) == 1 and distance(red, red) == 0
    assert colour_distance(colours([red]), colours([red, red])) == 0
    assert colour_distance(colours([white]), colours([grey])) == pytest.approx(3 / 8)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([0.2, 0.15, 0.1], "(-50.0%): it fell"),
        ([0.2, 0.1, 0.15], "it was lowest, 0.1000, at step 1"),
        ([0.2, 0.2, 0.2], "it did not fall"),
    ],
)
def test_the_outcome_is_told_as_it_is(tmp_path: Path, losses: list[float], said: str) -> None:
    rows = [
        {"step": n, "validation_loss": loss, "moved": 0.2, "saturation": 0.1, "colour_distance": 0}
        for n, loss in enumerate(losses)
    ]
    lines: list[str] = []
    tell_outcome(rows, tmp_path / "summary.json", lines.append, held_out=True)
    assert any(said in line for line in lines)
    assert ("risen since" in "".join(lines)) == (losses[-1] > min(losses))

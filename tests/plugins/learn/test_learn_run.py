"""Whole trainings at a tiny size: what they leave, and how they fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from sdcreative import DataError, ModelError, OutputError, UsageError
from sdcreative.models.placement import cpu_has_bfloat16
from sdcreative.tools import Job
from sdcreative_plugins.train.inversion import job as jobs
from sdcreative_plugins.train.inversion.job import run_learn
from sdcreative_plugins.train.inversion.settings import LearnSettings
from sdcreative_plugins.train.inversion.verdicts import Cosines, Verdict

Settings = Callable[..., LearnSettings]
PRESETS = Path(__file__).parents[3] / "presets"


def learn(settings: LearnSettings, **options: bool) -> list[str]:
    lines: list[str] = []
    run_learn(
        settings, Job(options.get("overwrite", False), options.get("dry_run", False), lines.append)
    )
    return lines


def plan(steps: int, **changes: Any) -> dict[str, Any]:
    return {"steps": steps, "batch": 2, "log_every": 1, "learning_rate": 0.05, **changes}


def test_a_word_is_left_with_curve_sheets_and_a_summary(settings: Settings, tmp_path: Path) -> None:
    lines = learn(settings(licence="CC0-1.0", judge={"seeds": 1, "steps": 1, "patience": 0}))
    folder = tmp_path / "ball" / "training"
    with safe_open(tmp_path / "ball.safetensors", "pt") as file:
        told, keys = file.metadata(), list(file.keys())
    assert keys == ["<my-ball>"]
    assert told["token"] == "<my-ball>" and told["license"] == "CC0-1.0"
    assert len(told["base_model_sha256_16"]) == 16
    assert json.loads(told["sdcreative"])["initial"] == "red apple"
    for name in ("curve.png", "sheet_0000002.png", "checkpoint.pt"):
        assert (folder / name).is_file(), name
    rows = [json.loads(line) for line in (folder / "measured.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert json.loads((folder / "summary.json").read_text())["token"] == "<my-ball>"
    assert lines[-1].startswith("It ")
    assert any(
        line.startswith("data: turned upright by their EXIF tag: blue.png") for line in lines
    )


def test_nothing_but_the_rows_changes(
    settings: Settings, tiny: Path, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Any] = []

    def kept(*given: Any, **options: Any) -> Any:
        held.append(load_parts(*given, **options))
        return held[-1]

    load_parts = jobs.load_parts
    monkeypatch.setattr(jobs, "load_parts", kept)
    learn(settings(schedule=plan(3), gradient_checkpointing=True))
    before = load(tiny)
    for name in ("unet", "vae", "text_encoder"):
        now, then = getattr(held[0], name), getattr(before, name).state_dict()
        assert all(torch.equal(value, then[key]) for key, value in now.state_dict().items())
        assert all(one.grad is None for one in now.parameters())
    assert held[0].text_encoder.get_input_embeddings().weight.shape[0] == 1407


def test_both_text_encoders_of_sdxl_learn(
    settings: Settings, tiny_xl: Path, load: Any, tmp_path: Path
) -> None:
    learn(settings(model=str(tiny_xl), schedule=plan(1), keep_best=False, also=["pt"]))
    state = load_file(tmp_path / "ball.safetensors")
    assert sorted(state) == ["clip_g", "clip_l"]
    parts = load(tiny_xl)
    for key, encoder, tokenizer in (
        ("clip_l", parts.text_encoder, parts.tokenizer),
        ("clip_g", parts.text_encoder_2, parts.tokenizer_2),
    ):
        ids = tokenizer("red apple", add_special_tokens=False).input_ids
        began = encoder.get_input_embeddings().weight[ids]
        assert state[key].shape == began.shape and state[key].dtype == torch.float32
        # The first step of Adam moves each number by the learning rate.
        assert float((state[key] - began).abs().median()) == pytest.approx(0.05, rel=0.05)


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU has no bf16")
def test_rows_stay_float32_beside_a_model_in_bf16(settings: Settings, tmp_path: Path) -> None:
    # Accelerate's precision is one for a whole process.
    AcceleratorState._reset_state(True)
    try:
        learn(settings(precision="bf16", device="cpu"))
    finally:
        AcceleratorState._reset_state(True)
    assert load_file(tmp_path / "ball.safetensors")["<my-ball>"].dtype == torch.float32


def said(step: int, similar: float) -> Verdict:
    return Verdict(step, similar, 1.0, Cosines(0, 0, 0), Image.new("RGB", (8, 8)))


def test_the_best_word_is_kept_and_ends_a_training_that_brings_no_better(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, torch.Tensor] = {}

    def look(self: Any, step: int, rows: Any) -> Verdict:
        seen[step] = rows[0].clone()
        return said(step, [0.1, 0.8, 0.5, 0.4, 0.9][step])

    monkeypatch.setattr(jobs.Judge, "look", look)
    lines = learn(settings(schedule=plan(4), judge={"seeds": 1, "steps": 1, "patience": 2}))
    assert sorted(seen) == [0, 1, 2, 3]
    assert "learn: ended at step 3, as looks brought nothing better" in lines
    assert torch.equal(load_file(tmp_path / "ball.safetensors")["<my-ball>"], seen[1])
    # The same command again has nothing more to do, and says the same.
    assert learn(settings(schedule=plan(4), judge={"seeds": 1, "steps": 1, "patience": 2}))
    assert sorted(seen) == [0, 1, 2, 3]


def test_what_cannot_be_is_said_before_anything_is_trained(
    settings: Settings, tiny_sd3: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="family Stable Diffusion 3, which learns no words so"):
        learn(settings(model=str(tiny_sd3)))
    with pytest.raises(UsageError, match="has the token 'bear' already"):
        learn(settings(token="bear"))
    with pytest.raises(UsageError, match="initial: ' ' has no word"):
        learn(settings(initial=" "))
    torch.save({"<far>": torch.zeros(2, 768)}, tmp_path / "far.bin")
    with pytest.raises(ModelError, match=r"768 numbers, as in Stable Diffusion 1; .* takes 32"):
        learn(settings(start_from=str(tmp_path / "far.bin")))
    (tmp_path / "ball.safetensors").write_bytes(b"mine")
    # What was refused so far was no training with other settings.
    with pytest.raises(OutputError, match="is there already"):
        learn(settings())
    assert (tmp_path / "ball.safetensors").read_bytes() == b"mine"


def test_an_embedding_is_gone_on_from(settings: Settings, tmp_path: Path) -> None:
    given = torch.randn(2, 32)
    torch.save({"<old>": given}, tmp_path / "old.bin")
    learn(
        settings(
            start_from=str(tmp_path / "old.bin"),
            schedule=plan(1, learning_rate=1e-6),
            keep_best=False,
        )
    )
    word = load_file(tmp_path / "ball.safetensors")["<my-ball>"]
    assert torch.allclose(word, given, atol=1e-5) and not torch.equal(word, given)


def test_another_training_is_not_gone_on_from_unasked(settings: Settings, tmp_path: Path) -> None:
    learn(settings(schedule=plan(1)))
    with pytest.raises(OutputError, match="holds a training with other settings"):
        learn(settings(schedule=plan(2)))
    (tmp_path / "ball" / "training" / "checkpoint.pt").write_bytes(b"PK")
    with pytest.raises(DataError, match="checkpoint is broken"):
        learn(settings(schedule=plan(1)))


@pytest.mark.parametrize("name", ["learn_my_toy", "learn_style"])
def test_bundled_presets_need_nothing_but_the_built_in_model(name: str) -> None:
    values = yaml.safe_load((PRESETS / f"{name}.yaml").read_text("utf-8"))
    assert values.pop("plugin") == "learn"
    wanted = LearnSettings.model_validate(values)
    assert wanted.model == "emoji" and wanted.data.source in ("drawn", "made")

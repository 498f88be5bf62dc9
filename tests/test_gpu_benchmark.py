"""The GPU benchmark in small, on the CPU: contenders, comparisons, processes and tables."""

from __future__ import annotations

import json
import re
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpu
import gpu_equal
import gpu_machine
import gpu_models
import gpu_ours
import gpu_peers
import gpu_report
from gpu_film import Film
from gpu_process import FAULT, Notes, measured
from sdcreative.media.writers import count_frames

FRAMES = 2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    notes = Notes(folder / "figures.json")
    gpu_models.prepare({"models": ["tiny", "tiny-xl"], "target": str(folder)}, notes)
    assert Path(notes.figures["decoder"]).is_dir()
    return folder


@pytest.fixture
def run(models: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A stage in this process; its figures."""

    def stage(function: Callable[..., None], name: str, **changes: Any) -> dict[str, Any]:
        folder = tmp_path / f"{function.__module__}-{name}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        task = {
            "model": str(models / name),
            "size": 64,
            "folder": str(folder),
            "began": time.time(),
            "frames": FRAMES,
            "steps": 2,
            "device": "cpu",
            "dtype": "float32",
            "mode": gpu_peers.NO_MODE,
            "compile": "off",
            "decoder": str(models / gpu_models.TINY_DECODER),
            **changes,
        }
        notes = Notes(folder / "figures.json")
        function(task, notes)
        if function.__name__ == "film":
            assert count_frames(folder / "film.mp4") == FRAMES
        return notes.figures

    return stage


def test_ours_are_the_latents_of_the_pipeline(run: Any) -> None:
    theirs = run(gpu_peers.latents, "tiny-xl", way="plain")
    ours = run(gpu_ours.latents, "tiny-xl", way="exact", batch=2)
    found = gpu_equal.apart(*(np.load(one["latents"]) for one in (theirs, ours)))
    assert found["psnr"] > 80
    # Random weights say something: neither nothing nor what grows without bounds.
    assert 0.3 < np.load(theirs["latents"]).std() < 5


def test_a_peers_film_and_what_is_noted(run: Any) -> None:
    # A batch of three is filled up, and the row too many dropped.
    found = run(gpu_peers.film, "tiny", way="compiled", batch=3, alone=1, warm=False)
    assert {"film", "first", "first_of_process", "memory", "batch", "denoising"} == set(found)
    assert 0 < found["first"] < found["film"]
    assert found["batch"] == 3


def test_our_film_and_what_is_noted(run: Any) -> None:
    found = run(gpu_ours.film, "tiny", way="preview", keep=True, alone=3, batch=2)
    assert {"film", "first", "first_of_process", "memory", "batch", "denoising"} == set(found)
    assert 0 < found["first"] < found["film"]
    assert found["batch"] == 2


def test_a_setting_that_is_not_there_is_said(
    run: Any, monkeypatch: pytest.MonkeyPatch, models: Path
) -> None:
    monkeypatch.setitem(gpu_ours.WAYS, "fast", {"haste": "great"})
    with pytest.raises(gpu_ours.NotThereError, match="the setting haste"):
        run(gpu_ours.film, "tiny", way="fast", keep=False)


def test_weights_are_drawn_from_the_seed() -> None:
    from diffusers import AutoencoderTiny
    from torch import device

    def drawn(seed: int) -> Any:
        with device("meta"):
            module = AutoencoderTiny(
                encoder_block_out_channels=(8,), decoder_block_out_channels=(8,),
                num_encoder_blocks=(1,), num_decoder_blocks=(1,),
            )  # fmt: skip
        return gpu_models.filled(module, {"encoder.layers.0.weight": 2.0}, seed)

    first, again, other = (drawn(seed).state_dict() for seed in (1, 1, 2))
    assert all((first[name] == again[name]).all() for name in first)
    weight = first["decoder.layers.2.conv.0.weight"].float()
    assert (weight != other["decoder.layers.2.conv.0.weight"]).any()
    assert weight.std().item() == pytest.approx((8 * 9) ** -0.5, rel=0.1)
    assert first["encoder.layers.0.weight"].float().std() == pytest.approx(2 * 27**-0.5, rel=0.2)


def test_the_work_of_stable_diffusion_15_is_what_is_known() -> None:
    assert gpu_machine.denoiser_work("sd15") / 1e9 == pytest.approx(803.27, abs=0.01)


def fails(task: dict[str, Any], notes: Notes) -> None:
    notes(film=1.0)
    raise ValueError("no | such\nthing")


def hangs(task: dict[str, Any], notes: Notes) -> None:
    notes(film=task["seconds"])
    time.sleep(60)


def test_a_fault_is_one_line_and_figures_until_then_stay(tmp_path: Path) -> None:
    found = measured(f"{__name__}:fails", {}, tmp_path / "one", tmp_path, 60, True)
    assert found == {"film": 1.0, FAULT: "ValueError: no / such thing"}


def test_a_process_of_its_own_has_its_own_caches_and_says_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = """import os, gpu_process
def gone(task, notes):
    notes(home=os.environ["SDCREATIVE_HOME"], more=task["more"])
    raise gpu_process.NotThereError("the setting haste")
"""
    (tmp_path / "a_stage.py").write_text(stage, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = measured("a_stage:gone", {"more": 7}, tmp_path / "one", tmp_path / "kept", 60, False)
    home = str(tmp_path / "kept" / "home")
    assert found == {"home": home, "more": 7, FAULT: "not there: the setting haste"}
    found = measured("gpu_process:Gone", {}, tmp_path / "one", tmp_path, 60, False)
    assert found[FAULT].startswith("AttributeError") and "Gone" in found[FAULT]


def test_who_takes_too_long_is_stopped(tmp_path: Path) -> None:
    began = time.monotonic()
    found = measured(f"{__name__}:hangs", {"seconds": 3}, tmp_path, tmp_path, 1, True)
    assert found == {"film": 3, FAULT: "stopped after 1 s"}
    assert time.monotonic() - began < 30
    assert FAULT in measured(f"{__name__}:hangs", {}, tmp_path, tmp_path, 0, True)


def test_latents_that_are_apart() -> None:
    reference = np.array([[-2.0, 2.0, 0.0, 0.0]])
    found = gpu_equal.apart(reference, reference + 0.04)
    assert found["largest"] == pytest.approx(0.04)
    assert found["error"] == pytest.approx(0.02)
    assert found["psnr"] == pytest.approx(40)
    assert gpu_equal.apart(reference, reference)["psnr"] == 200
    assert gpu_equal.apart(reference, reference * np.nan) == {FAULT: "NaN or infinite values"}


RESULTS = {
    "machine": {"name": "a card", "versions": {"torch": "2"}, "peak": {"float16": 800e12}},
    "work": {"sd15": 0.8e12},
    "film": {
        "sd15": {
            "frames": 120,
            "steps": 20,
            "dtype": "float16",
            "walk": {"film": 60.0, "denoising": 0.4, "memory": 2**31, "batch": 1, "first": 0.5},
            "compile": "on",
            "exact": {"film": 10.0, "denoising": 0.08, "remark": "not compiled: no room"},
            "fast": {FAULT: "not there: the setting speed"},
            "preview": {"film": 3.0, "denoising": 0.01},
        }
    },
    "equal": {
        "sd15": {
            "frames": 4,
            "rows": {
                "sdcreative, float32": {"largest": 1e-4, "psnr": 92.0, "error": 1e-6},
                "sdcreative, float16": {"largest": 1.0, "psnr": 30.0, "error": 1e-2, "ratio": 1.2},
            },
        }
    },
    "start": {
        "sd15": {
            "exact": {"cold": {"first_of_process": 90.0}, "warm": {"first_of_process": 27.0}},
            "compiled": {"cold": {FAULT: "stopped after 300 s"}},
        }
    },
}


def test_figures_follow_from_what_was_measured() -> None:
    assert gpu_report.times(RESULTS, "sd15", "exact", "walk") == pytest.approx(6)
    assert gpu_report.times(RESULTS, "sd15", "exact", "compiled") is None
    assert gpu_report.whole_to_alone(RESULTS, "sd15", "exact") == pytest.approx(10 / 9.6)
    # 20 steps of two rows of 0.8 TFLOP in 0.08 s: half of 800 TFLOP/s.
    assert gpu_report.share_of_peak(RESULTS, "sd15", "exact") == pytest.approx(0.5)
    assert gpu_report.share_of_peak(RESULTS, "sd15", "preview") is None


def test_aims_stand_beside_what_was_found() -> None:
    lines = {line.split("|")[1].strip(): line for line in list(gpu_report.aims_table(RESULTS))[4:]}
    assert lines["share of peak, denoising"].endswith("| ≥ 60 % | 50 % | no |")
    assert lines["whole job to denoising alone"].endswith("| ≤ 1.05 times | 1.04 times | yes |")
    assert lines["`speed: fast` to the walk"].endswith("| ≥ 12 times | not measured |  |")
    assert lines["preview"].endswith("| ≥ 60 frames/s | 40 frames/s | no |")
    start = lines["SD 1.5, 512²: second process to the first"]
    assert start.endswith("| ≤ 0.33 | 0.3 | yes |")
    error = lines["SD 1.5, 512²: sdcreative, float16, error"]
    assert error.endswith("| ≤ 1.1 times theirs | 1.2 times theirs | no |")


def test_tables_have_whole_rows_and_name_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(RESULTS), encoding="utf-8")
    gpu.main(["--show", str(path)])
    text = capsys.readouterr().out
    assert "| sdcreative — not compiled: no room | 12 | 6 | 12.5 | 1.04 | 50.0% |" in text
    assert "sdcreative, `speed: fast` — not there: the setting speed |" in text
    assert "channels_last, batch 1 — stopped after 300 s |" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_contenders_are_tried_again_only_where_figures_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--smoke", "--only", "film", "--contenders", "exact", "batched", "--json"]
    options = gpu.parse([*given, str(tmp_path / "figures.json")])
    tried: list[tuple[str, int]] = []
    answers = [
        {"work": {"tiny": 1.0}, "decoder": "x"},
        {"decoder": "x"},
        {"work": {"tiny": 1.0}},
        {"film": 2.0, "batch": 5},
        {FAULT: "stopped"},
        {"decoder": "x"},
        {"film": 1.0},
    ]

    def answer(stage: str, task: Any, *rest: Any) -> Any:
        tried.append((stage, task.get("batch", 0)))
        return dict(answers[len(tried) - 1])

    monkeypatch.setattr(gpu, "measured", answer)
    for resume in (False, True):
        bench = gpu.Bench(Namespace(**vars(options) | {"resume": resume, "batch": 0}), tmp_path)
        bench.prepare()
        list(bench.film())
    options.resume, options.frames = True, options.frames + 1
    with pytest.raises(SystemExit, match="other films of tiny"):
        list(gpu.Bench(options, tmp_path).film())
    films = json.loads((tmp_path / "figures.json").read_text("utf-8"))["film"]["tiny"]
    assert (films["exact"]["film"], films["batched"]["film"]) == (2.0, 1.0)
    peers = [batch for stage, batch in tried if stage == "gpu_peers:film"]
    assert len(tried) == len(answers) and peers == [5, 5]


def test_the_smoke_run_asks_for_all_and_the_real_one_for_a_card() -> None:
    small, real = gpu.parse(["--smoke", "--frames", "4"]), gpu.parse([])
    assert (small.device, small.frames, small.models) == ("cpu", 4, ["tiny"])
    assert (real.device, real.frames, real.steps, real.dtype) == ("cuda", 120, 20, "float16")
    assert real.only == small.only == list(gpu.SECTIONS)
    assert set(gpu.STAGES) == set(gpu_report.CONTENDERS)
    assert Film.of({"model": "m", "size": 64, "folder": "f", "began": 0, "frames": 2, "steps": 20,
                    "more": 1}).warm_steps == 4  # fmt: skip

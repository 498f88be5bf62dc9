"""A single file works from a command, and how it is read is a setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from sdcreative.cli import build_cli
from sdcreative.host import Host


def image(folder: Path, *options: str) -> Result:
    command = ["image", "a bear", "--size", "32", "--steps", "2", "--device", "cpu", *options]
    return CliRunner().invoke(build_cli(Host.load(enabled=False)), [*command, "--overwrite"])


def test_a_picture_from_a_file(v2: Any, tmp_path: Path) -> None:
    model = v2.write(tmp_path / "v2.safetensors")
    pictures = []
    for number, (options, said) in enumerate(
        (
            ((), "v2.safetensors: Stable Diffusion 2, v_prediction; taken for the 768"),
            (("--set", "prediction_type=epsilon"), "v2.safetensors: Stable Diffusion 2, epsilon\n"),
        )
    ):
        output = tmp_path / f"{number}.png"
        done = image(tmp_path, "--model", str(model), "--output", str(output), *options)
        assert done.exit_code == 0, done.output
        assert said in done.output
        again = image(tmp_path, "--model", str(model), "--output", str(output), *options)
        assert "1 of 1 frames are there already" in again.output
        pictures.append(output.read_bytes())
    assert pictures[0] != pictures[1]


def test_averaged_weights_that_are_not_there(v2: Any, tmp_path: Path) -> None:
    model = v2.write(tmp_path / "v2.safetensors")
    done = image(tmp_path, "--model", str(model), "--set", "ema=true")
    assert done.exit_code == 1
    assert "holds no averaged weights" in str(done.exception)

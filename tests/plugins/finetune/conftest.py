"""A folder of pictures, on which a tiny model is tuned in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from sdcreative_plugins.train.tuning.settings import FinetuneSettings

COLOURS = ("red", "green", "blue", "orange", "purple", "black")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six captioned pictures, upright, square and wide; the blue one is turned by its EXIF."""
    folder = tmp_path_factory.mktemp("data") / "Bilder é"
    folder.mkdir()
    for place, colour in enumerate(COLOURS):
        size = [(40, 40), (40, 80), (80, 40)][place % 3]
        picture = Image.new("RGB", size, "white")
        box = (3 * place, 2 * place, 20 + 3 * place, 36)
        ImageDraw.Draw(picture).ellipse(box, fill=colour)
        exif = Image.Exif()
        if colour == "blue":
            exif[0x0112] = 6
        picture.save(folder / f"{colour}.png", exif=exif)
        (folder / f"{colour}.txt").write_text(f"a {colour} ball")
    return folder


@pytest.fixture
def settings(tiny: Path, pictures: Path, tmp_path: Path) -> Callable[..., FinetuneSettings]:
    """Settings of a tiny LoRA, with changes."""

    def make(**changes: Any) -> FinetuneSettings:
        values: dict[str, Any] = {
            "model": str(tiny),
            "data": {"source": "folder", "folder": str(pictures)},
            "output": str(tmp_path / "out"),
            "cache": str(tmp_path / "cache"),
            "hold_out_every": 3,
            "lora": {"rank": 2, "alpha": 1, "weights": "fp32"},
            "schedule": {"steps": 2, "batch": 2, "log_every": 1, "save_every": 1, "warmup": 0},
            "sheet": {"count": 1, "steps": 1},
            **changes,
        }
        for key in [key for key, value in values.items() if value is None]:
            del values[key]
        return FinetuneSettings.model_validate(values)

    return make

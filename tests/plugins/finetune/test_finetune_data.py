"""What tuning learns from: buckets, crops, the report, twins, and faults of folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from sdcreative import DataError, UsageError
from sdcreative.models.places import ModelPlace
from sdcreative_plugins.train.tuning.buckets import bucket_sizes, nearest_bucket, place
from sdcreative_plugins.train.tuning.data import gather
from sdcreative_plugins.train.tuning.examples import difference_hash, open_picture, read_examples
from sdcreative_plugins.train.tuning.latents import fit
from sdcreative_plugins.train.tuning.survey import default_step, plan_buckets, tell, twins

FACTS = SimpleNamespace(size=(32, 32), multiple=4)


def read(folder: Path, tmp_path: Path, **options: Any) -> list[Any]:
    lines: list[str] = options.pop("lines", [])
    background = options.pop("background", "white")
    known = tmp_path / "known.json"
    return read_examples(folder, None, background, known, report=lines.append, **options)


@pytest.mark.parametrize(("area", "step"), [(1024 * 1024, 64), (512 * 512, 64), (64 * 64, 8)])
def test_buckets_are_multiples_that_fill_the_area(area: int, step: int) -> None:
    sizes = bucket_sizes(area, step)
    side = round(area**0.5)
    assert (side, side) in sizes and len(set(sizes)) == len(sizes)
    for width, height in sizes:
        assert width % step == height % step == 0
        assert width * height <= area < max((width + step) * height, width * (height + step))
        assert max(width, height) <= 4 * min(width, height)
        assert (height, width) in sizes


def test_sdxl_has_the_sizes_that_people_know() -> None:
    known = {(1024, 1024), (1152, 896), (896, 1152), (1216, 832), (1344, 768), (1536, 640)}
    assert known <= set(bucket_sizes(1024 * 1024, 64))


def test_a_picture_goes_to_the_bucket_of_its_form() -> None:
    sizes = bucket_sizes(512 * 512, 64)
    assert nearest_bucket((3000, 3000), sizes) == (512, 512)
    wide = nearest_bucket((1920, 1080), sizes)
    assert all(
        abs(np.log(wide[0] / wide[1] / (16 / 9))) <= abs(np.log(w / h / (16 / 9))) for w, h in sizes
    )


@pytest.mark.parametrize("size", [(400, 300), (300, 400), (33, 1000), (64, 64), (7, 5)])
def test_no_picture_is_distorted_and_the_crop_is_in_its_middle(size: tuple[int, int]) -> None:
    placed = place(size, (64, 48))
    scale = max(64 / size[0], 48 / size[1])
    assert abs(placed.scaled[0] - size[0] * scale) <= 0.5
    assert abs(placed.scaled[1] - size[1] * scale) <= 0.5
    assert placed.left == (placed.scaled[0] - 64) // 2
    assert placed.top == (placed.scaled[1] - 48) // 2
    assert fit(Image.new("RGB", size), placed).size == (64, 48)
    height, width, top, left, *target = placed.conditioning
    assert ((width, height), top, left) == (size, placed.top, placed.left)
    assert target == [48, 64]
    assert 0 <= placed.cut < 1


def test_a_crop_keeps_what_is_in_the_middle() -> None:
    picture = Image.new("RGB", (120, 40), "white")
    picture.paste((255, 0, 0), (40, 0, 80, 40))
    cut = np.asarray(fit(picture, place((120, 40), (40, 40))))
    assert (cut == (255, 0, 0)).all()
    assert place((120, 40), (40, 40)).cut == pytest.approx(2 / 3)


def test_steps_are_64_for_large_models_and_fine_for_small_ones() -> None:
    assert default_step((1024, 1024), 8) == 64
    assert default_step((64, 64), 4) == 8
    assert default_step((128, 128), 16) == 16


def test_pictures_are_upright_and_on_the_colour(pictures: Path, tmp_path: Path) -> None:
    found = {one.name: one for one in read(pictures, tmp_path)}
    assert found["blue.png"].size == (40, 80)
    assert found["blue.png"].open().size == (40, 80)
    assert found["red.png"].captions == ("a red ball",)
    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png", "white").getpixel((0, 0)) == (255, 255, 255)
    assert open_picture(tmp_path / "clear.png", "#102030").getpixel((0, 0)) == (16, 32, 48)


def test_a_picture_is_known_by_its_content_and_background(pictures: Path, tmp_path: Path) -> None:
    first = read(pictures, tmp_path)
    copied = tmp_path / "copied"
    copied.mkdir()
    (copied / "x.png").write_bytes((pictures / "red.png").read_bytes())
    (copied / "x.txt").write_text("other words")
    [again] = read(copied, tmp_path)
    [black] = read(copied, tmp_path, background="black")
    assert again.digest in {one.digest for one in first}
    assert black.digest != again.digest


def test_what_is_known_of_pictures_is_not_found_out_again(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(pictures, tmp_path)
    monkeypatch.setattr(
        "sdcreative_plugins.train.tuning.examples.open_picture",
        lambda *args: pytest.fail("a picture was opened again"),
    )
    assert [one.size for one in read(pictures, tmp_path)] == [one.size for one in first]


def test_twins_are_found_through_scaling_and_compression(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(3):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        pictures.append(small.resize((200, 150), Image.Resampling.BICUBIC))
    pictures[1].resize((90, 70)).save(tmp_path / "again.jpg", quality=70)
    with Image.open(tmp_path / "again.jpg") as again:
        looks = [difference_hash(one) for one in [*pictures, again]]
    assert twins(looks) == [(1, 3)]


def test_the_report_names_sizes_crops_twins_and_long_captions(
    pictures: Path, tmp_path: Path, load: Callable[[Path], Any], tiny: Path
) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.png").write_bytes((pictures / "orange.png").read_bytes())
        (folder / f"{name}.txt").write_text("bear " * 40 if name == "b" else "a bear")
    found, lines = read(folder, tmp_path), []
    placements = plan_buckets(found, (32, 32), 8, many=True)
    tell(found, placements, [(load(tiny).tokenizer, 32)], lines.append)
    text = "\n".join(lines)
    assert "2 pictures, 40x40 to 40x40" in text and "32x32: 2 pictures, 0.0%" in text
    assert "a.png and b.png" in text
    assert "1 captions have more than 32 tokens" in text and "b.png (42 tokens)" in text


def test_without_buckets_all_pictures_have_one_size(pictures: Path, tmp_path: Path) -> None:
    found = read(pictures, tmp_path)
    many = {one.bucket for one in plan_buckets(found, (32, 32), 8, many=True)}
    one = {one.bucket for one in plan_buckets(found, (32, 40), 8, many=False)}
    assert len(many) == 3 and all(w * h <= 1024 for w, h in many)
    assert one == {(32, 40)}


def test_every_fault_of_a_folder_is_named(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read(tmp_path / "none", tmp_path)
    folder = tmp_path / "faulty"
    folder.mkdir()
    with pytest.raises(DataError, match="no pictures"):
        read(folder, tmp_path)
    (folder / "good.png").write_bytes((pictures / "red.png").read_bytes())
    (folder / "good.txt").write_text("a red ball")
    (folder / "broken.png").write_bytes((pictures / "red.png").read_bytes()[:60])
    (folder / "broken.txt").write_text("a broken one")
    (folder / "silent.png").write_bytes((pictures / "blue.png").read_bytes())
    with pytest.raises(DataError, match=r"2 of 3 pictures.*broken\.png.*silent\.png.*no caption"):
        read(folder, tmp_path)
    lines: list[str] = []
    [good] = read(folder, tmp_path, skip_broken=True, lines=lines)
    assert good.name == "good.png" and "2 of 3 pictures are left out" in lines[-1]
    (folder / "good.png").unlink()
    with pytest.raises(DataError, match="none of its 2 pictures"):
        read(folder, tmp_path, skip_broken=True)


def test_a_missing_captions_file_is_named(settings: Any, tiny: Path, pictures: Path) -> None:
    wanted = settings(data={"source": "folder", "folder": str(pictures), "captions": "c.jsonl"})
    with pytest.raises(DataError, match=r"c\.jsonl: no such captions file"):
        gather(wanted, ModelPlace(tiny), FACTS, "0", print)


def test_a_step_that_the_model_cannot_make_is_refused(settings: Any, tiny: Path) -> None:
    with pytest.raises(UsageError, match="multiples of 4"):
        gather(settings(bucket_step=6), ModelPlace(tiny), FACTS, "0", print)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora": {"rank": 0}}, "greater than or equal to 1"),
        ({"lora": None}, "give one of lora and full"),
        ({"full": {}}, "give one of lora and full"),
        ({"background": "octarine"}, "no colour"),
        ({"lora": {"targets": []}}, "at least 1 item"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    settings: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**changes)

"""Folders of captioned pictures, the emoji source, and how a drawing becomes a sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcreative import DataError
from sdcreative_plugins.train import emoji
from sdcreative_plugins.train.pictures import (
    BACKGROUNDS,
    Drawing,
    compose,
    read_folder,
    split_held_out,
)


def paint(path: Path, colour: object = "red", mode: str = "RGB", size: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size, size), colour).save(path)
    return path


def ball(**changes: object) -> Drawing:
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[8:24, 4:20] = (255, 0, 0, 255)
    values = {"rgba": rgba, "captions": ("a ball",), "background_caption": "on a {background} one"}
    return Drawing(**{**values, **changes})


def test_captions_beside_pictures_one_phrasing_a_line(tmp_path: Path) -> None:
    paint(tmp_path / "b.PNG")
    (tmp_path / "b.txt").write_text("\ufeffa red ball\n\n  something red \n", encoding="utf-8")
    (tmp_path / "notes.md").write_text("not a picture")
    [drawing] = read_folder(tmp_path, 16)
    assert drawing.captions == ("a red ball", "something red")
    assert drawing.rgba.shape == (16, 16, 4) and drawing.rgba.dtype == np.uint8
    assert drawing.background_caption == "" and drawing.mirror


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.jsonl", '{"file": "a.png", "caption": "ä"}\n\n{"file": "sub/b.png", "caption": "b"}\n'),
        ("c.jsonl", '{"file_name": "a.png", "text": "ä"}\n{"file": "sub/b.png", "caption": "b"}'),
        ("c.csv", "file,caption\na.png,ä\nsub/b.png,b\n"),
        ("c.csv", "\ufefffile,caption\r\na.png,ä\r\nsub/b.png,b\r\n"),
    ],
)
def test_captions_in_one_file(tmp_path: Path, name: str, text: str) -> None:
    paint(tmp_path / "a.png")
    paint(tmp_path / "sub" / "b.png")
    (tmp_path / name).write_bytes(text.encode())
    assert [d.captions for d in read_folder(tmp_path, 16, name)] == [("ä",), ("b",)]


def test_several_rows_of_a_picture_are_phrasings(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / "c.csv").write_text("file,caption\na.png,one\na.png,two\n")
    assert read_folder(tmp_path, 16, "c.csv")[0].captions == ("one", "two")


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (20, 20), "red")
    picture.paste("blue", (0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.save(tmp_path / "a.png", exif=exif)
    (tmp_path / "a.txt").write_text("a flag")
    rgba = read_folder(tmp_path, 20)[0].rgba
    assert tuple(rgba[2, 2]) == (255, 0, 0, 255) and tuple(rgba[17, 2]) == (0, 0, 255, 255)


@pytest.mark.parametrize(
    ("name", "mode", "colour", "pixel"),
    [
        ("a.png", "RGBA", (255, 0, 0, 0), None),
        ("a.png", "I;16", 65535, (255, 255, 255, 255)),
        ("a.png", "I;16", 32768, (128, 128, 128, 255)),
        ("a.png", "1", 1, (255, 255, 255, 255)),
        ("a.jpg", "CMYK", (0, 0, 0, 0), (255, 255, 255, 255)),
        ("a.webp", "RGB", "white", (255, 255, 255, 255)),
    ],
)
def test_kinds_of_pixels(
    tmp_path: Path, name: str, mode: str, colour: object, pixel: tuple[int, ...] | None
) -> None:
    paint(tmp_path / name, colour, mode)
    (tmp_path / "a.txt").write_text("a thing")
    drawing = read_folder(tmp_path, 16)[0]
    if pixel is None:
        assert drawing.rgba[..., 3].max() == 0 and "{background}" in drawing.background_caption
    else:
        assert np.abs(drawing.rgba.astype(int) - pixel).max() <= 1


def test_broken_data_is_named_in_one_line(tmp_path: Path) -> None:
    def complaint(captions: str | None = None) -> str:
        with pytest.raises(DataError) as caught:
            read_folder(tmp_path, 16, captions)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no pictures" in complaint()
    picture = paint(tmp_path / "a.png")
    assert "a.png: no caption" in complaint()
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    assert "a.txt" in complaint() and "UTF-8" in complaint()
    (tmp_path / "a.txt").write_text("a ball")
    assert "no such captions file" in complaint("c.csv")
    (tmp_path / "c.csv").write_text("file,caption\nb.png,there is none\n")
    assert "names b.png" in complaint("c.csv")
    for row in ('{"file": "a.png"}', "7", '{"file": "a.png", "caption": 3}'):
        (tmp_path / "c.jsonl").write_text(row)
        assert "row 1" in complaint("c.jsonl")
    (tmp_path / "c.jsonl").write_text("{")
    assert "cannot be read" in complaint("c.jsonl")
    picture.write_bytes(picture.read_bytes()[:60])
    assert "a.png: not a readable picture" in complaint()
    with pytest.raises(DataError, match="no such folder"):
        read_folder(tmp_path / "nowhere", 16)


@pytest.mark.parametrize(
    ("caption", "mirror"),
    [("a left shoe", False), ("to the Right, a car", False), ("bright", True)],
)
def test_captions_with_a_side_are_not_mirrored(tmp_path: Path, caption: str, mirror: bool) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(caption)
    assert read_folder(tmp_path, 16)[0].mirror is mirror


def test_compose_depends_on_its_generator_alone() -> None:
    one, same = (compose(ball(), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.pixels, same.pixels) and one.captions == same.captions
    assert one.pixels.shape == (3, 32, 32) and one.pixels.dtype == np.float32
    assert one.pixels.min() >= -1 and one.pixels.max() <= 1
    others = [compose(ball(), np.random.default_rng(seed)).pixels for seed in range(8)]
    assert len({pixels.tobytes() for pixels in others}) > 5


def test_captions_name_the_background_that_is_there() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        sample = compose(ball(), rng)
        corner = (sample.pixels[:, 0, 31] + 1) * 127.5
        colour = sample.captions[-1].removeprefix("a ball, on a ").removesuffix(" one")
        assert np.abs(corner - BACKGROUNDS[colour]).max() <= 11
        assert ("a ball" in sample.captions) is (colour == "white")


def test_opaque_pictures_are_only_mirrored() -> None:
    drawing = ball(background_caption="", mirror=False)
    samples = [compose(drawing, np.random.default_rng(seed)).pixels for seed in range(4)]
    assert all(np.array_equal(samples[0], other) for other in samples)


def test_held_out_compositions_are_never_composed() -> None:
    avoid = emoji.held_out_backgrounds("bear", 3)
    assert avoid and "white" not in avoid
    rng = np.random.default_rng(1)
    shown = " ".join(compose(ball(avoid=avoid), rng).captions[-1] for _ in range(400))
    assert not any(f"a {colour} one" in shown for colour in avoid)
    assert all(f"a {colour} one" in shown for colour in set(BACKGROUNDS) - avoid)
    assert emoji.held_out_backgrounds("bear", 0) == frozenset()


def test_everything_held_out_leaves_white() -> None:
    drawing = ball(avoid=emoji.held_out_backgrounds("bear", 1))
    for seed in range(10):
        assert "white" in compose(drawing, np.random.default_rng(seed), white=0).captions[-1]


@pytest.mark.parametrize(
    ("count", "every", "held"), [(100, 50, 2), (12, 50, 1), (4, 5, 1), (3, 50, 0), (9, 0, 0)]
)
def test_held_out_pictures(count: int, every: int, held: int) -> None:
    drawings = [ball(name=str(i)) for i in range(count)]
    training, kept = split_held_out(drawings, every)
    assert len(kept) == held and len(training) == count - held
    assert {d.name for d in training}.isdisjoint(d.name for d in kept)


ICONS = {
    "icons": {
        "bear": {"body": '<circle cx="8" cy="8" r="8" fill="#d22d2d"/>'},
        "left-arrow": {"body": '<path d="M0 0h16v16H0z" fill="#3c8cdc"/>', "width": 32},
    },
    "width": 16,
    "height": 16,
}
LABELS = [
    {"label": "bear", "hexcode": "1F43B", "group": 3},
    {"label": "left arrow", "hexcode": "2B05-FE0F", "group": 3},
    {"label": "grapes", "hexcode": "1F347", "group": 4},
]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder as npm would have filled it, with two drawings in every collection."""
    for one in (*emoji.COLLECTIONS, emoji.LABELS):
        name = f"{one.package.replace('/', '-').lstrip('@')}-{one.version}"
        (tmp_path / name / "en").mkdir(parents=True)
        (tmp_path / name / "icons.json").write_text(json.dumps(ICONS))
        (tmp_path / name / "chars.json").write_text(json.dumps({"1f43b": "bear"}))
        (tmp_path / name / "en" / "data.json").write_text(json.dumps(LABELS))
    return tmp_path


def test_emoji_are_rendered_captioned_and_cached(cache: Path) -> None:
    pytest.importorskip("resvg_py")
    drawings = emoji.read_emoji(cache, 16, ["animals"])
    assert len(drawings) == 2 * len(emoji.COLLECTIONS)
    bears = [d for d in drawings if d.name == "bear"]
    assert {d.style for d in bears} == {c.style for c in emoji.COLLECTIONS}
    assert "a picture of a bear" in bears[0].captions and "a red bear" in bears[0].captions
    assert f"a bear, {bears[0].style} style" in bears[0].captions
    assert bears[0].mirror and bears[0].rgba.shape == (16, 16, 4)
    assert bears[0].avoid == emoji.held_out_backgrounds("bear", 10)
    assert not any(d.mirror for d in drawings if d.name == "left arrow")
    [stored] = cache.glob("*.npz")
    stamp = stored.stat().st_mtime_ns
    again = emoji.read_emoji(cache, 16, ["animals"])
    assert stored.stat().st_mtime_ns == stamp
    assert [d.captions for d in again] == [d.captions for d in drawings]


def test_emoji_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="unknown emoji group 'animal'"):
        emoji.read_emoji(tmp_path, 16, ["animal"])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match="needs npm"):
        emoji.read_emoji(tmp_path, 16, ["animals"])


def test_icons_are_found_by_character_or_label() -> None:
    assert emoji._svg(ICONS, None, "Bear") == emoji._svg(ICONS, "bear", "?")
    assert 'viewBox="0 0 32 16"' in str(emoji._svg(ICONS, "left-arrow", ""))
    assert emoji._svg(ICONS, None, "crab") is None


def test_the_bare_name_of_coloured_things_is_that_of_the_first() -> None:
    names = ["green apple", "red apple", "cat", "black cat", "brown bread"]
    rows = [
        {"name": name, "style": "flat", "colour": "red", "group": "food", "place": place}
        for place, name in zip((7, 3, 9, 1, 5), names, strict=True)
    ]
    bare = emoji._bare_names(rows)
    assert bare == {"apple": "red apple", "cat": "cat", "bread": "brown bread"}
    captions = {
        row["name"]: emoji._caption(np.zeros((8, 8, 4), np.uint8), row, bare, 0).captions
        for row in rows
    }
    assert {"a picture of an apple", "an apple", "apple"} < set(captions["red apple"])
    assert "a red green apple" in captions["green apple"]
    assert not {"an apple", "a cat"} & {*captions["green apple"], *captions["black cat"]}
    assert captions["cat"][0] == "a picture of a cat"

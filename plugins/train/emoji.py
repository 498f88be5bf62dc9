"""The drawings of the built-in `emoji` model: openly licensed emoji of npm, with captions."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sdcreative import DataError

from .pictures import BACKGROUNDS, Drawing


@dataclass(frozen=True)
class Collection:
    """One npm package of drawings: the caption's style word and its pinned version."""

    package: str
    version: str
    style: str


COLLECTIONS = (
    Collection("@iconify-json/noto", "1.2.9", "cartoon"),
    Collection("@iconify-json/noto-v1", "1.2.5", "blob"),
    Collection("@iconify-json/fxemoji", "1.2.2", "retro"),
    Collection("@iconify-json/fluent-emoji", "1.2.7", "glossy"),
    Collection("@iconify-json/fluent-emoji-flat", "1.2.6", "flat"),
    Collection("@iconify-json/twemoji", "1.2.5", "simple"),
)
LABELS = Collection("emojibase-data", "17.0.0", "")

GROUPS = {
    "people": (0, 1),
    "animals": (3,),
    "food": (4,),
    "places": (5,),
    "activities": (6,),
    "objects": (7,),
    "symbols": (8,),
}
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (210, 45, 45),
    "orange": (245, 140, 40),
    "yellow": (250, 205, 60),
    "green": (90, 170, 70),
    "blue": (60, 140, 220),
    "purple": (140, 90, 190),
    "pink": (245, 150, 180),
    "brown": (140, 90, 60),
    "gray": (150, 155, 160),
    "black": (40, 42, 48),
    "white": (240, 240, 240),
}
CACHE_VERSION = 3
# Letters, clock faces and whatever is said to be left or right.
MIRRORED_TELLS_ANOTHER = re.compile(r"\b(left|right)|clock\b|thirty$|\b(button|abcd|1234)\b")


def read_emoji(
    cache: Path, size: int, groups: Sequence[str], hold_out_pairs: int = 10
) -> list[Drawing]:
    """Fetch, render and caption the drawings; the rendered set is cached as one .npz file.

    Args:
        cache: folder for the npm packages and the rendered drawings.
        size: side in pixels.
        groups: any of people, animals, food, places, activities, objects, symbols.
        hold_out_pairs: one in so many (thing, background colour) pairs is never shown in
            training, chosen by a checksum of the two names; 0 shows all.

    Raises:
        DataError: npm or resvg is missing, a package cannot be fetched, or a group is unknown.
    """
    unknown = [g for g in groups if g not in GROUPS]
    if unknown:
        raise DataError(f"unknown emoji group {unknown[0]!r}; known: {', '.join(GROUPS)}")
    cache.mkdir(parents=True, exist_ok=True)
    name = f"emoji_v{CACHE_VERSION}_{size}_{'-'.join(sorted(groups))}.npz"
    if not (cache / name).is_file():
        _render_all(cache, cache / name, size, groups)
    with np.load(cache / name) as stored:
        pictures, table = stored["pictures"], json.loads(str(stored["table"]))
    bare = _bare_names(table)
    return [
        _caption(rgba, row, bare, hold_out_pairs) for rgba, row in zip(pictures, table, strict=True)
    ]


def _bare_names(table: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Name without its colour -> the one thing that is meant by it, first in Unicode's order.

    "An apple" is a red one: were it the green one as well, a small model would paint the mean of
    the two. "A cat" is no black cat, as there is a cat without a colour.
    """
    found: dict[str, str] = {}
    names = sorted({(row["place"], row["name"]) for row in table})
    for _, name in sorted(names, key=lambda entry: entry[1].split(" ", 1)[0] in COLOURS):
        found.setdefault(_without_colour(name), name)
    return found


def _without_colour(name: str) -> str:
    first, _, rest = name.partition(" ")
    return rest if rest and first in COLOURS else name


def held_out_backgrounds(name: str, one_in: int) -> frozenset[str]:
    """Background colours never shown with the thing ``name`` in training."""
    if one_in == 0:
        return frozenset()
    return frozenset(
        colour
        for colour in BACKGROUNDS
        if colour != "white" and zlib.crc32(f"{name}|{colour}".encode()) % one_in == 0
    )


def _caption(
    rgba: np.ndarray, row: dict[str, Any], bare: dict[str, str], hold_out_pairs: int
) -> Drawing:
    name, style, colour, group = row["name"], row["style"], row["colour"], row["group"]
    noun = f"{_article(name)} {name}"
    coloured = name if colour in name.split() else f"{colour} {name}"
    coloured = f"{_article(coloured)} {coloured}"
    captions = (
        f"a picture of {noun}",
        f"a picture of {noun}",
        f"a picture of {noun}",
        noun,
        name,
        f"{noun}, {style} style",
        f"a picture of {noun}, {style} style",
        coloured,
        f"a picture of {coloured}",
        f"{coloured}, {style} style",
        f"{noun}, {group}",
    )
    plain = _without_colour(name)
    if plain != name and bare[plain] == name:
        short = f"{_article(plain)} {plain}"
        captions += (plain, short, f"a picture of {short}")
    return Drawing(
        rgba=rgba,
        captions=captions,
        background_caption="on a {background} background",
        name=name,
        style=style,
        group=group,
        colour=colour,
        avoid=held_out_backgrounds(name, hold_out_pairs),
        mirror=group != "symbols" and not MIRRORED_TELLS_ANOTHER.search(name),
    )


def _shuffled(row: dict[str, Any]) -> int:
    """A place in an order that stays as it is, whatever a row is given besides: who is held out."""
    return zlib.crc32(json.dumps({k: v for k, v in row.items() if k != "place"}).encode())


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _render_all(cache: Path, target: Path, size: int, groups: Sequence[str]) -> None:
    labels = json.loads((_fetch(cache, LABELS) / "en" / "data.json").read_text("utf-8"))
    wanted = {number for group in groups for number in GROUPS[group]}
    labels = [entry for entry in labels if entry.get("group") in wanted]
    group_of = {number: group for group in groups for number in GROUPS[group]}
    slugs = _slugs(cache)
    pictures: list[np.ndarray] = []
    table: list[dict[str, Any]] = []
    for collection in COLLECTIONS:
        icons = json.loads((_fetch(cache, collection) / "icons.json").read_text("utf-8"))
        for place, entry in enumerate(labels):
            svg = _svg(icons, slugs.get(_codepoint(entry["hexcode"])), entry["label"])
            if svg is None:
                continue
            rgba = _render(svg, size)
            pictures.append(rgba)
            table.append(
                {
                    "name": _plain_name(entry["label"]),
                    "style": collection.style,
                    "colour": _main_colour(rgba),
                    "group": group_of[entry["group"]],
                    "place": place,
                }
            )
    order = sorted(range(len(table)), key=lambda i: _shuffled(table[i]))
    temporary = target.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        pictures=np.stack([pictures[i] for i in order]),
        table=json.dumps([table[i] for i in order]),
    )
    temporary.replace(target)


def _plain_name(label: str) -> str:
    name = label.lower().replace("-", " ").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return re.sub(r"[:,.]", "", name)


def _codepoint(hexcode: str) -> str:
    return hexcode.lower().replace("-fe0f", "")


def _slugs(cache: Path) -> dict[str, str]:
    """Icon name by code point, from the collections that list their characters."""
    slugs: dict[str, str] = {}
    for collection in reversed(COLLECTIONS):
        file = _fetch(cache, collection) / "chars.json"
        slugs.update(json.loads(file.read_text("utf-8")))
    return slugs


def _svg(icons: dict, slug: str | None, label: str) -> str | None:
    by_label = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
    for name in (slug, by_label):
        if name in icons["icons"]:
            break
    else:
        return None
    icon = icons["icons"][name]
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}" height="{height}" viewBox="{box}">{icon["body"]}</svg>'
    )


def _render(svg: str, size: int) -> np.ndarray:
    try:
        import resvg_py
    except ImportError as error:
        raise DataError(
            "rendering drawings needs resvg-py: pip install 'sdcreative[train]'"
        ) from error
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size * 2, height=size * 2))
    with Image.open(io.BytesIO(png)) as picture:
        return np.array(picture.convert("RGBA").resize((size, size), Image.Resampling.BOX))


def _main_colour(rgba: np.ndarray) -> str:
    pixels = rgba[rgba[..., 3] > 200][:, :3].astype(np.float32)
    if len(pixels) == 0:
        return "gray"
    names = list(COLOURS)
    palette = np.array([COLOURS[n] for n in names], dtype=np.float32)
    nearest = ((pixels[:, None] - palette[None]) ** 2).sum(-1).argmin(1)
    return names[int(np.bincount(nearest, minlength=len(names)).argmax())]


def _fetch(cache: Path, collection: Collection) -> Path:
    folder = cache / f"{collection.package.replace('/', '-').lstrip('@')}-{collection.version}"
    if folder.is_dir():
        return folder
    if shutil.which("npm") is None:
        raise DataError("fetching the drawings needs npm (part of Node.js); install it and retry")
    wanted = f"{collection.package}@{collection.version}"
    result = subprocess.run(
        ["npm", "pack", "--silent", wanted], cwd=cache, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(f"npm could not fetch {wanted}: {reason}")
    archive = cache / (result.stdout.strip().splitlines() or ["nothing"])[-1]
    unpacked = cache / f"{folder.name}.part"
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"npm fetched a broken {wanted} ({error}); try again") from error
    (unpacked / "package").rename(folder)
    shutil.rmtree(unpacked)
    archive.unlink()
    return folder

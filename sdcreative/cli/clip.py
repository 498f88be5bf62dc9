"""`sdcreative score` and `sdcreative classify`: how well pictures fit texts, or pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DataError, UsageError
from .picture_sources import Seen, list_files, read_all
from .tables import json_flag, table

if TYPE_CHECKING:
    from ..models.clip.pair import PictureText

Row = dict[str, Any]
"""of one picture, as in the JSON"""
_PORTION = 32
_WIDEST = 24


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """What both commands take."""
    for decorate in (
        json_flag,
        click.option("--offline", is_flag=True, help="Never ask the model hub."),
        click.option(
            "--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu or cuda."
        ),
        click.option(
            "--skip-broken", is_flag=True, help="Name pictures that cannot be read, and go on."
        ),
        click.option(
            "--every",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            metavar="N",
            help="Of films: look at one in N frames.",
        ),
        click.option(
            "--model",
            default="emoji",
            show_default=True,
            metavar="NAME",
            help="Built-in name, folder of a CLIP or SigLIP, or id on the Hugging Face hub.",
        ),
        click.argument(
            "images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE..."
        ),
    ):
        command = decorate(command)
    return command


def score_command() -> click.Command:
    """The command; torch is imported when it runs."""

    @click.command("score", short_help="Measure how well pictures fit texts.")
    @_options
    @click.option("--text", "texts", multiple=True, help="What to look for; may be repeated.")
    @click.option(
        "--against",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="IMAGE",
        help="A picture to compare with; may be repeated.",
    )
    def score(
        images: tuple[Path, ...],
        texts: tuple[str, ...],
        against: tuple[Path, ...],
        model: str,
        every: int,
        skip_broken: bool,
        device: str,
        offline: bool,
        as_json: bool,
    ) -> None:
        """Measure how well each IMAGE fits each text.

        IMAGE is a picture, a film, or a folder of them. Given is the cosine of the angle between
        what the model makes of both: 1 for what is the same to it, about 0 for what has nothing in
        common. With --against it is that of two pictures.
        """
        if not texts and not against:
            raise UsageError("nothing to compare with; give --text or --against")
        _check_texts(texts, "--text")
        files, others = list_files(images), list_files(against)
        pair = _load(model, device, offline)
        rows: list[Row] = []
        wanted = _texts(pair, texts)
        likened = list(read_all(others, every, None))
        vectors = pair.pictures([seen.picture for seen in likened])
        for some, found in _looked_at(pair, files, every, skip_broken):
            to_texts = _rounded(found @ wanted.T) if texts else [[] for _ in some]
            to_pictures = _rounded(found @ vectors.T) if likened else [[] for _ in some]
            for seen, by_text, by_picture in zip(some, to_texts, to_pictures, strict=True):
                rows.append({**_place(seen), "texts": by_text, "against": by_picture})
        named = [seen.name for seen in likened]
        if as_json:
            shown = {"model": model, "texts": list(texts), "against": named, "pictures": rows}
            click.echo(json.dumps(shown, indent=2))
            return
        head = ["PICTURE", *map(_short, texts), *(_short(f"as {name}", end=True) for name in named)]
        cells = [
            [_name(row), *(f"{value:.3f}" for value in (*row["texts"], *row["against"]))]
            for row in rows
        ]
        click.echo(table(head, cells))

    return score


def classify_command() -> click.Command:
    """The command; torch is imported when it runs."""

    @click.command("classify", short_help="Say which of some labels pictures fit best.")
    @_options
    @click.option("--labels", required=True, metavar="A,B,C", help="To choose from.")
    @click.option(
        "--template",
        default="a picture of a {}",
        show_default=True,
        metavar="TEXT",
        help='What is looked for, with {} for a label; "a {}" becomes "an owl".',
    )
    @click.option(
        "--top", type=click.IntRange(1), default=3, show_default=True, help="How many to show."
    )
    def classify(
        images: tuple[Path, ...],
        labels: str,
        template: str,
        top: int,
        model: str,
        every: int,
        skip_broken: bool,
        device: str,
        offline: bool,
        as_json: bool,
    ) -> None:
        """Say which of the labels each IMAGE fits best, and how probably.

        IMAGE is a picture, a film, or a folder of them. The model is not trained for the labels:
        it compares each picture with the text that the template makes of each. With a CLIP the
        probabilities of all labels add up to 100 %; with a SigLIP each label is judged by itself.
        """
        names = _read_labels(labels)
        if "{}" not in template:
            raise UsageError(f"--template {template!r}: has no {{}} where the label goes")
        files = list_files(images)
        pair = _load(model, device, offline)
        if pair.bias is None and len(names) == 1:
            raise UsageError(
                f"--labels: {model} tells labels from each other; give two or more of them"
            )
        asked = [fill_template(template, name) for name in names]
        texts = _texts(pair, asked)
        rows: list[Row] = []
        for some, found in _looked_at(pair, files, every, skip_broken):
            likely = pair.probabilities(pair.logits(found, texts)).tolist()
            for seen, chances, cosines in zip(some, likely, _rounded(found @ texts.T), strict=True):
                ranked = sorted(zip(names, chances, cosines, strict=True), key=lambda one: -one[1])
                best = [
                    {"label": label, "probability": chance, "similarity": cosine}
                    for label, chance, cosine in ranked[:top]
                ]
                rows.append({**_place(seen), "labels": best})
        if as_json:
            shown = {"model": model, "labels": names, "texts": asked, "pictures": rows}
            click.echo(json.dumps(shown, indent=2))
            return
        cells = [
            [_name(row), *(f"{one['label']} {one['probability']:.1%}" for one in row["labels"])]
            for row in rows
        ]
        places = ["PICTURE", "BEST", *(str(n) for n in range(2, min(top, len(names)) + 1))]
        click.echo(table(places, cells))

    return classify


def fill_template(template: str, label: str) -> str:
    """A label in its text.

    >>> fill_template("a picture of a {}", "owl"), fill_template("the {}", "owl")
    ('a picture of an owl', 'the owl')
    """
    start, _, end = template.partition("{}")
    words = start.lower().split()
    if label[:1].lower() in "aeiou" and words[-1:] == ["a"] and start.endswith(" "):
        start = start[:-1] + "n "
    return f"{start}{label}{end}"


def _read_labels(labels: str) -> list[str]:
    names = [" ".join(name.split()) for name in labels.split(",")]
    if not all(names):
        raise UsageError(f"--labels {labels!r}: an empty label; give them as bear,cat,red apple")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"--labels {labels!r}: {name!r} comes twice")
    return names


def _check_texts(texts: Sequence[str], flag: str) -> None:
    if not all(text.strip() for text in texts):
        raise UsageError(f"{flag}: an empty text fits no picture; say in words what to look for")


def _load(model: str, device: str, offline: bool) -> PictureText:
    from ..models.clip.loading import load_pair

    return load_pair(model, device=device, offline=offline)


def _texts(pair: PictureText, texts: Sequence[str]) -> Any:
    """Vectors of texts; what of them is not read is said."""
    if not texts:
        return None
    for text in texts:
        if beyond := pair.beyond(text):
            _warn(
                f"{_short(text, 60)!r}: {pair.name} reads {pair.room} tokens of a text, the last "
                f"{beyond} of this one are left out"
            )
    return pair.texts(texts)


def _looked_at(
    pair: PictureText, files: Sequence[Path], every: int, skip_broken: bool
) -> Iterator[tuple[list[Seen], Any]]:
    """Pictures and their vectors, some at a time, so that a long film fits into memory.

    Raises:
        DataError: a picture that cannot be read, or none that can.
    """
    pictures = read_all(files, every, _warn if skip_broken else None)
    some = list(islice(pictures, _PORTION))
    if not some:
        raise DataError("no picture could be read")
    while some:
        yield some, pair.pictures([seen.picture for seen in some])
        some = list(islice(pictures, _PORTION))


def _rounded(cosines: Any) -> list[list[float]]:
    """To the six digits that do not depend on the machine."""
    return [[round(value, 6) for value in row] for row in cosines.clamp(-1, 1).tolist()]


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


def _place(seen: Seen) -> Row:
    return {"picture": str(seen.path), "frame": seen.frame}


def _name(row: Row) -> str:
    return row["picture"] if row["frame"] is None else f"{row['picture']} frame {row['frame']}"


def _short(text: str, most: int = _WIDEST, *, end: bool = False) -> str:
    """As much of a text as a column has room for, of its beginning or of its end."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    return f"…{text[1 - most :]}" if end else f"{text[: most - 1]}…"

"""What the tool learn teaches the built-in model, beside diffusers' example of textual inversion.

    python benchmarks/learning.py [--preset learn_my_toy] [--steps N] [--json FILE]

A word is learned twice from the same pictures and captions, from the same first rows and seed, with
as many steps of as many pictures: by the tool, and by the algorithm of diffusers' example
(learning_reference.py). Printed as a Markdown table are, for the initial word and for both:

- the probability that a classifier which has seen no generated picture gives to the thing. It is
  trained on the real drawings of the emoji model's things, with the new thing's as one class more;
- in how many pictures the background has the colour that the prompt asks for;
- similarity and editability by the pair of picture and text, as the tool gives them, from seeds
  that no training has looked at;
- steps a second, without looks at pictures: of 25 steps at a time, in turn, the lower quartile
  of their times, as other programs on the machine only add to them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from platformdirs import user_cache_path

from emoji_classifier import Classifier, fit_drawing, read_classifier
from emoji_evaluation import Painter, choose_things, well_drawn_things
from emoji_quality import at_least, describe_machine, output_file, read_split
from learning_measures import Figures, as_drawings, measure, table
from learning_reference import Item, Recipe
from learning_turns import quiet_seconds, reference
from sdcreative import Job, SdcreativeError, Studio, UsageError
from sdcreative.models.addons.embedding_files import read_embedding
from sdcreative.models.addons.embedding_installing import install
from sdcreative.presets.loading import load_preset
from sdcreative.presets.validation import validate
from sdcreative_plugins.train.inversion.data import Picture, read_pictures, variants
from sdcreative_plugins.train.inversion.job import run_learn
from sdcreative_plugins.train.inversion.judging import Judge
from sdcreative_plugins.train.inversion.rows import initial_rows
from sdcreative_plugins.train.inversion.settings import LearnSettings, MadeData, PictureFolder
from sdcreative_plugins.train.tuning.buckets import Placement
from sdcreative_plugins.train.tuning.latents import fit

Report = Callable[[str], None]
JUDGED = 1000
"""first seed of the pictures that both are judged by"""


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", default="learn_my_toy", help="what is learned (learn_my_toy)")
    add("--steps", type=at_least(1), help="of both trainings; the preset's if left out")
    add("--rate", type=float, default=5e-4, help="of the reference, for one picture (5e-4)")
    add("--seeds", type=at_least(1), default=8, help="pictures of a word, and of each colour (8)")
    add("--things", type=at_least(0), default=100, help="things the classifier knows beside (100)")
    add("--classifier-steps", type=at_least(1), default=1500, help="its training (1500)")
    add("--cache", type=Path, help="folder of the drawings; the user's if left out")
    add("--json", type=output_file, help="write the figures here")
    return parser.parse_args(arguments)


def read_settings(options: argparse.Namespace, folder: Path) -> LearnSettings:
    """Of the preset; the training's files lie in ``folder``.

    Raises:
        UsageError: a preset without pictures of its own, or for a style.
    """
    settings = validate(load_preset(options.preset, plugin="learn"), LearnSettings)
    if isinstance(settings.data, MadeData) or settings.kind != "object":
        raise UsageError(
            f"{options.preset}: learns no thing from pictures; give a preset that does"
        )
    changes: dict[str, object] = {
        "output": str(folder / "word.safetensors"),
        "cache": str(folder / "cache"),
        "device": "cpu",
    }
    if options.steps is not None:
        changes["schedule"] = settings.schedule.model_copy(update={"steps": options.steps})
    return settings.model_copy(update=changes)


def pictures_of(settings: LearnSettings, report: Report) -> list[Picture]:
    data = settings.data
    folder = Path(data.folder).expanduser() if isinstance(data, PictureFolder) else None
    return read_pictures(settings, folder, report)


def items_of(pictures: Sequence[Picture], settings: LearnSettings, side: int) -> list[Item]:
    """The reference's data: the tool's own, but for mirrored ones, as it mirrors at random."""
    plain = settings.model_copy(update={"mirror": False})
    items = []
    for number, picture in enumerate(pictures):
        whole = Placement(picture.rgba.size, (side, side), 0, 0, (side, side))
        for one in variants(picture, number, whole, plain):
            shown = np.asarray(fit(one.example.open(), one.placement), dtype=np.float32)
            pixels = torch.from_numpy(shown.transpose(2, 0, 1).copy()) / 127.5 - 1
            items.append(Item(pixels, one.example.captions))
    return items


def read_things(
    options: argparse.Namespace, pictures: Sequence[Picture], thing: str, report: Report
) -> Classifier:
    """A classifier of the emoji model's things and the new one."""
    cache = (options.cache or user_cache_path("sdcreative")).expanduser()
    training, held_out = read_split("train_emoji", None, 64, cache)
    drawings = [*training, *held_out]
    names = set(choose_things(well_drawn_things(drawings), options.things))
    known = [fit_drawing(one, 64) for one in drawings if one.name in names]
    new = as_drawings([np.array(one.rgba) for one in pictures], thing, 64)
    return read_classifier(
        [*known, *new], options.classifier_steps, cache, torch.device("cpu"), report
    )


def run(options: argparse.Namespace, report: Report) -> dict[str, Figures]:
    """Learn twice, measure, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings(options, Path(folder))
        token, plan = settings.token, settings.schedule
        pictures = pictures_of(settings, report)
        classifier = read_things(options, pictures, token, report)
        studio = Studio.load(settings.model, device="cpu", dtype="float32")
        parts = studio.parts
        items = items_of(pictures, settings, studio.size[0])
        [began] = initial_rows(parts, settings.initial, settings.vectors, report)
        recipe = Recipe(plan.steps, plan.batch * plan.accumulate, options.rate, seed=plan.seed)
        with reference(settings.model, token, began, items, recipe) as beside:
            job = Job(overwrite=False, dry_run=False, report=beside.after(report))
            run_learn(settings, job)
            theirs = beside.rows(report)
        ours = list(read_embedding(Path(settings.file)).per_encoder)
    looks = settings.judge.model_copy(update={"seeds": min(16, options.seeds)})
    plain = [one.rgba for one in pictures]
    judge = Judge(parts, token, settings.initial, [on_white(one) for one in plain], looks, JUDGED)
    painter = Painter(studio, 7.5, 20, "DPM++ 2M", None)
    figures = {
        f"initial word: {settings.initial}": measure(
            painter, classifier, settings.initial, token, options.seeds, (0.0, 1.0)
        )
    }
    found = {
        "learn": (ours, quiet_seconds(beside.ours)),
        "diffusers' example": ([theirs], quiet_seconds(beside.theirs)),
    }
    for label, (rows, each) in found.items():
        verdict = judge.look(plan.steps, rows)
        with install(parts, [(token, rows)]):
            figures[label] = measure(
                painter,
                classifier,
                token,
                token,
                options.seeds,
                (verdict.similarity, verdict.editability),
                each,
            )
    print(table(figures))
    if options.json:
        document = {
            "machine": describe_machine(torch.device("cpu")),
            "steps": plan.steps,
            "batch": plan.batch * plan.accumulate,
            "seconds": {"learn": beside.ours, "diffusers' example": beside.theirs},
            "figures": {label: asdict(one) for label, one in figures.items()},
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return figures


def on_white(rgba: Image.Image) -> Image.Image:
    """What a transparent picture looks like on white."""
    ground = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(ground, rgba).convert("RGB")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        run(options, lambda line: print(line, file=sys.stderr, flush=True))
    except SdcreativeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

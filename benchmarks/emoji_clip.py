"""How well a pair of picture and text names drawings of emoji, of 291 names in all.

    python benchmarks/emoji_clip.py [--pair emoji] [--model emoji] [--json FILE]

Each picture is compared with "a picture of a X" for every name X, and the name that fits best is
taken, as `sdcreative classify` does it. Measured are

- drawings held out of training as the training preset holds them out, each placed eight times;
- the same on backgrounds of all colours;
- drawings that were trained on;
- pictures that the model makes of "a picture of a X", with the tools' own settings.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from platformdirs import user_cache_path
from torch import Tensor

from emoji_classifier import Guesses
from emoji_evaluation import (
    HELD_OUT_PLACEMENTS,
    Painter,
    choose_things,
    prompt_for,
    spread,
    well_drawn_things,
)
from emoji_measures import Recognition, composed, recognise
from emoji_quality import at_least, describe_machine, output_file, read_split
from sdcreative import SdcreativeError, Studio
from sdcreative.models.clip.loading import load_pair
from sdcreative.models.clip.pair import PictureText

TRAINED = 400


class Namer:
    """Names pictures by the text that fits each best."""

    def __init__(self, pair: PictureText, names: Sequence[str]) -> None:
        self.pair, self.names = pair, tuple(names)
        self.texts = pair.texts([prompt_for(name) for name in names])

    def guess(self, pixels: Tensor) -> Guesses:
        """The five likeliest names, best first, of each picture (N, 3, H, W) in [-1, 1]."""
        values = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        vectors = self.pair.pictures([Image.fromarray(np.ascontiguousarray(v)) for v in values])
        best = self.pair.logits(vectors, self.texts).topk(min(5, len(self.names))).indices
        return [tuple(self.names[i] for i in row) for row in best.tolist()]


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--pair", default="emoji", help="built-in name, folder or hub id of what names them")
    add("--model", default="emoji", help="built-in name, folder or hub id of what paints")
    add("--preset", default="train_emoji_clip", help="how the pair was trained: what is held out")
    add("--things", type=at_least(0), default=100, help="things to paint (100)")
    add("--seeds", type=at_least(1), default=2, help="pictures of each (2)")
    add("--guidance", type=float, default=7.5, help="guidance scale (7.5)")
    add("--steps", type=at_least(1), default=20, help="sampling steps (20)")
    add("--cache", type=Path, help="folder of the drawings; the user's if left out")
    add("--json", type=output_file, help="write the figures here")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> dict[str, Recognition]:
    """Measure, print, write."""
    began = time.perf_counter()
    cache = (options.cache or user_cache_path("sdcreative")).expanduser()
    pair = load_pair(options.pair, device="cpu")
    training, held_out = read_split(options.preset, None, 64, cache)
    names = sorted({drawing.name for drawing in [*training, *held_out]})
    namer = Namer(pair, names)
    placed = len(held_out) * HELD_OUT_PLACEMENTS
    trained = spread(training, TRAINED)
    shown = {
        "drawings held out": (held_out, composed(held_out, placed)),
        "held out, on colours": (held_out, composed(held_out, placed, white=0.0)),
        "drawings trained on": (trained, composed(trained, len(trained))),
    }
    figures = {
        label: recognise(
            namer.guess(pixels), [(d.name,) for d in drawings] * (len(pixels) // len(drawings))
        )
        for label, (drawings, pixels) in shown.items()
    }
    if options.things:
        studio = Studio.load(options.model)
        painter = Painter(studio, options.guidance, options.steps, "DPM++ 2M", None)
        things = choose_things(well_drawn_things([*training, *held_out]), options.things)
        asked = [name for name in things for _ in range(options.seeds)]
        pixels = painter.paint([prompt_for(name) for name in asked], range(len(asked)))
        figures[f"pictures by {options.model}"] = recognise(
            namer.guess(pixels), [(name,) for name in asked]
        )
    seconds = time.perf_counter() - began
    print(f"{options.pair}: {len(names)} names; {seconds:.0f} s")
    for label, figure in figures.items():
        print(f"{label:24}  {figure}")
    if options.json:
        document = {
            "machine": describe_machine(torch.device("cpu")),
            "seconds": round(seconds, 1),
            "figures": {label: asdict(figure) for label, figure in figures.items()},
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        run(options)
    except SdcreativeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

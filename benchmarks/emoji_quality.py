"""Quality of a text-to-image model of the emoji drawings.

    python benchmarks/emoji_quality.py [--model emoji] [--json FILE] [--sheet FILE.png]

Measured, with drawings held out as the training preset holds them out:

- the autoencoder's PSNR on held-out drawings, as training measures it;
- things: a classifier trained here on the real drawings, never on the model's text or image
  tower, names pictures of "a picture of a X". Only X itself counts, though some things look
  alike. To compare with: held-out real drawings, whose style of their thing the classifier has
  not seen, and training drawings sent through the model's autoencoder, the best that a model
  with this autoencoder can reach;
- backgrounds: things on a colour they were never shown on in training, and, with the same
  noise, on one they were shown on;
- the distance to the nearest training drawing: RMS of pixels in [0, 1], both cropped to the
  drawing. "Copies" are training drawings placed anew and sent through the autoencoder; a picture
  closer than the median of theirs counts as memorised, as half of the copies do by definition.
  With a poor autoencoder held-out drawings do too: read the three lines together;
- bear and apple, with the seeds 0, 1, 2, ...
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from platformdirs import user_cache_path

from emoji_classifier import BATCH, Report, fit_drawing, read_classifier
from emoji_evaluation import Evaluation, Painter, describe_misses, draw_sheet
from sdcreative import SdcreativeError, Studio, UsageError
from sdcreative.presets import load_preset, validate
from sdcreative_plugins.train.emoji import read_emoji
from sdcreative_plugins.train.pictures import Drawing, split_held_out
from sdcreative_plugins.train.settings import EmojiData, TrainSettings


def describe_machine(device: torch.device) -> dict[str, str | int]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", "replace").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none",
        "torch": torch.__version__,
    }


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="emoji", help="built-in name, folder or hub id")
    add("--preset", default="train_emoji", help="how it was trained: groups, what is held out")
    add("--groups", nargs="+", help="groups it was trained on, if not the preset's")
    add("--size", type=at_least(32), default=64, help="pixels the classifier works at (64)")
    add("--prompts", type=at_least(1), default=100, help="things asked for (100)")
    add("--seeds", type=at_least(1), default=4, help="pictures of each thing (4)")
    add("--pairs", type=at_least(0), default=50, help="things on backgrounds (50)")
    add("--favourite-seeds", type=at_least(1), default=8, help="bears, and apples (8)")
    add("--guidance", type=float, default=7.5, help="guidance scale (7.5)")
    add("--steps", type=at_least(1), default=20, help="sampling steps (20)")
    add("--sampler", default="DPM++ 2M", help="sampler (DPM++ 2M)")
    add("--batch-size", type=at_least(1), help="pictures denoised together")
    add("--device", default="auto", help="auto, cpu, mps or cuda")
    add("--cache", type=Path, help="folder of drawings and classifier; the user's if left out")
    add("--classifier-steps", type=at_least(1), default=2000, help=f"batches of {BATCH} (2000)")
    add("--json", type=output_file, help="write all figures and guesses here")
    add("--sheet", type=output_file, help="write the generated pictures here, as one picture")
    return parser.parse_args(arguments)


def at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r}: give a whole number of at least {least}")
        return int(text)

    return parse


def output_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: give a file in a folder that exists")
    return path


def read_split(
    preset: str, groups: Sequence[str] | None, size: int, cache: Path
) -> tuple[list[Drawing], list[Drawing]]:
    """The drawings that a training by the preset learns from, and those it holds out.

    Raises:
        UsageError: a preset for other pictures, or one that holds nothing out.
        DataError: the drawings cannot be fetched or rendered, or a group is unknown.
    """
    settings = validate(load_preset(preset, plugin="train"), TrainSettings)
    if not isinstance(settings.data, EmojiData):
        raise UsageError(f"{preset}: trains on other pictures; give a preset with 'source: emoji'")
    drawings = read_emoji(cache, size, groups or settings.data.groups, settings.data.hold_out_pairs)
    training, held_out = split_held_out(drawings, settings.hold_out_every)
    if not held_out:
        raise UsageError(f"{preset}: holds no drawings out; set hold_out_every, as in 50")
    return training, held_out


def run(options: argparse.Namespace, report: Report) -> None:
    """Measure, print the table, write the files."""
    cache = (options.cache or user_cache_path("sdcreative")).expanduser()
    began = time.perf_counter()
    studio = Studio.load(options.model, device=options.device)
    device = torch.device(studio.parts.device)
    training, held_out = read_split(options.preset, options.groups, studio.size[0], cache)
    fitted = [fit_drawing(d, options.size) for d in training]
    classifier = read_classifier(fitted, options.classifier_steps, cache, device, report)
    trained = time.perf_counter()
    report(f"classifier: ready after {trained - began:.0f} s")
    painter = Painter(studio, options.guidance, options.steps, options.sampler, options.batch_size)
    evaluation = Evaluation(painter, classifier, training, held_out)
    evaluation.run(options.prompts, options.seeds, options.pairs, options.favourite_seeds)
    machine = describe_machine(device)
    seconds = {
        "classifier": round(trained - began, 1),
        "evaluation": round(time.perf_counter() - trained, 1),
    }
    print_table(evaluation, options, {**machine, **seconds})
    if options.json:
        document = {
            "settings": vars(options),
            "machine": machine,
            "seconds": seconds,
            "drawings": {"training": len(training), "held_out": len(held_out)},
            "figures": {label: asdict(figure) for label, figure in evaluation.figures.items()},
            "guesses": evaluation.guesses,
        }
        options.json.write_text(json.dumps(document, indent=1, default=str) + "\n", "utf-8")
    if options.sheet:
        columns = options.seeds * max(1, 16 // options.seeds)
        draw_sheet(evaluation.sheet, columns).save(options.sheet)


def print_table(
    evaluation: Evaluation, options: argparse.Namespace, facts: Mapping[str, object]
) -> None:
    side = evaluation.painter.studio.size[0]
    print(
        f"{options.model}, {side} px, {options.sampler}, {options.steps} steps, "
        f"guidance {options.guidance:g}; {len(evaluation.training)} drawings of "
        f"{len(evaluation.classifier.things)} things, {len(evaluation.held_out)} held out"
    )
    print("; ".join(f"{key} {value}" for key, value in facts.items()))
    width = max(map(len, evaluation.figures))
    for label, figure in evaluation.figures.items():
        print(f"{label:{width}}  {figure}")
    polar = sum(
        guess[0] == "polar bear"
        for label, guesses in evaluation.guesses.items()
        if label.startswith("bear, seeds")
        for guess in guesses
    )
    print(f"bears taken for polar bears, not counted: {polar}")
    things = {k: v for k, v in evaluation.guesses.items() if k in evaluation.names}
    misses = describe_misses(things)
    print(f"never in the top 5 (taken for): {', '.join(misses) or 'none'}")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        run(options, lambda text: print(text, file=sys.stderr, flush=True))
    except SdcreativeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Quality of a text-to-music model of the composed clips.

    python benchmarks/riff_quality.py --model FOLDER [--json FILE] [--sheet FILE.png]
    python benchmarks/riff_quality.py                  # the yardsticks alone
    python benchmarks/riff_quality.py --model FOLDER --smoke

Measured on the pictures that the model makes, with clips held out as the training preset holds
them out:

- the autoencoder's error on held-out clips, of the pictures and of the magnitudes in them;
- bands: pictures of "funk with a guitar solo, 104 bpm", all genres with all leads. A classifier
  trained here on the real training clips, never on the model's text or image tower, names the
  instrument in front, the genre, and all instruments that it hears; the tempo is the strongest
  one in the autocorrelation of onsets, right within 4 %, half and double told beside it;
- solos: pictures of "a flute solo";
- the same of held-out clips, which says what classifier and tempo can do, and of held-out clips
  sent through the autoencoder, the best that a model with this autoencoder can reach. Their leads
  may play in another genre's manner, and "all clips" has solos whose genre cannot be told;
- chance: how often a picture suits what was asked of another picture; for tempi, of another
  picture of the same genre;
- the distance to the nearest training clip: RMS of loudness in [0, 1], both shrunk to 64x24.
  "Copies" are training clips sent through the autoencoder; a picture closer than 95 % of them
  counts as memorised. Patterns repeat in composed clips, so that some held-out ones do too, and
  with a poor autoencoder most of them do: read the three lines together.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from platformdirs import user_cache_path

from emoji_classifier import Report
from emoji_evaluation import Painter
from emoji_quality import at_least, describe_machine, output_file
from riff_classifier import BATCH, compose_labels, read_classifier
from riff_evaluation import Evaluation
from sdcreative import SdcreativeError, Studio, UsageError
from sdcreative.presets import load_preset, validate
from sdcreative_plugins.train.clips import ClipPictures
from sdcreative_plugins.train.pictures import split_held_out
from sdcreative_plugins.train.riff import TAIL_SECONDS, read_riff
from sdcreative_plugins.train.settings import RiffData, TrainSettings
from sdcreative_plugins.train.sheets import tile
from sdcreative_plugins.train.sources import spectrogram_params

SMOKE = {
    "clips": 640,
    "prompts": 4,
    "seeds": 1,
    "solo_seeds": 1,
    "references": 12,
    "steps": 2,
    "classifier_steps": 3,
}
SHEET_COLUMNS = 4


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", help="folder, built-in name or hub id; without it the yardsticks are measured")
    add("--preset", default="train_riff", help="how it was trained: clips, what is held out")
    add("--clips", type=at_least(50), help="how many clips, if not the preset's")
    add("--prompts", type=at_least(1), default=99, help="bands asked for (99, which is all)")
    add("--seeds", type=at_least(1), default=2, help="pictures of each band (2)")
    add("--solo-seeds", type=at_least(1), default=8, help="pictures of each solo (8)")
    add("--references", type=at_least(1), default=480, help="held-out clips beside them (480)")
    add("--guidance", type=float, default=7.5, help="guidance scale (7.5)")
    add("--steps", type=at_least(1), default=20, help="sampling steps (20)")
    add("--sampler", default="DPM++ 2M", help="sampler (DPM++ 2M)")
    add("--batch-size", type=at_least(1), help="pictures denoised together")
    add("--device", default="auto", help="auto, cpu, mps or cuda")
    add("--cache", type=Path, help="folder of clips and classifier; the preset's or the user's")
    add("--classifier-steps", type=at_least(1), default=700, help=f"batches of {BATCH} (700)")
    add("--json", type=output_file, help="write all figures here")
    add("--sheet", type=output_file, help="write the generated pictures here, as one picture")
    add("--smoke", action="store_true", help="few of everything: whether it runs, in a minute")
    options = parser.parse_args(arguments)
    if options.smoke:
        vars(options).update(SMOKE)
    return options


def read_settings(preset: str, clips: int | None, cache: Path | None) -> TrainSettings:
    """The settings of the training, with another number of clips or cache folder if given.

    Raises:
        UsageError: a preset for other pictures, or one that holds nothing out.
    """
    settings = validate(load_preset(preset, plugin="train"), TrainSettings)
    if not isinstance(settings.data, RiffData):
        raise UsageError(f"{preset}: trains on other pictures; give a preset with 'source: riff'")
    if not settings.hold_out_every:
        raise UsageError(f"{preset}: holds no clips out; set hold_out_every, as in 50")
    folder = cache or Path(settings.data.cache or user_cache_path("sdcreative"))
    given = {"cache": str(folder.expanduser()), "clips": clips or settings.data.clips}
    return settings.model_copy(update={"data": settings.data.model_copy(update=given)})


def load_painter(options: argparse.Namespace, size: tuple[int, int]) -> Painter | None:
    """The model, if one is given.

    Raises:
        UsageError: it makes pictures of another size than the clips'.
    """
    if options.model is None:
        return None
    studio = Studio.load(options.model, device=options.device)
    if studio.size != size:
        raise UsageError(
            f"{options.model}: makes pictures of {studio.size[0]}x{studio.size[1]}, the clips of "
            f"{options.preset} are {size[0]}x{size[1]}; give the preset that it was trained with"
        )
    return Painter(studio, options.guidance, options.steps, options.sampler, options.batch_size)


def run(options: argparse.Namespace, report: Report) -> None:
    """Measure, print the table, write the files."""
    settings = read_settings(options.preset, options.clips, options.cache)
    painter = load_painter(options, settings.shape)
    device = torch.device(painter.studio.parts.device if painter else "cpu")
    data, params = settings.data, spectrogram_params(settings)
    cache = Path(data.cache)
    clips = read_riff(data, params, settings.shape[0], cache, report)
    training, held_out = split_places(clips, settings.hold_out_every)
    seconds = params.seconds(settings.shape[0]) + TAIL_SECONDS
    label = partial(compose_labels, seed=data.seed, seconds=seconds)
    began = time.perf_counter()
    classifier = read_classifier(
        clips, training, label, options.classifier_steps, cache, device, report
    )
    trained = time.perf_counter()
    report(f"classifier: ready after {trained - began:.0f} s")
    evaluation = Evaluation(painter, classifier, clips, training, held_out, label)
    evaluation.run(options.prompts, options.seeds, options.solo_seeds, options.references)
    machine = describe_machine(device)
    took = {
        "classifier": round(trained - began, 1),
        "evaluation": round(time.perf_counter() - trained, 1),
    }
    print_table(evaluation, options, {**machine, **took})
    if options.json:
        document = {
            "settings": vars(options),
            "machine": machine,
            "seconds": took,
            "clips": {"training": len(training), "held_out": len(held_out)},
            "figures": {label: asdict(figure) for label, figure in evaluation.figures.items()},
        }
        options.json.write_text(json.dumps(document, indent=1, default=str) + "\n", "utf-8")
    if options.sheet and evaluation.sheet:
        tile(torch.cat(evaluation.sheet), SHEET_COLUMNS).save(options.sheet)


def split_places(clips: ClipPictures, every: int) -> tuple[list[int], list[int]]:
    """Places of the clips that a training learns from, and of those that it holds out."""
    training, held_out = split_held_out(range(len(clips)), every)
    return list(training), list(held_out)


def print_table(
    evaluation: Evaluation, options: argparse.Namespace, facts: Mapping[str, object]
) -> None:
    """Figures of the same measure stand together, in the order in which the first one was found."""
    made = f"{options.sampler}, {options.steps} steps, guidance {options.guidance:g}"
    print(
        f"{f'{options.model}, {made}' if options.model else 'no model'}; "
        f"{len(evaluation.training)} clips, {len(evaluation.held_out)} held out"
    )
    print("; ".join(f"{key} {value}" for key, value in facts.items()))
    measures = list(dict.fromkeys(label.partition(",")[0] for label in evaluation.figures))
    width = max(map(len, evaluation.figures))
    for measure in measures:
        for label, figure in evaluation.figures.items():
            if label.partition(",")[0] == measure:
                print(f"{label:{width}}  {figure}")


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

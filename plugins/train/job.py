"""The stages of training in order, each resumed where it stopped, ending in a diffusers folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from sdcreative.errors import OutputError, UsageError
from sdcreative.models.building import read_part
from sdcreative.tools import Job

from .autoencoder import AutoencoderObjective
from .clip import ClipObjective
from .emoji import read_emoji
from .loop import train
from .noise_schedule import scheduler_config
from .pictures import Drawing, read_folder, split_held_out
from .settings import EmojiData, TrainSettings, UnetStage
from .unet import UnetObjective
from .vocabulary import read_tokenizer

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
}


def run_training(settings: TrainSettings, job: Job) -> None:
    """Train the stages that the settings hold; the others come from ``start_from``.

    Raises:
        UsageError: a stage needs a part that neither the settings nor ``start_from`` give.
        DataError: pictures or captions that cannot be used, or a loss that became NaN.
        OutputError: the output folder holds another, finished model.
    """
    output = Path(settings.output).expanduser()
    stages = [name for name in ("autoencoder", "clip", "unet") if getattr(settings, name)]
    base = _base_folder(settings)
    _check_parts(settings, base)
    if job.dry_run:
        for name in stages:
            plan = getattr(settings, name).schedule
            count = plan.steps * plan.batch * plan.accumulate
            job.report(f"{name}: {plan.steps} steps of {plan.batch * plan.accumulate}, {count} samples")
        return
    _claim(output, settings, job.overwrite)
    drawings = _read_data(settings)
    training, held_out = split_held_out(drawings, settings.hold_out_every)
    job.report(f"{len(training)} drawings to train on, {len(held_out)} held out")
    trainer = _Trainer(settings, job, output, base, training, held_out)
    for name in stages:
        getattr(trainer, name)()
    _finish(output, base, settings.unet)
    job.report(f"model written to {output}; use it with --model {output}")


class _Trainer:
    def __init__(
        self,
        settings: TrainSettings,
        job: Job,
        output: Path,
        base: Path | None,
        training: Sequence[Drawing],
        held_out: Sequence[Drawing],
    ) -> None:
        self.settings, self.job, self.output, self.base = settings, job, output, base
        self.training, self.held_out = training, held_out
        self.accelerator = Accelerator(
            mixed_precision=settings.precision, cpu=settings.device == "cpu"
        )

    def autoencoder(self) -> None:
        stage = self.settings.autoencoder
        objective = AutoencoderObjective(
            stage,
            self.settings.size,
            self.training,
            self.held_out,
            self.accelerator.device,
            self._start("vae"),
        )
        self._train("autoencoder", stage.schedule, objective)

    def clip(self) -> None:
        stage = self.settings.clip
        objective = ClipObjective(
            stage,
            self.settings.size,
            self.training,
            self.held_out,
            self.accelerator.device,
            self.output / "tokenizer",
        )
        self._train("clip", stage.schedule, objective)

    def unet(self) -> None:
        stage = self.settings.unet
        objective = UnetObjective(
            stage,
            self.training,
            read_part(self._folder("vae")),
            read_part(self._folder("text_encoder")),
            read_tokenizer(self._folder("tokenizer")),
            self.accelerator.device,
            self.output / "training" / "unet",
            self.job.report,
            self._start("unet"),
        )
        self._train("unet", stage.schedule, objective)

    def _train(self, name: str, schedule: Any, objective: Any) -> None:
        run = self.output / "training" / name
        train(objective, schedule, run, self.accelerator, self.job.report)
        if self.accelerator.is_main_process:
            objective.save(self.output)
        self.accelerator.wait_for_everyone()

    def _folder(self, part: str) -> Path:
        """The part trained here if there is one, else that of the model started from."""
        here = self.output / part
        return here if here.is_dir() or self.base is None else self.base / part

    def _start(self, part: str) -> nn.Module | None:
        return None if self.base is None else read_part(self.base / part)


def _base_folder(settings: TrainSettings) -> Path | None:
    if settings.start_from is None:
        return None
    from sdcreative.models.sources import fetch, resolve

    return fetch(resolve(settings.start_from))


def _check_parts(settings: TrainSettings, base: Path | None) -> None:
    if settings.unet is None or base is not None:
        return
    for name, part in (("autoencoder", "vae"), ("clip", "text_encoder")):
        if getattr(settings, name) is None and not (Path(settings.output) / part).is_dir():
            raise UsageError(
                f"unet: training needs a {part}; add the stage '{name}' or set start_from to a model"
            )


def _read_data(settings: TrainSettings) -> list[Drawing]:
    data = settings.data
    if isinstance(data, EmojiData):
        from platformdirs import user_cache_path

        cache = Path(data.cache) if data.cache else user_cache_path("sdcreative")
        return read_emoji(cache.expanduser(), settings.size, data.groups, data.hold_out_pairs)
    return read_folder(Path(data.folder).expanduser(), settings.size, data.captions)


def _claim(output: Path, settings: TrainSettings, overwrite: bool) -> None:
    """Record the settings; a folder of other settings is kept unless told otherwise."""
    record = output / "training" / "settings.json"
    wanted = settings.model_dump(mode="json", exclude={"output"})
    if record.is_file():
        if json.loads(record.read_text("utf-8")) != wanted and not overwrite:
            raise OutputError(
                f"{output}: holds a training with other settings; choose another output, "
                "or pass --overwrite to go on from it with these"
            )
    elif (output / "model_index.json").is_file() and not overwrite:
        raise OutputError(f"{output}: holds a model; choose another output or pass --overwrite")
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror})") from error


def _finish(output: Path, base: Path | None, unet: UnetStage | None) -> None:
    """Complete the model folder with the parts that were not trained."""
    if base is not None:
        for part in ("vae", "text_encoder", "tokenizer", "unet", "scheduler"):
            if not (output / part).exists():
                shutil.copytree(base / part, output / part)
    if unet is not None:
        target = output / "scheduler" / "scheduler_config.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(scheduler_config(unet), indent=2) + "\n", encoding="utf-8")
    if all((output / part).is_dir() for part in ("vae", "text_encoder", "tokenizer", "unet")):
        (output / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n", "utf-8")

"""The stages of training in order, each resumed where it stopped, ending in a diffusers folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from sdcreative import Job, UsageError
from sdcreative.models.building import read_part, read_scheduler_config, read_tokenizer
from sdcreative.models.sources import fetch, resolve

from .autoencoder import AutoencoderObjective
from .clip import clip_objective
from .finishing import finish
from .loop import train
from .no_text import without_text, write_no_text
from .noise_schedule import NoiseSchedule, noise_schedule
from .perceptual import perceptual
from .pictures import Drawing, split_held_out
from .running import accelerator_for, check_output, locked
from .settings import TrainSettings
from .sources import check_base, describe_data, describe_model, read_data
from .unet import UnetObjective

STAGES = ("autoencoder", "clip", "unet")
# What says where things are, not what is trained.
PLACES = {
    "output": True,
    "device": True,
    "offline": True,
    "data": {"cache", "soundfont", "workers"},
}


def run_training(settings: TrainSettings, job: Job) -> None:
    """Train the stages that the settings hold; the others come from ``start_from``.

    Raises:
        UsageError: a stage needs a part that neither the settings nor ``start_from`` give.
        ModelError: ``start_from`` is no model, or a broken one.
        DataError: pictures or captions that cannot be used, or a loss that became NaN.
        OutputError: the output folder holds another model, or is being trained in.
    """
    output = Path(settings.output).expanduser()
    stages = [name for name in STAGES if getattr(settings, name)]
    source = None
    if settings.start_from is not None:
        source = resolve(settings.start_from, offline=settings.offline)
        if source.file is not None:
            raise UsageError(
                f"start_from: {source.file} is a single file; training goes on from a folder in "
                "the format of diffusers"
            )
    _check_parts(settings, output, None if source is None else source.folder)
    check_output(output, settings, PLACES, job.overwrite)
    if job.dry_run:
        _describe(settings, stages, job.report)
        return
    accelerator = accelerator_for(settings.precision, settings.device, job.report)
    report = job.report if accelerator.is_main_process else _say_nothing
    with locked(output, accelerator):
        with accelerator.main_process_first():
            base = None if source is None else fetch(source, settings.offline)
            _check_parts(settings, output, base)
            check_base(settings, base)
            drawings = read_data(settings, report)
        training, held_out = split_held_out(drawings, settings.hold_out_every)
        if accelerator.is_main_process:
            _record(output, settings)
        report(f"{len(training)} pictures to train on, {len(held_out)} held out")
        trainer = _Trainer(settings, accelerator, report, output, base, training, held_out)
        for name in stages:
            getattr(trainer, name)()
        if accelerator.is_main_process:
            finish(output, base, trainer.schedule, settings.unet, trainer.classes)
            describe_model(output, drawings)
        accelerator.wait_for_everyone()
    if accelerator.num_processes > 1:
        accelerator.end_training()
    if (output / "model_index.json").is_file():
        report(f"model written to {output}; {_use(output)}")
    else:
        report(f"{', '.join(stages)} written to {output}; train the other stages to use it")


class _Trainer:
    """A method per stage; each finds what the ones before it have written."""

    def __init__(
        self,
        settings: TrainSettings,
        accelerator: Accelerator,
        report: Callable[[str], None],
        output: Path,
        base: Path | None,
        training: Sequence[Drawing],
        held_out: Sequence[Drawing],
    ) -> None:
        self.settings, self.accelerator, self.report = settings, accelerator, report
        self.output, self.base = output, base
        self.training, self.held_out = training, held_out
        self.schedule: NoiseSchedule | None = None
        self.classes: tuple[str, ...] = ()

    def autoencoder(self) -> None:
        stage: Any = self.settings.autoencoder
        with self.accelerator.main_process_first():
            compared = perceptual(stage, offline=self.settings.offline)
        objective = AutoencoderObjective(
            stage,
            max(self.settings.shape),
            self.training,
            self.held_out,
            self.accelerator.device,
            self._start("vae"),
            compared,
        )
        self._train("autoencoder", stage.schedule, objective)

    def clip(self) -> None:
        stage: Any = self.settings.clip
        with self.accelerator.main_process_first():
            tokenizer = self.output / "tokenizer"
            if self.base is not None and not (tokenizer / "vocab.json").is_file():
                shutil.copytree(self.base / "tokenizer", tokenizer, dirs_exist_ok=True)
            objective = clip_objective(
                stage,
                stage.size or min(self.settings.shape),
                self.training,
                self.held_out,
                self.accelerator.device,
                tokenizer,
                self._start("clip"),
            )
        self._train("clip", stage.schedule, objective)

    def unet(self) -> None:
        stage: Any = self.settings.unet
        config = None if self.base is None else read_scheduler_config(self.base)
        self.schedule = noise_schedule(stage, config)
        with self.accelerator.main_process_first():
            if without_text(self.settings):
                write_no_text(self.output)
            objective = UnetObjective(
                stage,
                self.training,
                read_part(self._folder("vae")),
                read_part(self._folder("text_encoder")),
                read_tokenizer(self._folder("tokenizer")),
                self.accelerator.device,
                self.output / "training" / "unet",
                self.report,
                None if stage.fresh else self._start("unet"),
                self.schedule,
                self.held_out,
            )
        self.classes = objective.classes
        self._train("unet", stage.schedule, objective)

    def _train(self, name: str, schedule: Any, objective: Any) -> None:
        count = sum(p.numel() for m in objective.modules.values() for p in m.parameters())
        self.report(f"{name}: {count / 1e6:.2f} million parameters, {schedule.steps} steps")
        run = self.output / "training" / name
        train(objective, schedule, run, self.accelerator, self.report)
        if self.accelerator.is_main_process:
            objective.save(self.output)
        self.accelerator.wait_for_everyone()

    def _folder(self, part: str) -> Path:
        """The part trained here if there is one, else that of the model started from."""
        here = self.output / part
        return here if here.is_dir() or self.base is None else self.base / part

    def _start(self, part: str) -> nn.Module | None:
        if self.base is None:
            return None
        self.report(f"{part}: on from {self.base / part}, in its own shape")
        part_started_from: nn.Module = read_part(self.base / part)
        return part_started_from


def _use(output: Path) -> str:
    if (output / "conditions.json").is_file():
        return f"sample from it with the tool sample and model: {output}"
    return f"use it with --model {output}"


def _say_nothing(line: str) -> None:
    pass


def _check_parts(settings: TrainSettings, output: Path, base: Path | None) -> None:
    """Before anything long: does every stage find what it builds on?"""
    if settings.clip and base is not None and not (base / "clip").is_dir():
        raise UsageError(
            f"clip: {settings.start_from} has no folder clip/ to go on from, only its text half; "
            "leave out the clip stage, or start_from"
        )
    if settings.unet is None or settings.start_from is not None:
        return
    needed = (("autoencoder", "vae"), ("clip", "text_encoder"))
    for name, part in needed[:1] if without_text(settings) else needed:
        if getattr(settings, name) is None and not (output / part).is_dir():
            raise UsageError(
                f"unet: training needs a {part}; add the stage '{name}', "
                "or set start_from to a model"
            )


def _describe(settings: TrainSettings, stages: Sequence[str], report: Any) -> None:
    describe_data(settings, report)
    for name in stages:
        plan = getattr(settings, name).schedule
        batch, count = plan.batch * plan.accumulate, settings.processes
        each = f" in each of {count} processes" if count > 1 else ""
        report(f"{name}: {plan.steps} steps of {batch}{each}, {plan.steps * batch * count} samples")


def _record(output: Path, settings: TrainSettings) -> None:
    wanted = settings.model_dump(mode="json", exclude={"output"})
    text = json.dumps(wanted, indent=2) + "\n"
    (output / "training" / "settings.json").write_text(text, encoding="utf-8")

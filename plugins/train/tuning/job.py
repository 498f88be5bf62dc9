"""One tuning from beginning to end: data, model, training, files, and what came of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from sdcreative import DataError, Job, UsageError, model_facts
from sdcreative.models.digests import model_digest
from sdcreative.models.loading import load_parts
from sdcreative.models.opening import open_model
from sdcreative.models.places import ModelPlace
from sdcreative.models.sources import fetch, resolve

from ..curve import draw_curve
from ..loop import train
from ..running import accelerator_for, check_output, locked
from .data import Data, cache_folder, gather
from .latents import Latents
from .looks import Looks, awake, move
from .lora import TEXT_ENCODERS, Lora, add_lora
from .lora_files import choose_format, describe, write_lora
from .noising import Noising
from .objective import TuningObjective
from .outcome import tell_outcome
from .saving import write_model
from .settings import FinetuneSettings
from .store import Store, write_whole
from .texts import Texts

# What says where things are, not what is trained.
PLACES = {"output", "device", "offline", "cache"}


def run_finetune(settings: FinetuneSettings, job: Job) -> None:
    """Tune a model on pictures; an unfinished tuning in the output folder goes on.

    Raises:
        UsageError: settings that do not go with the model.
        ModelError: no model, or a broken one.
        DataError: pictures or captions that cannot be used, or a loss that became NaN.
        OutputError: the output folder holds something else, or is being trained in.
    """
    output = Path(settings.output).expanduser()
    path = fetch(resolve(settings.model, offline=settings.offline), settings.offline)
    place = ModelPlace(path, settings.prediction_type)
    _check_model(settings, place)
    check_output(output, settings, PLACES, job.overwrite)
    cache = cache_folder(settings)
    digest = model_digest(place, cache / "models.json")
    facts = model_facts(
        settings.model, offline=settings.offline, prediction_type=settings.prediction_type
    )
    if job.dry_run:
        gather(settings, place, facts, digest, job.report, dry_run=True)
        plan = settings.schedule
        job.report(f"finetune: {plan.steps} steps of {plan.batch * plan.accumulate} pictures")
        return
    accelerator = accelerator_for(settings.precision, settings.device, job.report)
    report = job.report if accelerator.is_main_process else _say_nothing
    with locked(output, accelerator):
        with accelerator.main_process_first():
            data = gather(settings, place, facts, digest, report)
        if data is None:
            raise DataError("there are no pictures")
        if accelerator.is_main_process:
            text = json.dumps(settings.model_dump(mode="json", exclude={"output"}), indent=2)
            write_whole(output / "training" / "settings.json", f"{text}\n".encode())
        _Tuning(settings, accelerator, report, output, place, digest, data, job).run()


class _Tuning:
    """What one tuning holds together."""

    def __init__(
        self,
        settings: FinetuneSettings,
        accelerator: Accelerator,
        report: Callable[[str], None],
        output: Path,
        place: ModelPlace,
        digest: str,
        data: Data,
        job: Job,
    ) -> None:
        self.settings, self.accelerator, self.report = settings, accelerator, report
        self.output, self.place, self.digest, self.data, self.job = (
            output, place, digest, data, job
        )  # fmt: skip
        self.run_folder = output / "training" / "finetune"
        self.parts: Any = None
        self.lora: Lora | None = None

    def run(self) -> None:
        settings, accelerator = self.settings, self.accelerator
        self.parts = self._load()
        trained_text = TEXT_ENCODERS if settings.text_encoders else ()
        resting = ["vae", *(name for name in TEXT_ENCODERS if name not in trained_text)]
        move(self.parts, [self.parts.family.denoiser, *trained_text], accelerator.device)
        with accelerator.main_process_first(), awake(self.parts, resting):
            texts, training, held_out, prior = self._encoded()
        if settings.lora is not None:
            self.lora = add_lora(self.parts, settings.lora, settings.schedule.seed)
        if settings.gradient_checkpointing:
            self._checkpoint_gradients(trained_text)
        shown = [one.captions[0] for one in (held_out or training).examples]
        prompts = settings.sheet.prompts or shown[: settings.sheet.count]
        common = Counter(one.bucket for one in training.placements).most_common(1)[0][0]
        objective = TuningObjective(
            settings,
            self.parts,
            self.lora,
            Noising(self.parts.prediction_type, self.parts.scheduler_config),
            texts,
            training,
            held_out,
            prior,
            Looks(self.parts, settings.sheet, prompts, common, resting),
            self._keep,
        )
        count = sum(
            number.numel()
            for module in objective.modules.values()
            for number in module.parameters()
            if number.requires_grad
        )
        self.report(f"finetune: {count / 1e6:.2f} million numbers are trained")
        measured = self.run_folder / "measured.jsonl"
        if accelerator.is_main_process and not measured.is_file():
            first = {"step": 0, **objective.measure()}
            write_whole(measured, (json.dumps(first) + "\n").encode())
        train(objective, settings.schedule, self.run_folder, accelerator, self.report)
        if accelerator.is_main_process:
            self._finish(held_out is not None)
        accelerator.wait_for_everyone()

    def _load(self) -> Any:
        import torch

        parts = load_parts(self.place, device=torch.device("cpu"), dtype=torch.float32)
        return replace(parts, device=self.accelerator.device)

    def _encoded(self) -> tuple[Texts, Latents, Latents | None, Latents | None]:
        settings, data, folder = self.settings, self.data, cache_folder(self.settings)
        store = Store(folder / "latents" / self.digest)
        words = None if settings.text_encoders else Store(folder / "texts" / self.digest)
        texts = Texts(self.parts, settings.clip_skip, words)
        sets = [
            Latents(*both, store) if both is not None and both[0] else None
            for both in (data.training, data.held_out, data.prior)
        ]
        made = sum(one.prepare(self.parts, self.report) for one in sets if one is not None)
        captions = ["", *(text for one in sets if one for e in one.examples for text in e.captions)]
        read = texts.prepare(captions)
        if made or read:
            self.report(f"finetune: {made} pictures and {read} captions encoded: {folder}")
        training, held_out, prior = sets
        if training is None:
            raise DataError("no pictures are left to train on; set hold_out_every: 0")
        return texts, training, held_out, prior

    def _checkpoint_gradients(self, trained_text: tuple[str, ...]) -> None:
        self.parts.denoiser.enable_gradient_checkpointing()
        for name in trained_text:
            encoder = getattr(self.parts, name)
            if encoder is not None:
                encoder.gradient_checkpointing_enable()
                encoder.train()

    def _keep(self) -> None:
        """Write the LoRA as it is, so that the last one measured is on disk if training ends."""
        method = self.settings.lora
        if self.lora is None or method is None:
            return
        training, buckets = self.data.training, Counter()
        for one in training[1]:
            buckets["{}x{}".format(*one.bucket)] += 1
        title = self.output.resolve().name
        said = {}
        if self.job.metadata:
            said = describe(
                self.settings,
                self.parts,
                title=title,
                digest=self.digest,
                pictures=len(training[0]),
                buckets=dict(buckets),
                resolution=self.data.shape,
            )
        form = choose_format(self.parts.family.name, method.format)
        target = self.output / f"{title}.safetensors"
        write_lora(target, self.lora, self.parts, form, method.weights, said)

    def _finish(self, held_out: bool) -> None:
        measured, settings = self.run_folder / "measured.jsonl", self.settings
        rows = [json.loads(line) for line in measured.read_text("utf-8").splitlines()]
        losses = [{"step": row["step"], "loss": row["validation_loss"]} for row in rows]
        curve = self.run_folder / "validation.jsonl"
        write_whole(curve, "".join(json.dumps(row) + "\n" for row in losses).encode())
        draw_curve(curve, self.run_folder / "validation.png", "validation")
        if settings.full is not None:
            write_model(self.parts, self.place.path, self.output, settings.full.weights)
            self.report(f"model written to {self.output}; --model {self.output}")
        else:
            self._keep()
            self.report(f"LoRA written to {self.output / self.output.resolve().name}.safetensors")
        tell_outcome(rows, self.run_folder / "summary.json", self.report, held_out=held_out)


def _say_nothing(line: str) -> None:
    pass


def _check_model(settings: FinetuneSettings, place: ModelPlace) -> None:
    """Before anything long: can this model be tuned so?"""
    model = open_model(place)
    family = model.family
    latents = model.configs["vae"].get("latent_channels", 4)
    if model.configs[family.denoiser].get("in_channels", latents) == 2 * latents + 1:
        raise UsageError(
            f"{settings.model} is an inpainting model, which is tuned with masks; take the "
            "ordinary one of its family, LoRAs fit both"
        )
    if settings.lora is not None:
        choose_format(family.name, settings.lora.format)
    if family.name == "sd3" and settings.loss.min_snr_gamma is not None:
        raise UsageError(
            "loss.min_snr_gamma is for models of diffusion; leave it out for Stable Diffusion 3, "
            "whose timesteps are drawn where they matter"
        )

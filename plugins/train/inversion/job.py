"""One word from beginning to end: data, model, training, file, and whether it was learned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from PIL import Image

from sdcreative import DataError, Job, OutputError, UsageError, load_pair
from sdcreative.models.addons.embedding_files import read_embedding
from sdcreative.models.digests import model_digest
from sdcreative.models.loading import load_parts
from sdcreative.models.opening import open_model
from sdcreative.models.places import ModelPlace
from sdcreative.models.sources import fetch, resolve

from ..running import accelerator_for, locked
from ..tuning.buckets import Placement
from ..tuning.latents import Latents
from ..tuning.looks import awake, move
from ..tuning.store import Store, write_whole
from .curve import write_curve
from .data import Picture, Variant, variants
from .files import describe, write_older, write_word
from .judging import Judge, choose_pair
from .loop import Training
from .objective import WordObjective
from .rows import Rows, check_word, initial_rows, rows_of, text_encoders
from .settings import LearnSettings
from .sound_settings import SoundFolder
from .sounds import hearing_of
from .summary import summarise, vocabularies
from .survey import Survey, cache_folder
from .texts import WordTexts
from .verdicts import Cosines, Verdict

# What says where things are, not what is trained.
PLACES = {"output", "device", "offline", "cache", "also", "licence"}
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def run_learn(settings: LearnSettings, job: Job) -> None:
    """Learn a word; an unfinished training beside the output goes on.

    Raises:
        UsageError: settings that do not go with the model, or a word that it has.
        ModelError: no model, or a broken one, or an embedding of another family.
        DataError: pictures or captions that cannot be used, or a loss that became NaN.
        OutputError: the output is there already, or cannot be written.
    """
    path = fetch(resolve(settings.model, offline=settings.offline), settings.offline)
    place = ModelPlace(path, settings.prediction_type)
    _check_model(settings, place)
    output = Path(settings.file).expanduser()
    folder = output.with_suffix("") / "training"
    _check_output(output, folder, settings, job.overwrite)
    cache = cache_folder(settings)
    digest = model_digest(place, cache / "models.json")
    survey = Survey(settings, place, digest, job.report)
    pictures, placements = survey.look(dry_run=job.dry_run)
    plan = settings.schedule
    if job.dry_run:
        job.report(f"learn: {plan.steps} steps of {plan.batch * plan.accumulate} pictures")
        return
    accelerator = accelerator_for(settings.precision, settings.device, job.report)
    with locked(folder.parent, accelerator):
        _Learning(settings, job, accelerator, place, digest, output, folder).run(
            pictures, placements
        )


@dataclass(frozen=True)
class _Learning:
    """What one training holds together."""

    settings: LearnSettings
    job: Job
    accelerator: Accelerator
    place: ModelPlace
    digest: str
    output: Path
    folder: Path

    def run(self, pictures: Sequence[Picture], placements: Sequence[Placement]) -> None:
        settings, report = self.settings, self.job.report
        parts = self._load()
        began = self._first_rows(parts)
        check_word(parts, settings.token, began)
        rows = Rows(began).to(self.accelerator.device)
        sets = [
            variants(picture, number, placement, settings)
            for number, (picture, placement) in enumerate(zip(pictures, placements, strict=True))
        ]
        with awake(parts, ["vae"]):
            latents = self._encoded(parts, sets)
        texts = WordTexts(parts, rows, settings.token, settings.clip_skip)
        objective = WordObjective(settings, parts, rows, texts, sets, latents)
        for active in range(1 if settings.progressive else rows.count, rows.count + 1):
            texts.prepare([text for some in objective.captions for text in some], active)
        judge = self._judge(parts, sets, placements)
        numbers = sum(one.numel() for one in rows.parameters())
        report(
            f"learn: {settings.token} is {rows.count} vector(s), {numbers} numbers; "
            f"{len(pictures)} pictures in {len(latents.examples)} variants"
        )
        # Not before: what was refused until here may come again with other settings.
        text = json.dumps(settings.model_dump(mode="json", exclude={"output"}), indent=2)
        write_whole(self.folder / "settings.json", f"{text}\n".encode())
        training = Training(objective, self.folder, self.accelerator, judge.look, report)
        try:
            state = training.run()
        except DataError as error:
            self._write(parts, training)
            raise DataError(
                f"{error}. The last good word is in {self.output}, of step {_step_of(training)}"
            ) from error
        if state.enough:
            report(f"learn: ended at step {state.step}, as looks brought nothing better")
        self._write(parts, training)
        self._tell(parts, training, began)

    def _load(self) -> Any:
        """The model where it computes; its denoiser as precise as wanted, the rest in float32."""
        dtype = DTYPES[self.accelerator.mixed_precision]
        parts = load_parts(self.place, device=torch.device("cpu"), dtype=dtype)
        parts = replace(parts, device=self.accelerator.device)
        names = ["text_encoder", "text_encoder_2"]
        for encoder, _ in text_encoders(parts):
            encoder.float()
        move(parts, [parts.family.denoiser, *names], self.accelerator.device)
        if self.settings.gradient_checkpointing:
            # Both do it only while they are said to be in training; neither has dropout then.
            parts.denoiser.enable_gradient_checkpointing()
            parts.denoiser.train()
            for encoder, _ in text_encoders(parts):
                encoder.gradient_checkpointing_enable()
                encoder.train()
        return parts

    def _first_rows(self, parts: Any) -> list[torch.Tensor]:
        settings = self.settings
        if settings.start_from is not None:
            path = Path(settings.start_from).expanduser()
            found = rows_of(read_embedding(path), parts)
            if settings.vectors not in (None, len(found[0])):
                raise UsageError(
                    f"start_from: {path} has {len(found[0])} vectors, not {settings.vectors}; "
                    "leave out vectors"
                )
            return found
        return initial_rows(parts, settings.initial, settings.vectors, self.job.report)

    def _encoded(self, parts: Any, sets: Sequence[Sequence[Variant]]) -> Latents:
        flat = [one for some in sets for one in some]
        store = Store(cache_folder(self.settings) / "latents" / self.digest)
        latents = Latents([one.example for one in flat], [one.placement for one in flat], store)
        made = latents.prepare(parts, self.job.report)
        if made:
            self.job.report(f"learn: {made} pictures encoded: {store.folder}")
        return latents

    def _judge(
        self, parts: Any, sets: Sequence[Sequence[Variant]], placements: Sequence[Placement]
    ) -> Judge:
        settings = self.settings
        size = placements[0].bucket
        pair: Any
        if isinstance(settings.data, SoundFolder):
            pair = hearing_of(parts, settings, size)
        else:
            name = choose_pair(settings.judge.pair, self.place.path)
            pair = load_pair(name, device=self.accelerator.device.type, offline=settings.offline)
        return Judge(
            parts,
            settings.token,
            settings.initial,
            [some[0].example.open() for some in sets],
            settings.judge,
            kind=settings.kind,
            pair=pair,
            size=size,
            resting=["vae"],
        )

    def _write(self, parts: Any, training: Training) -> None:
        settings, word = self.settings, training.word()
        said: Mapping[str, str] = {}
        if self.job.metadata:
            said = describe(
                settings.token,
                word,
                step=_step_of(training),
                model=self.place.path.stem,
                digest=self.digest,
                prediction=parts.prediction_type,
                licence=settings.licence,
                preset=settings.model_dump(mode="json", exclude={"cache"}, exclude_defaults=True),
            )
        write_word(self.output, settings.token, word, said)
        written = [self.output]
        for form in settings.also:
            written.append(write_older(self.output, form, settings.token, word, said))
        self.job.report(f"{settings.token} written to {', '.join(map(str, written))}")

    def _tell(self, parts: Any, training: Training, began: Sequence[torch.Tensor]) -> None:
        """The curve, and whether it learned."""
        settings, state = self.settings, training.state
        lines = (self.folder / "measured.jsonl").read_text("utf-8").splitlines()
        looks = [json.loads(line) for line in lines]
        kept = state.figures if settings.keep_best else looks[-1]
        write_curve(self.folder / "curve.png", looks, settings.token, int(kept["step"]))
        word = training.word()
        summary = summarise(
            settings.token,
            settings.initial,
            _verdict(kept, self.folder),
            word,
            [one[: len(word[0])] for one in began],
            vocabularies(parts),
        )
        document = {**summary.document(), "figures": kept, "steps": state.step}
        text = json.dumps(document, indent=2, ensure_ascii=False)
        write_whole(self.folder / "summary.json", f"{text}\n".encode())
        first = looks[0]["validation_loss"]
        self.job.report(
            f"loss on the training pictures, same noise: {first:.4f} -> "
            f"{kept['validation_loss']:.4f}"
        )
        for line in summary.lines():
            self.job.report(line)


def _step_of(training: Training) -> int:
    state = training.state
    return state.best.step if training.settings.keep_best and state.best.rows else state.step


def _verdict(figures: Mapping[str, float], folder: Path) -> Verdict:
    """A look by what was written of it."""
    step = int(figures["step"])
    with Image.open(folder / f"sheet_{step:07d}.png") as sheet:
        sheet.load()
        cosines = Cosines(figures["likeness"], figures["fit"], figures["without"])
        return Verdict(step, figures["similarity"], figures["editability"], cosines, sheet)


def _check_model(settings: LearnSettings, place: ModelPlace) -> None:
    """Before anything long: can this model be taught a word?"""
    model = open_model(place)
    family = model.family
    if family.name not in ("sd", "sdxl"):
        raise UsageError(
            f"{settings.model} is of the family {family.title}, which learns no words so; take "
            "Stable Diffusion 1 or 2, SDXL, or the built-in model"
        )
    latents = model.configs["vae"].get("latent_channels", 4)
    if model.configs[family.denoiser].get("in_channels", latents) == 2 * latents + 1:
        raise UsageError(
            f"{settings.model} is an inpainting model; learn the word with the ordinary one of its "
            "family, it works with both"
        )


def _check_output(output: Path, folder: Path, settings: LearnSettings, overwrite: bool) -> None:
    """A training of other settings, and a finished file of others, are kept unless told so."""
    if output.is_dir():
        raise OutputError(f"{output}: is a folder; give the name of a file")
    if overwrite:
        return
    record = folder / "settings.json"
    if record.is_file():
        if _recorded(record) != settings.model_dump(mode="json", exclude=PLACES):
            raise OutputError(
                f"{folder}: holds a training with other settings; choose another output, or pass "
                "--overwrite to go on from it with these"
            )
    elif output.exists():
        raise OutputError(f"{output} is there already; choose another output or pass --overwrite")


def _recorded(record: Path) -> dict[str, Any] | None:
    """Settings as they were recorded; what this version added has its default."""
    try:
        values = json.loads(record.read_text("utf-8"))
        return LearnSettings.model_validate(values).model_dump(mode="json", exclude=PLACES)
    except (OSError, ValueError, TypeError):
        return None

"""Train latent-diffusion models: autoencoder, CLIP pair, conditional U-Net."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from sdcreative import UsageError, hookimpl

if TYPE_CHECKING:
    from sdcreative import Job, JobTool

    from .inversion.settings import LearnSettings
    from .sample_settings import SampleSettings
    from .settings import TrainSettings
    from .tuning.settings import FinetuneSettings

SUMMARY = "train a model from captioned pictures"
FINETUNE = "tune a model on your own pictures: a LoRA, or all of its weights"
LEARN = "teach a model a word for a thing or a style from a few pictures (textual inversion)"
LEARN_ALIAS = "the same as learn"
SAMPLE = "pictures of a trained model of classes, or of one that enlarges"


@hookimpl
def sdcreative_summaries() -> dict[str, str]:
    return {
        "train": SUMMARY,
        "finetune": FINETUNE,
        "learn": LEARN,
        "textual-inversion": LEARN_ALIAS,
        "sample": SAMPLE,
    }


@hookimpl
def sdcreative_tools() -> list[JobTool]:
    from sdcreative import JobTool

    from .inversion.settings import LearnSettings
    from .sample_settings import SampleSettings
    from .settings import TrainSettings
    from .tuning.settings import FinetuneSettings

    return [
        JobTool("train", SUMMARY, TrainSettings, _run),
        JobTool("finetune", FINETUNE, FinetuneSettings, _tune),
        JobTool("learn", LEARN, LearnSettings, _learn, ".safetensors"),
        JobTool("textual-inversion", LEARN_ALIAS, LearnSettings, _learn, ".safetensors"),
        JobTool("sample", SAMPLE, SampleSettings, _sample),
    ]


def _run(settings: TrainSettings, job: Job) -> None:
    if find_spec("accelerate") is None:
        raise UsageError("training needs accelerate: pip install 'sdcreative[train]'")
    from .launch import is_launched, run_in_processes

    if settings.processes > 1 and not job.dry_run and not is_launched():
        run_in_processes(settings, job)
        return
    from .job import run_training

    run_training(settings, job)


def _tune(settings: FinetuneSettings, job: Job) -> None:
    if find_spec("accelerate") is None:
        raise UsageError("training needs accelerate: pip install 'sdcreative[train]'")
    from .tuning.job import run_finetune

    run_finetune(settings, job)


def _learn(settings: LearnSettings, job: Job) -> None:
    if find_spec("accelerate") is None:
        raise UsageError("training needs accelerate: pip install 'sdcreative[train]'")
    from .inversion.job import run_learn

    run_learn(settings, job)


def _sample(settings: SampleSettings, job: Job) -> None:
    from .sample import run_sampling

    run_sampling(settings, job)

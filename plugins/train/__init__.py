"""Train latent-diffusion models: autoencoder, CLIP pair, conditional U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcreative import hookimpl

if TYPE_CHECKING:
    from sdcreative import Job, JobTool

    from .settings import TrainSettings

SUMMARY = "train a model from captioned pictures"


@hookimpl
def sdcreative_summaries() -> dict[str, str]:
    return {"train": SUMMARY}


@hookimpl
def sdcreative_tools() -> list[JobTool]:
    from sdcreative import JobTool

    from .settings import TrainSettings

    return [JobTool("train", SUMMARY, TrainSettings, _run)]


def _run(settings: TrainSettings, job: Job) -> None:
    from .job import run_training

    run_training(settings, job)

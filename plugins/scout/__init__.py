"""Scouting: which seeds a walk may pass through smoothly, or fit a text best, and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcreative import hookimpl

if TYPE_CHECKING:
    from sdcreative import Job, JobTool

    from .settings import ScoutSettings

SUMMARY = "find seeds, and an order of them, for a smooth seed walk"


@hookimpl
def sdcreative_summaries() -> dict[str, str]:
    return {"scout": SUMMARY}


@hookimpl
def sdcreative_tools() -> list[JobTool]:
    from sdcreative import JobTool

    from .settings import ScoutSettings

    return [JobTool("scout", SUMMARY, ScoutSettings, _run)]


def _run(settings: ScoutSettings, job: Job) -> None:
    from .job import scout

    scout(settings, job)

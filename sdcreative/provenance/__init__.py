"""What a finished file says of its making: written into it, read out of it, made a preset again."""

from .differences import Change, differences
from .preset_text import another_output, preset_text, resolve
from .reading import read_provenance
from .record import Provenance, describe_run, kept_settings, library_versions
from .writing import job_tags, tags

__all__ = [
    "Change",
    "Provenance",
    "another_output",
    "describe_run",
    "differences",
    "job_tags",
    "kept_settings",
    "library_versions",
    "preset_text",
    "read_provenance",
    "resolve",
    "tags",
]

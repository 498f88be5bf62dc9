"""Where runs, finished frames and locks are kept."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

VARIABLE = "SDCREATIVE_HOME"
FRAMES, RUNS = "frames", "runs"


def home() -> Path:
    """The folder that SDCREATIVE_HOME names, else the user's data folder; need not exist yet."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else user_data_path("sdcreative")


def frames_folder() -> Path:
    """Finished frames of all runs."""
    return home() / FRAMES


def runs_folder() -> Path:
    """A folder per run."""
    return home() / RUNS


def music_folder() -> Path:
    """Music of films, each file named as its run."""
    return home() / "music"


def locks_folder() -> Path:
    """Locks of outputs that are being written."""
    return home() / "locks"


def previews_folder() -> Path:
    """Quick decoders of models, a few kilobytes each."""
    return home() / "previews"


def models_file() -> Path:
    """Digests of models, so that their weights are read once."""
    return home() / "models.json"

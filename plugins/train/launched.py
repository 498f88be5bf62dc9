"""One of several processes of a training: ``python -m sdcreative_plugins.train.launched PLAN``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sdcreative import Job, SdcreativeError

from .settings import TrainSettings


def main(plan: Path) -> int:
    """Train as the plan says; an error is left in the file that it names. Returns an exit code."""
    from .job import run_training

    said = json.loads(plan.read_text("utf-8"))
    settings = TrainSettings.model_validate(said["settings"])
    try:
        run_training(settings, Job(said["overwrite"], False, lambda line: print(line, flush=True)))
    except SdcreativeError as error:
        fault = Path(said["fault"])
        # The first to fail says why; the others fail because it did.
        if not fault.exists():
            text = json.dumps({"kind": type(error).__name__, "message": str(error)})
            fault.write_text(text, encoding="utf-8")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

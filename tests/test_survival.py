"""Power cuts: a film whose process is killed twenty times is the film of one that was left alone.

A child tells its parent at every point where it could be killed, and goes on when it may; the
parent kills it at a point drawn at random. Children are forked from one process that has imported
everything, so that they start in no time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdcreative.runs.store import FrameStore

PRESET = """
plugin: animate
keyframes: [a picture of a bear, a picture of a red apple, a picture of a cat]
frames: 36
steps: 2
inbetween: 1
batch_size: 4
device: cpu
"""
KILLED = """
import os, random, signal, sys
import torch
torch.set_num_threads(1)
import diffusers, transformers
import sdcreative.produce, sdcreative.renderer, sdcreative.studio
from sdcreative.cli import main
from sdcreative.runs import kept, store

preset, output, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
drawn = random.Random(11)

def child(tell, go):
    def point(honest):
        def told(*args, **options):
            os.write(tell, b".")
            os.read(go, 1)
            return honest(*args, **options)
        return told
    store.sync = point(store.sync)                       # written, not yet renamed
    kept.KeptFrames.keep = point(kept.KeptFrames.keep)   # made, not yet written
    os.replace = point(os.replace)              # a manifest about to change
    try:
        main(["animate", preset, "-o", output])
    except SystemExit as done:
        os._exit(done.code)

killed = 0
for number in range(rounds):
    tell, go = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(tell[0]); os.close(go[1])
        child(tell[1], go[0])
    os.close(tell[1]); os.close(go[0])
    for _ in range(drawn.randint(1, 7)):
        if not os.read(tell[0], 1):
            break
        os.write(go[1], b".")
    os.kill(pid, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    os.close(tell[0]); os.close(go[1])
print("killed", killed)
"""


def execute(script: list[str], home: Path) -> str:
    environment = {**os.environ, "SDCREATIVE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *script],
        env=environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_twenty_times_is_as_good_as_never(tmp_path: Path) -> None:
    preset = tmp_path / "film.yaml"
    preset.write_text(PRESET, encoding="utf-8")
    command = ["-m", "sdcreative", "animate", str(preset), "-o"]
    execute([*command, "whole.mp4"], tmp_path / "whole")

    home = tmp_path / "killed"
    said = execute(["-c", KILLED, str(preset), "killed.mp4", "20"], home)
    assert "killed 20\n" in said
    there = sum(1 for _ in FrameStore(home / "frames"))
    assert 5 < there < 36
    said = execute([*command, "killed.mp4"], home)
    assert f"{there} of 36 frames are there already" in said

    frames = [
        {path.name: path.read_bytes() for path in (tmp_path / name / "frames").rglob("*.png")}
        for name in ("whole", "killed")
    ]
    assert frames[0] == frames[1]
    assert (tmp_path / "killed.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()

"""Memory does not grow with the number of frames."""

from __future__ import annotations

from pathlib import Path

from forked_commands import Commands

SCRIPT = """
import resource
from sdcreative import Blend, Noise, Shot, Studio, Timeline

def film(count):
    shots = (Shot(Blend("a bear", "an apple", i / count), Noise(1)) for i in range(count))
    for picture in studio.render(Timeline(lambda: shots, count, steps=1, size=(32, 32))):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

studio = Studio.load("emoji", device="cpu")
print(film(40), film(240))
"""


def test_240_frames_take_no_more_than_40(commands: Commands, tmp_path: Path) -> None:
    done = commands.run(cwd=tmp_path, script=SCRIPT)
    assert done.returncode == 0, done.stderr
    short, long = map(int, done.stdout.split())
    assert long <= 1.1 * short

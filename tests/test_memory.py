"""Memory does not grow with the number of frames."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource
from sdcreative import Blend, Noise, Shot, Studio, Timeline

def film(count):
    shots = (Shot(Blend("a bear", "an apple", i / count), Noise(1)) for i in range(count))
    for picture in studio.render(Timeline(lambda: shots, count, steps=1)):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

studio = Studio.load("emoji", device="cpu")
print(film(40), film(240))
"""


def test_240_frames_take_no_more_than_40() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    short, long = map(int, result.stdout.split())
    assert long <= 1.1 * short

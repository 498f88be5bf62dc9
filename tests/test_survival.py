"""Power cuts and Ctrl-C: a film that was stopped however often is the film of one left alone.

A child tells its parent at every point where it could be killed, and goes on when it may; the
parent kills it at a point drawn at random.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from forked_commands import Commands
from sdcreative.media.writers import count_frames
from sdcreative.runs.store import FrameStore

PRESET = """
plugin: animate
keyframes: [a picture of a bear, a picture of a red apple, a picture of a cat]
frames: 36
steps: 2
inbetween: 1
batch_size: 4
size: 32
device: cpu
"""
KILLED = """
import os, random, signal, sys
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


STOPPED = """
import os, shutil, signal, sys, threading, time
from sdcreative.cli import main
from sdcreative.media import sinks, writers
from sdcreative.runs import kept, run

MAIN = threading.main_thread()

def waits(frame):
    return frame and (frame.f_code.co_name == "result" or waits(frame.f_back))

def press():
    while threading.current_thread() is not MAIN and not waits(sys._current_frames()[MAIN.ident]):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

def pressing(owner, name, when=lambda self: True):
    honest = getattr(owner, name)
    def pressed(self, *args, **options):
        if when(self):
            press()
        return honest(self, *args, **options)
    setattr(owner, name, pressed)

POINTS = {
    "waiting": (writers.Writer, "finish"),       # for the pictures in work
    "encoding": (sinks.FilmSink, "close"),       # in the writer's thread
    "reading_back": (sinks.FilmSink, "verify"),
    "naming": (sinks.FilmSink, "publish"),
    "noting": (run.Run, "end"),
    "leaving": (run.Run, "__exit__"),
}

def child(name, point):
    log = os.open(name + ".txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1); os.dup2(log, 2)
    os.environ["SDCREATIVE_HOME"] = os.path.abspath(name)
    if point:
        pressing(kept.KeptFrames, "keep", lambda self: self.made == 9)
        pressing(*POINTS[point])
    try:
        main(["animate", sys.argv[1], "-o", name + ".mp4"])
    except SystemExit as done:
        sys.stdout.flush()
        os._exit(done.code)

def film(name, point=None):
    pid = os.fork()
    if not pid:
        child(name, point)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

print("whole", film("whole"), flush=True)
for name in POINTS:
    print(name, film(name, name), flush=True)
    for kind in (".mp4", ".txt"):
        if os.path.exists(name + kind):
            shutil.copy(name + kind, "stopped_" + name + kind)
    os.remove(name + ".txt")
    print("resumed_" + name, film(name), flush=True)
"""


def execute(commands: Commands, home: Path, *words: str, script: str = "") -> str:
    done = commands.run(*words, cwd=home.parent, script=script, SDCREATIVE_HOME=str(home))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_twenty_times_is_as_good_as_never(commands: Commands, tmp_path: Path) -> None:
    preset = tmp_path / "film.yaml"
    preset.write_text(PRESET, encoding="utf-8")
    command = ["animate", str(preset), "-o"]
    execute(commands, tmp_path / "whole", *command, "whole.mp4")

    home = tmp_path / "killed"
    said = execute(commands, home, str(preset), "killed.mp4", "20", script=KILLED)
    assert "killed 20\n" in said
    there = sum(1 for _ in FrameStore(home / "frames"))
    assert 5 < there < 36
    said = execute(commands, home, *command, "killed.mp4")
    assert f"{there} of 36 frames are there already" in said

    frames = [
        {path.name: path.read_bytes() for path in (tmp_path / name / "frames").rglob("*.png")}
        for name in ("whole", "killed")
    ]
    assert frames[0] == frames[1]
    assert (tmp_path / "killed.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "film.yaml"
    path.write_text(PRESET, encoding="utf-8")
    return path


def resumed(commands: Commands, said: str, home: Path) -> str:
    """Goes on as the command that was printed says."""
    found = re.search(r"^go on with: sdcreative (runs resume \S+)$", said, re.MULTILINE)
    assert found, said
    return execute(commands, home, *found[1].split())


def sound_frames(home: Path) -> int:
    """How many frames are kept; every one of them is sound."""
    store = FrameStore(home / "frames")
    keys = list(store)
    assert all(store.read(key) is not None for key in keys)
    return len(keys)


def test_ctrl_c_ends_with_a_film_of_what_is_there(
    commands: Commands, tmp_path: Path, preset: Path
) -> None:
    execute(commands, tmp_path / "whole", "animate", str(preset), "-o", "whole.mp4")
    home = tmp_path / "home"
    frames = FrameStore(home / "frames")
    words = ("animate", str(preset), "-o", "film.mp4")
    command = commands.start(*words, cwd=tmp_path, SDCREATIVE_HOME=str(home))
    while not command.ended() and sum(1 for _ in frames) < 8:
        time.sleep(0.001)
    os.kill(command.pid, signal.SIGINT)
    done = command.wait()
    said = done.stdout
    assert (done.returncode, done.stderr.strip()) == (130, "error: stopped by Ctrl-C")
    found = re.search(r"^stopped: (\d+) of 36 frames are kept in film.mp4$", said, re.MULTILINE)
    assert found, said
    assert 0 < int(found[1]) == count_frames(tmp_path / "film.mp4") <= sound_frames(home) < 36
    assert list(tmp_path.glob(".*.part")) == []

    assert "of 36 frames are there already" in resumed(commands, said, home)
    assert (tmp_path / "film.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_ctrl_c_again_breaks_nothing_wherever_it_comes(
    commands: Commands, tmp_path: Path, preset: Path
) -> None:
    said = execute(commands, tmp_path / "unused", str(preset), script=STOPPED)
    ends = dict(line.split() for line in said.splitlines())
    points = {"waiting", "encoding", "reading_back", "naming", "noting", "leaving"}
    assert ends.pop("whole") == "0"
    assert ends == dict.fromkeys(points, "130") | {f"resumed_{point}": "0" for point in points}
    for point in points:
        said = (tmp_path / f"stopped_{point}.txt").read_text("utf-8")
        assert said.endswith("error: stopped by Ctrl-C\n")
        assert "Traceback" not in said
        film = tmp_path / f"stopped_{point}.mp4"
        assert film.exists() == (point != "waiting")
        if film.exists():
            assert 0 < count_frames(film) < 36
        said = (tmp_path / f"{point}.txt").read_text("utf-8")
        found = re.search(r"^(\d+) of 36 frames are there already$", said, re.MULTILINE)
        assert found, said
        assert 9 <= int(found[1]) < 36 == sound_frames(tmp_path / point)
        assert (tmp_path / f"{point}.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert list(tmp_path.glob(".*.part")) == []

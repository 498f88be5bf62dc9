"""Films by several workers are those of one machine, whatever befalls the workers."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from forked_workers import ForkedProcess, frames, pictures, render, settings
from sdcreative import (
    Blend,
    ModelError,
    Noise,
    PluginError,
    RenderError,
    Shot,
    Timeline,
    UsageError,
)
from sdcreative.media.writers import Writer
from sdcreative.runs.kept import Kept, KeptFrames
from sdcreative.runs.run import find_run
from sdcreative.runs.store import FrameStore, frame_file
from sdcreative.spreading import processes, worker
from sdcreative.spreading.driver import Driver
from sdcreative.spreading.messages import Done, Event, Failed, Lost, Made, Order, Ready, Task
from sdcreative.spreading.wanted import Spread, read_spread
from sdcreative.spreading.worker import Worker, failure, raised

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
TWO = Spread(count=2, plugins=False)


def kill_the_first(
    at: type[Event], started: list[ForkedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill the first worker when it is heard: when it is ready and has tasks, or has made a frame.

    A frame that has been made may be the last one of all tasks that it has.
    """
    honest, killed = Driver._deal, []

    def deal(self: Driver, place: int, event: Event) -> None:
        honest(self, place, event)
        if place == 0 and isinstance(event, at) and not killed:
            killed.append(started[0])
            os.kill(started[0].pid, signal.SIGKILL)

    monkeypatch.setattr(Driver, "_deal", deal)


def kill_all_after(
    count: int, started: list[ForkedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill every worker as soon as it is there, but for so many."""
    honest = processes.launch

    def launch(*args: Any) -> Any:
        process = honest(*args)
        if len(started) > count:
            process.kill()
        return process

    monkeypatch.setattr(processes, "launch", launch)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"inbetween": 1, "loop": True, "sampler": "Euler a"},
        {"timing": "perceptual", "probes": 3},
    ],
    ids=lambda changes: next(iter(changes), "plain"),
)
def test_two_workers_make_the_film_of_one_process(
    changes: dict[str, Any], alone: Any, started: list[ForkedProcess]
) -> None:
    made = alone(**changes)
    render("film/", TWO, **changes)
    assert len(started) == 2
    assert (frames(), pictures()) == made


def test_frames_that_several_threads_pack_come_all_and_each_once(
    alone: Any, started: list[ForkedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As beside a GPU."""
    made = alone()
    packing, packed = Barrier(2), []

    def pack(picture: Any) -> bytes:
        packed.append(picture)
        if len(packed) <= 2:
            packing.wait(timeout=20)  # breaks unless two are packed at a time
        return frame_file(picture)

    monkeypatch.setattr(worker, "frame_file", pack)
    monkeypatch.setattr(worker, "keepers", lambda device: 3)
    render("film/", Spread(count=1, plugins=False))
    assert (frames(), pictures()) == made


def test_a_worker_that_is_killed_is_replaced_and_the_film_is_the_same(
    alone: Any, started: list[ForkedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = alone()
    kill_the_first(Ready, started, monkeypatch)
    said = render("film/", TWO)
    assert len(started) == 3
    [lost] = [line for line in said if "lost" in line]
    assert lost.startswith("worker 1 on cpu was lost (killed by signal 9)")
    assert "are made again" in lost
    assert (frames(), pictures()) == made


def test_a_place_where_no_worker_starts_is_done_without(
    alone: Any, started: list[ForkedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = alone()
    kill_all_after(2, started, monkeypatch)  # all that come in place of others
    kill_the_first(Ready, started, monkeypatch)
    said = render("film/", TWO)
    assert (
        "worker 1 on cpu cannot be started (killed by signal 9); the others go on without it"
        in said
    )
    assert len(started) == 5
    assert (frames(), pictures()) == made


def test_workers_that_are_lost_again_and_again_end_the_film_and_what_is_finished_is_kept(
    home: Any, started: list[ForkedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    home("two")
    kill_all_after(1, started, monkeypatch)
    kill_the_first(Made, started, monkeypatch)
    with pytest.raises(RenderError, match=r"was lost \(killed by signal 9\), the third before any"):
        render("two/", TWO)
    assert len(frames()) >= 1
    monkeypatch.undo()


def test_without_a_store_frames_are_held_until_their_turn(
    alone: Any, started: list[ForkedProcess]
) -> None:
    _, made = alone()
    render("film/", TWO, keep=False)
    assert (frames(), pictures()) == ({}, made)


def test_ctrl_c_keeps_what_has_arrived_and_any_number_of_workers_goes_on(
    alone: Any, started: list[ForkedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = alone()
    with monkeypatch.context() as patched:
        taken: list[object] = []
        honest = Writer.add

        def add(self: Writer, picture: Any) -> None:
            if len(taken) == 3:
                raise KeyboardInterrupt
            taken.append(picture)
            honest(self, picture)

        patched.setattr(Writer, "add", add)
        with pytest.raises(KeyboardInterrupt):
            render("film/", TWO)
    assert all(process.wait() for process in started)
    there = len(frames())
    assert 3 <= there <= 9
    assert find_run("last").status == "stopped"
    said = render("film/", replace(TWO, count=3))
    if there < 9:
        assert f"{there} of 9 frames are there already" in said
    assert (frames(), pictures()) == made


def test_a_film_whose_frames_follow_each_other_is_one_workers(
    home: Any, started: list[ForkedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    import forked_workers
    from sdcreative_plugins.feedback import sdcreative_tools
    from sdcreative_plugins.feedback.settings import FeedbackSettings

    monkeypatch.setattr(forked_workers, "sdcreative_tools", sdcreative_tools)

    def told(output: str, **changes: Any) -> FeedbackSettings:
        given = {"prompts": "a bear", "frames": 6, "steps": 2, "device": "cpu", "colours": "lab"}
        return FeedbackSettings(**given, output=output)

    monkeypatch.setattr(forked_workers, "settings", told)
    home("one")
    render("one/")
    alone = frames()
    home("two")
    kill_the_first(Made, started, monkeypatch)
    said = render("two/", TWO)
    assert any("one worker renders this film" in line for line in said)
    assert any(re.search(r"frames ([1-4]-)?5 are made again", line) for line in said)
    assert len(started) == 2
    assert frames() == alone


def order(**changes: Any) -> Order:
    given = settings().model_dump(mode="json", exclude_unset=True)
    plain = Order("animate", given, os.getcwd(), False, "", "", "cpu", "float32")
    return replace(plain, **changes)


def test_other_weights_are_refused(home: Any) -> None:
    home("one")
    with pytest.raises(ModelError, match=r"model 'emoji' is another one on .* not 0123"):
        Worker.load(order(model="0123"))


def test_other_frames_are_refused(home: Any) -> None:
    from sdcreative.models.digests import model_digest
    from sdcreative.models.sources import BUILTIN

    home("one")
    digest = model_digest(BUILTIN / "emoji")
    with pytest.raises(RenderError, match="would render other frames"):
        Worker.load(order(model=digest, frames="0123"))


def test_a_tool_that_is_not_there_is_said() -> None:
    with pytest.raises(PluginError, match="there is no tool 'dream' on"):
        Worker.load(order(tool="dream"))


def test_an_error_is_the_same_one_line_wherever_it_was_raised(
    home: Any, started: list[ForkedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise UsageError("frame 3: strength is 2; give 0 to 1")

    home("two")
    monkeypatch.setattr(worker, "render_part", refuse)
    with pytest.raises(UsageError) as found:
        render("two/", TWO)
    assert str(found.value) == "frame 3: strength is 2; give 0 to 1"


def test_an_unexpected_error_is_one_line_too() -> None:
    told = failure(ZeroDivisionError("division by zero\nmore"))
    assert str(raised(told)).startswith("unexpected ZeroDivisionError: division by zero; ")
    assert isinstance(raised(Failed("UsageError", "x")), UsageError)


def test_flags_are_read_and_refused() -> None:
    assert read_spread("3", None, None).count == 3
    assert read_spread("cuda:0, cpu", None, None).devices == ("cuda:0", "cpu")
    assert read_spread("2", "ray://head:10001", None).ray == "ray://head:10001"
    for given, words in [
        (("0", None, None), "give 1 to"),
        (("gpu7", None, None), "give a number, or devices"),
        (("cpu", "local", None), "with --ray, give a number"),
        ((None, "film.yaml", None), "is no address"),
        ((None, None, "3/2"), "give which of how many"),
        ((None, None, "0/2"), "give which of how many"),
    ]:
        with pytest.raises(UsageError, match=words):
            read_spread(*given)


class Unhurried:
    """An executor whose workers are ready one after another, and have nothing done."""

    places, device = 2, "cpu"

    def __init__(self, *events: tuple[int, Event]) -> None:
        self.events = list(events)
        self.submitted: list[tuple[int, int]] = []
        self.tasks: list[Task] = []

    def start(self, place: int, order: Order) -> None: ...

    def submit(self, place: int, task: Task) -> None:
        self.submitted.append((place, task.number))
        self.tasks.append(task)

    def next(self, wait: bool = True) -> tuple[int, Event] | None:
        if self.events:
            return self.events.pop(0)
        if wait:
            raise KeyboardInterrupt
        return None

    def name(self, place: int) -> str:
        return f"worker {place}"

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("frames", "events", "submitted"),
    [
        # The first to be ready leaves the second of two ranges to the other, which is loading.
        (2, [(0, Ready(1))], [(0, 0)]),
        (2, [(0, Ready(1)), (1, Ready(1))], [(0, 0), (1, 1)]),
        (3, [(0, Ready(1))], [(0, 0), (0, 1)]),
        (9, [(0, Ready(1)), (1, Ready(1))], [(0, 0), (0, 1), (1, 2), (1, 3)]),
        (9, [(0, Ready(1)), (0, Done(0, 1))], [(0, 0), (0, 1), (0, 2)]),
        # What a lost worker had comes first.
        (9, [(0, Ready(1)), (0, Lost("x")), (1, Ready(1))], [(0, 0), (0, 1), (1, 0), (1, 1)]),
    ],
)
def test_tasks_are_handed_out_two_at_a_time_and_fairly(
    frames: int, events: list[tuple[int, Event]], submitted: list[tuple[int, int]]
) -> None:
    executor = Unhurried(*events)
    with pytest.raises(KeyboardInterrupt):
        film_by(executor, frames, Kept()).make()
    assert executor.submitted == submitted


def film_by(executor: Unhurried, frames: int, kept: Kept) -> Driver:
    """A film of so many equal shots."""
    shot = Shot(Blend("a"), Noise(0))
    return Driver(
        executor,
        order(),
        Timeline(lambda: [shot] * frames, frames),
        kept,
        sizes=((64, 64), (64, 64)),
        sure_bytes=30,
        report=lambda line: None,
        on_evaluations=lambda count: None,
    )


def test_the_encoder_does_not_wait_for_half_a_long_film(tmp_path: Path) -> None:
    frames, executor = 12_000, Unhurried((0, Ready(8)), (1, Ready(8)))
    kept = KeptFrames(FrameStore(tmp_path), [f"{n:032x}" for n in range(frames)])
    with pytest.raises(KeyboardInterrupt):
        film_by(executor, frames, kept).make()
    assert [task.wanted for task in executor.tasks] == [
        [[first, first + 599]] for first in (0, 600, 1200, 1800)
    ]


def test_workers_find_no_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cuda"):
        render(spread=Spread(devices=("cuda:99",)))


def test_a_worker_is_a_process_of_its_own(alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = alone()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    render("film/", Spread(count=1, plugins=False))
    assert (frames(), pictures()) == made

"""Runs that are stopped, damaged, changed and gone on with."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdcreative import (
    Blend,
    DataError,
    Frame,
    Noise,
    OutputError,
    RenderError,
    Shot,
    Studio,
    Timeline,
)
from sdcreative.media.writers import Writer, count_frames
from sdcreative.models import vae
from sdcreative.produce import produce
from sdcreative.provenance import read_provenance
from sdcreative.rendering.denoising import Denoiser, Prepared
from sdcreative.runs.home import frames_folder
from sdcreative.runs.run import find_run, list_runs, run_keys
from sdcreative.runs.store import FrameStore
from sdcreative_plugins.animate import sdcreative_tools
from sdcreative_plugins.animate.settings import AnimateSettings

PROMPTS = ["a picture of a bear", "a picture of a red apple", "a picture of a cat"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Studio) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)


@pytest.fixture
def denoised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Indexes of all shots that were denoised, in order."""
    found: list[int] = []
    honest = Denoiser.latents

    def counted(self: Denoiser, shots: Sequence[Prepared]) -> torch.Tensor:
        found.extend(shot.index for shot in shots)
        return honest(self, shots)

    monkeypatch.setattr(Denoiser, "latents", counted)
    return found


def render(output: str = "film/", **changes: Any) -> list[str]:
    """A film of nine frames; what was reported."""
    given = {"keyframes": PROMPTS, "frames": 9, "steps": 2, "seed": 3, "batch_size": 2}
    options = {key: changes.pop(key) for key in ("overwrite", "keep", "metadata") if key in changes}
    lines: list[str] = []
    [tool] = sdcreative_tools()
    produce(
        tool,
        AnimateSettings(**(given | {"device": "cpu", "output": output} | changes)),
        default_name="film",
        dry_run=False,
        report=lines.append,
        **({"overwrite": False} | options),
    )
    return lines


def pictures(folder: str = "film") -> list[bytes]:
    return [Image.open(path).tobytes() for path in sorted(Path(folder).glob("*.png"))]


def stop_after(count: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Have the writer fail once it has taken so many pictures."""
    taken = []
    honest = Writer.add

    def add(self: Writer, picture: Image.Image) -> None:
        if len(taken) == count:
            raise error
        taken.append(picture)
        honest(self, picture)

    monkeypatch.setattr(Writer, "add", add)


def test_a_film_that_is_there_is_encoded_again_without_a_model(
    monkeypatch: pytest.MonkeyPatch, denoised: list[int]
) -> None:
    render()
    assert denoised == list(range(9))

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Studio, "load", forbidden)
    assert "9 of 9 frames are there already" in render("again/")
    assert pictures("again") == pictures("film")
    render("film.gif", ping_pong=True)
    assert count_frames(Path("film.gif")) == 16
    assert denoised == list(range(9))


def test_a_film_that_is_there_is_encoded_again_without_torch() -> None:
    """Importing it takes longer than encoding."""
    render()
    keyframes = "".join(f"  - {prompt}\n" for prompt in PROMPTS)
    preset = f"plugin: animate\nframes: 9\nsteps: 2\nseed: 3\ndevice: cpu\nkeyframes:\n{keyframes}"
    Path("film.yaml").write_text(preset, encoding="utf-8")
    script = """
import sys
from sdcreative.cli import main
try:
    main(["animate", "film.yaml", "-o", "again/"])
finally:
    print({"torch", "diffusers", "transformers", "librosa"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert "9 of 9 frames are there already" in done.stdout
    assert done.stdout.endswith("set()\n")
    assert pictures("again") == pictures("film")


def test_a_changed_keyframe_renders_its_segments_only(denoised: list[int]) -> None:
    render()
    del denoised[:]
    render("other/", keyframes=[*PROMPTS[:2], "a picture of a dog"])
    assert denoised == [5, 6, 7, 8]
    assert pictures("other")[:5] == pictures("film")[:5]
    assert pictures("other")[5:] != pictures("film")[5:]


def test_a_final_film_takes_the_frames_of_its_draft(denoised: list[int]) -> None:
    render("draft/", frames=5)
    del denoised[:]
    render("final/")
    assert denoised == [1, 3, 5, 7]
    assert pictures("final")[::2] == pictures("draft")


@pytest.mark.parametrize("inbetween", [0, 1])
@pytest.mark.parametrize("stop", [1, 4, 5])
def test_a_stopped_film_goes_on_and_is_the_same_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch, denoised: list[int], inbetween: int, stop: int
) -> None:
    render("whole/", inbetween=inbetween, batch_size=3, keep=False)
    whole = len(denoised)
    with monkeypatch.context() as patched:
        stop_after(stop, patched, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            render(inbetween=inbetween, batch_size=3)
    assert len(pictures()) == stop
    [run] = list_runs()
    assert run.status == "stopped"
    done = len(denoised) - whole
    lines = render(inbetween=inbetween, batch_size=3)
    assert pictures() == pictures("whole")
    # A batch is made again as a whole, and that before it where frames lie between the two.
    assert len(denoised) - whole - done < whole or stop == 1 or inbetween
    assert any("frames are there already" in line for line in lines)
    assert find_run("last").status == "finished"


def test_an_encoder_that_dies_costs_no_frame(
    monkeypatch: pytest.MonkeyPatch, denoised: list[int]
) -> None:
    with monkeypatch.context() as patched:
        stop_after(7, patched, OutputError("film: the encoder ended"))
        with pytest.raises(OutputError):
            render("film.gif")
    assert not Path("film.gif").exists()
    assert find_run("last").status == "failed"
    assert find_run("last").fault == "film: the encoder ended"
    del denoised[:]
    render("film.gif")
    assert denoised == [8]
    assert count_frames(Path("film.gif")) == 9


def test_a_damaged_frame_is_made_again(denoised: list[int]) -> None:
    render()
    store = FrameStore(frames_folder())
    key = sorted(store)[0]
    store.path(key).write_bytes(store.path(key).read_bytes()[:-30])
    del denoised[:]
    render("again/")
    assert len(denoised) == 1
    assert np.abs(np.asarray([*map(list, pictures("again"))], int)
                  - np.asarray([*map(list, pictures())], int)).max() <= 1  # fmt: skip


def test_only_what_a_stopped_run_wrote_itself_is_replaced_unasked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        stop_after(3, patched, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            render("film.gif")
    assert count_frames(Path("film.gif")) == 3
    with monkeypatch.context() as patched:
        stop_after(1, patched, OutputError("film: the encoder ended"))
        with pytest.raises(OutputError, match="the encoder ended"):
            render("film.gif")
    render("film.gif")
    assert count_frames(Path("film.gif")) == 9
    with pytest.raises(OutputError, match=r"exists; pass --overwrite"):
        render("film.gif")


def test_two_runs_on_one_output_wait_for_each_other() -> None:
    said: list[list[str]] = []
    faults: list[Exception] = []

    def one(seed: int) -> None:
        try:
            said.append(render("film.gif", seed=seed, overwrite=True))
        except Exception as error:  # noqa: BLE001 - told below
            faults.append(error)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sum("waiting" in line for lines in said for line in lines) == 1
    assert count_frames(Path("film.gif")) == 9


def test_without_keeping_nothing_is_kept(denoised: list[int]) -> None:
    render(keep=False)
    assert list_runs() == []
    assert list(FrameStore(frames_folder())) == []


def test_a_film_that_holds_is_denoised_once(studio: Studio, denoised: list[int]) -> None:
    render(keyframes=PROMPTS[:2], ease="hold")
    assert denoised == [0, 8]
    assert len(set(pictures())) == 2


class Scarce:
    """Memory for so many rows; counts how often it ended."""

    def __init__(self, rows: int, error: Callable[[], Exception]) -> None:
        self.rows, self.error, self.ended = rows, error, 0

    def check(self, rows: int) -> None:
        if rows > self.rows:
            self.ended += 1
            raise self.error()


def cpu_error() -> Exception:
    return RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, cpu_error])
def test_out_of_memory_halves_the_batch_and_says_so(
    monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    render("plain/", batch_size=8, keep=False)
    scarce = Scarce(2, error)
    honest = Denoiser.latents

    def latents(self: Denoiser, shots: Sequence[Prepared]) -> torch.Tensor:
        scarce.check(len(shots))
        return honest(self, shots)

    monkeypatch.setattr(Denoiser, "latents", latents)
    render(batch_size=8)
    assert scarce.ended == 2  # 8 and 4; the rest of the film is not tried with more than 2
    assert find_run("last").batch_size == 2
    both = [np.stack([np.frombuffer(p, np.uint8) for p in pictures(f)]) for f in ("film", "plain")]
    assert np.abs(both[0].astype(int) - both[1]).max() <= 1


def film(*frames: Frame) -> Timeline:
    return Timeline(lambda: frames, len(frames), steps=1)


def test_decoding_takes_fewer_then_tiles_then_gives_up(
    monkeypatch: pytest.MonkeyPatch, studio: Studio
) -> None:
    tried: list[tuple[int, bool | None]] = []
    honest = vae.decode_latents

    def decode(parts: object, latents: torch.Tensor, *, tile: bool | None = None) -> torch.Tensor:
        tried.append((len(latents), tile))
        if not tile:
            raise torch.OutOfMemoryError
        return honest(studio.parts, latents)

    monkeypatch.setattr("sdcreative.rendering.renderer.decode_latents", decode)
    shots = [Shot(Blend("a bear"), Noise(seed)) for seed in range(2)]
    assert len(list(studio.render(film(*shots)))) == 2
    assert tried == [(2, None), (1, None), (2, True)]

    def never(*args: object, **options: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("sdcreative.rendering.renderer.decode_latents", never)
    with pytest.raises(RenderError, match=r"out of memory with one picture of 64x64; use"):
        list(studio.render(film(*shots)))


def test_other_faults_of_the_model_are_not_taken_for_memory(
    monkeypatch: pytest.MonkeyPatch, studio: Studio
) -> None:
    def broken(self: Denoiser, shots: Sequence[Prepared]) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Denoiser, "latents", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(studio.render(film(Shot(Blend("a bear"), Noise(0)))))


def test_a_stopped_circle_goes_on_with_the_frames_that_close_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"loop": True, "inbetween": 1, "frames": 8, "keyframes": PROMPTS[:2]}
    render("whole/", keep=False, **options)
    with monkeypatch.context() as patched:
        stop_after(7, patched, OutputError("film: the encoder ended"))
        with pytest.raises(OutputError):
            render(**options)
    store = FrameStore(frames_folder())
    # The last frame lies between the last shot and the first: have it made again.
    store.remove(run_keys(find_run("last"))[-1])
    render(**options)
    assert pictures() == pictures("whole")


def test_what_retiming_measured_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, denoised: list[int]
) -> None:
    options = {"timing": "perceptual", "probes": 5, "keyframes": PROMPTS[:2], "frames": 5}
    lines = render(**options)
    assert any(line.startswith("timing: ") for line in lines)
    assert len(denoised) >= 5

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Studio, "load", forbidden)
    render("again/", **options)
    assert pictures("again") == pictures()


def test_outputs_carry_their_settings_unless_told_otherwise() -> None:
    render("film.gif")
    found = read_provenance(Path("film.gif"))
    assert (found.plugin, found.seed, found.settings["frames"]) == ("animate", 3, 9)
    render("plain.gif", metadata=False)
    with pytest.raises(DataError):
        read_provenance(Path("plain.gif"))

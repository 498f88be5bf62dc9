"""Films of the built-in model; nothing here depends on what it has learnt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdcreative import OutputError, Shot, Studio
from sdcreative.media.writers import count_frames
from sdcreative.produce import produce
from sdcreative.rendering.embeddings import Embeddings
from sdcreative.retiming import retime
from sdcreative_plugins.animate import sdcreative_tools
from sdcreative_plugins.animate.settings import AnimateSettings
from sdcreative_plugins.animate.timeline import timeline

BEAR, APPLE = "a picture of a bear", "a picture of a red apple"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Studio) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)


def settings(**changes: Any) -> AnimateSettings:
    given = {"keyframes": [BEAR, APPLE], "frames": 5, "steps": 2, "seed": 3, "device": "cpu"}
    return AnimateSettings(**(given | changes))


def make(output: str, *, overwrite: bool = False, dry_run: bool = False, **changes: Any) -> str:
    """What is reported of a film written to ``output``."""
    lines: list[str] = []
    [tool] = sdcreative_tools()
    path = produce(
        tool,
        settings(output=output, **changes),
        default_name="film",
        overwrite=overwrite,
        dry_run=dry_run,
        report=lines.append,
    )
    assert path == (None if dry_run else Path(output))
    return "\n".join(lines)


def pixels(pictures: Any) -> np.ndarray:
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


@pytest.mark.parametrize("inbetween", [0, 1])
def test_both_ends_are_the_plain_pictures_of_their_prompts(studio: Studio, inbetween: int) -> None:
    film = pixels(studio.render(timeline(settings(steps=3, coherence=1, inbetween=inbetween))))
    plain = pixels(studio.picture(prompt, seed=3, steps=3) for prompt in (BEAR, APPLE))
    assert np.abs(film[[0, -1]] - plain).max() <= 1
    assert np.abs(film[0] - film[-1]).max() > 1


def test_each_keyframe_is_the_plain_picture_of_its_own_settings(studio: Studio) -> None:
    keyframes = [
        {"prompt": BEAR},
        {"prompt": APPLE, "seed": 8, "guidance_scale": 2, "negative_prompt": "blue"},
        {"prompt": ""},
    ]
    film = pixels(studio.render(timeline(settings(keyframes=keyframes))))
    plain = [
        studio.picture(BEAR, seed=3, steps=2),
        studio.picture(APPLE, seed=8, steps=2, guidance_scale=2, negative_prompt="blue"),
        studio.picture("", seed=3, steps=2),
    ]
    assert np.abs(film[[0, 2, 4]] - pixels(plain)).max() <= 1


@pytest.mark.parametrize("centre", ["zero", "empty", "negative"])
@pytest.mark.parametrize("guidance_scale", [1, 3])
def test_keyframes_of_a_smooth_loop_are_plain_pictures(
    studio: Studio, centre: str, guidance_scale: float
) -> None:
    prompts = [BEAR, APPLE, " ".join([APPLE] * 20)]
    film = timeline(
        settings(
            keyframes=prompts,
            frames=6,
            loop=True,
            path="smooth",
            centre=centre,
            guidance_scale=guidance_scale,
            negative_prompt="blue",
        )
    )
    plain = pixels(
        studio.picture(
            prompt, seed=3, steps=2, guidance_scale=guidance_scale, negative_prompt="blue"
        )
        for prompt in prompts
    )
    made = pixels(studio.render(film))
    assert np.abs(made[::2] - plain).max() <= 1
    assert all(np.abs(made[i] - made[i - 1]).max() > 1 for i in range(6))


def test_one_prompt_in_a_circle_of_noise_closes(studio: Studio) -> None:
    circle = settings(keyframes=[BEAR], frames=12, loop=True, noise="circle", noise_radius=0.2)
    film = pixels(studio.render(timeline(circle)))
    steps = [np.abs(film[i] - film[i - 1]).mean() for i in range(12)]
    assert steps[0] < 2 * np.median(steps)
    assert min(steps) > 0


def test_perceptual_timing_evens_the_steps_out(studio: Studio) -> None:
    made = timeline(settings(timing="perceptual", metric="pixel", probes=9, frames=9, coherence=0))
    even = pixels(studio.render(made))
    fresh, _ = retime(studio, made)
    found = pixels(studio.render(fresh))
    assert np.abs(found[[0, -1]] - even[[0, -1]]).max() <= 1
    largest = [np.abs(np.diff(film, axis=0)).mean(axis=(1, 2, 3)).max() for film in (even, found)]
    assert largest[1] < largest[0]


@pytest.mark.parametrize("interpolation", ["slerp", "lerp"])
def test_the_unconditional_part_is_never_touched(studio: Studio, interpolation: str) -> None:
    embeddings = Embeddings(studio.parts)
    empty = embeddings.of("").embeddings
    film = timeline(settings(interpolation=interpolation))
    pairs = [
        embeddings.pair(shot.prompt, shot.negative, shot.guidance_scale)
        for shot in film
        if isinstance(shot, Shot)
    ]
    free = [unconditional for _, unconditional in pairs if unconditional is not None]
    assert len(free) == 5
    assert all(part.embeddings.equal(empty) for part in free)
    assert not pairs[0][0].embeddings.equal(pairs[1][0].embeddings)


def test_ping_pong_is_mirrored(studio: Studio) -> None:
    film = pixels(studio.render(timeline(settings(ping_pong=True))))
    assert len(film) == 8
    assert (film[5:] == film[3:0:-1]).all()


@pytest.mark.parametrize("name", ["film.gif", "film.mp4", "film.webp", "film.apng", "film/"])
def test_every_format_holds_every_frame(name: str) -> None:
    assert make(name, frames=4) == f"{name}: 4 frames of 64x64, seed 3"
    assert count_frames(Path(name)) == 4


@pytest.mark.parametrize("name", ["film.gif", "film/"])
def test_nothing_is_overwritten_unasked(name: str) -> None:
    make(name, frames=2)
    before = _contents()
    with pytest.raises(OutputError, match="overwrite"):
        make(name, frames=3)
    assert _contents() == before
    make(name, frames=3, overwrite=True)
    assert count_frames(Path(name)) == 3


def test_a_drawn_seed_is_said_and_makes_the_same_film_again() -> None:
    first, second = make("a.apng", seed=-1, frames=2).splitlines()
    seed = int(first.removeprefix("seed "))
    assert second == f"a.apng: 2 frames of 64x64, seed {seed}"
    make("b.apng", seed=seed, frames=2)
    with Image.open("a.apng") as one, Image.open("b.apng") as other:
        assert (pixels([one]) == pixels([other])).all()


def test_dry_run_says_what_it_would_take_and_writes_nothing() -> None:
    said = make("film.gif", dry_run=True, frames=9, inbetween=1, coherence=0)
    assert "frames       9: 5 denoised, 4 in between" in said
    assert "U-Net calls  20 on one picture each" in said
    assert _contents() == {}
    Path("film.gif").write_bytes(b"kept")
    make("film.gif", dry_run=True)
    assert _contents() == {"film.gif": b"kept"}


@pytest.mark.parametrize("name", ["film.gif", "film.mp4", "film/"])
def test_ctrl_c_keeps_a_playable_film(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    stop_after(3, monkeypatch)
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        produce(
            sdcreative_tools()[0],
            settings(output=name),
            default_name="film",
            overwrite=False,
            dry_run=False,
            report=lines.append,
        )
    stopped, go_on = lines
    assert stopped == f"stopped: 3 of 5 frames are kept in {name}"
    assert go_on.startswith("go on with: sdcreative runs resume film-")
    assert count_frames(Path(name)) == 3
    assert [path.name for path in Path().iterdir()] == [name.rstrip("/")]


def test_ctrl_c_before_the_first_frame_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(0, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        make("film.gif")
    assert _contents() == {}


def test_ctrl_c_keeps_the_film_that_was_to_be_replaced_whole_until_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make("film.gif", frames=2)
    before = _contents()
    stop_after(0, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        make("film.gif", overwrite=True)
    assert _contents() == before


def stop_after(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C once so many frames are made."""
    plain = Studio.render

    def stopping(self: Studio, *args: Any, **kwargs: Any) -> Iterator[Image.Image]:
        pictures = plain(self, *args, **kwargs)
        for _ in range(frames):
            yield next(pictures)
        raise KeyboardInterrupt

    monkeypatch.setattr(Studio, "render", stopping)


def _contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}

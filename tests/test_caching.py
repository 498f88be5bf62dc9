"""Films whose deep features are cached: the same in any batch, resumed, counted, named apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from sdcreative import Blend, Frame, Noise, RenderSettings, Shot, Studio, Timeline, Trunk
from sdcreative.core.conditioning import Conditioning
from sdcreative.core.feature_caching import FAST, FAST_INTERVAL, Caching
from sdcreative.core.guidance_style import GuidanceStyle
from sdcreative.core.large import Hires, Tiling
from sdcreative.media.writers import Writer
from sdcreative.produce import produce
from sdcreative.rendering.denoising import Denoiser
from sdcreative.rendering.planning import plan
from sdcreative.runs.keys import frame_keys
from sdcreative_plugins.animate import sdcreative_tools
from sdcreative_plugins.animate.settings import AnimateSettings

BEAR, APPLE = "a picture of a bear", "a picture of a red apple"
EVERY_2 = Caching(every=2, depth=2)
STEPS = 6


def shot(t: float = 0.0, trunk: Trunk | None = None, seed: int = 5) -> Shot:
    return Shot(Blend(BEAR, APPLE, t), Noise(seed), guidance_scale=3, trunk=trunk)


def film(frames: list[Frame], caching: Caching | None = EVERY_2, **fields: Any) -> Timeline:
    given = {"steps": STEPS, "caching": caching, **fields}
    return Timeline(lambda: frames, len(frames), **given)


def latents(studio: Studio, timeline: Timeline) -> Tensor:
    """Final latents of all shots in one batch."""
    denoiser = Denoiser(studio.parts, timeline, studio.size, lambda count: None)
    return denoiser.latents([denoiser.prepare(one, i) for i, one in enumerate(timeline)])  # type: ignore[arg-type]


def test_with_every_call_in_full_nothing_changes_to_the_bit(studio: Studio) -> None:
    frames: list[Frame] = [shot(0.2), shot(0.7)]
    plain = latents(studio, film(frames, None))
    assert torch.equal(latents(studio, film(frames, Caching(every=1))), plain)
    assert torch.equal(latents(studio, film(frames, Caching(first=STEPS))), plain)
    cached = latents(studio, film(frames))
    assert (cached - plain).abs().max() > 1e-3
    assert (cached - plain).abs().mean() < plain.abs().mean() / 2


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "Heun", "Euler a", "LMS"])
def test_a_trunk_of_the_frame_itself_changes_nothing(studio: Studio, sampler: str) -> None:
    caching = Caching(every=3, depth=2)
    plain = latents(studio, film([shot()], caching, sampler=sampler))
    trunks = [Trunk(shot().prompt, Noise(5), k, guidance_scale=3) for k in (3, 0, 5, 1, STEPS)]
    frames: list[Frame] = [shot(trunk=trunk) for trunk in trunks]
    branched = latents(studio, film(frames, caching, sampler=sampler))
    assert (branched - plain).abs().max() <= 1e-4


def test_frames_do_not_depend_on_the_batch(studio: Studio) -> None:
    trunks = [Trunk(Blend(BEAR), Noise(5), k, guidance_scale=3) for k in (4, 2, 3)]
    # A trunk without guidance leaves no features for what guidance moves away from.
    bare = Trunk(Blend(BEAR), Noise(5), 3, guidance_scale=1)
    frames: list[Frame] = [shot(0.5, trunk) for trunk in (*trunks, bare)]
    timeline = film([*frames, shot(1.0)])
    together = pixels(studio, timeline, 5)
    for frame, picture in zip(timeline, together, strict=True):
        [alone] = pixels(studio, film([frame]), 1)
        assert np.abs(alone - picture).max() <= 1


def pixels(studio: Studio, timeline: Timeline, batch: int) -> np.ndarray:
    pictures = studio.render(timeline, batch_size=batch)
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


def counting(denoiser: Denoiser) -> dict[str, int]:
    """How many rows of all passes are evaluated in either way."""
    counts = {"full": 0, "shallow": 0}
    second = denoiser._second
    for sampling in (denoiser.sampling, *([] if second is None else [second.sampling])):
        assert sampling._both is not None
        weight = (sampling.size[0] * sampling.size[1]) // 64**2

        def watched(name: str, call: Callable[..., Any], weight: int = weight) -> Any:
            def run(rows: Tensor, time: Tensor, words: Conditioning, *features: Tensor) -> Any:
                counts[name] += weight * len(rows)
                return call(rows, time, words, *features)

            return run

        full, shallow = sampling._both
        sampling._both = watched("full", full), watched("shallow", shallow)
    return counts


PICTURE = Image.new("RGB", (64, 64), "red")
LATE = GuidanceStyle(interval=(0.3, 0.7))
TOGETHER = replace(shot(), prompt=Blend(f"{BEAR} AND {APPLE} :0.5"))


@pytest.mark.parametrize(
    ("frames", "fields"),
    [
        ([shot(), shot(1.0, Trunk(Blend(BEAR), Noise(5), 3, guidance_scale=3))], {}),
        ([shot(), shot(1.0)], {"sampler": "Heun", "steps": 4}),
        ([replace(shot(), guidance_scale=1.0)], {"guidance": LATE}),
        ([shot()], {"guidance": LATE}),
        ([TOGETHER], {}),
        ([replace(shot(), image=PICTURE, strength=0.5)], {}),
        ([shot()], {"hires": Hires(scale=2, steps=4)}),
    ],
    ids=["trunk", "two calls", "unguided", "interval", "AND", "image", "hires"],
)
def test_a_plan_knows_how_many_evaluations_are_shallow(
    studio: Studio, frames: list[Frame], fields: dict[str, Any]
) -> None:
    timeline = film(frames, **fields)
    total: list[int] = []
    denoiser = Denoiser(studio.parts, timeline, studio.size, total.append)
    counts = counting(denoiser)
    shots = [denoiser.prepare(one, i) for i, one in enumerate(frames) if isinstance(one, Shot)]
    assert torch.isfinite(denoiser.latents(shots)).all()
    found = plan(timeline)
    assert (found.evaluations, found.shallow) == (sum(counts.values()), counts["shallow"])
    assert 0 < found.shallow < found.evaluations
    assert sum(total) == found.evaluations


def test_windows_have_their_own_features(studio: Studio) -> None:
    timeline = film([shot()], size=(96, 64), tiling=Tiling(64), steps=4)
    denoiser = Denoiser(studio.parts, timeline, (96, 64), lambda count: None)
    plain = Denoiser(studio.parts, replace(timeline, caching=None), (96, 64), lambda count: None)
    cached, exact = (one.latents([one.prepare(shot(), 0)]) for one in (denoiser, plain))
    assert (cached - exact).abs().mean() < exact.abs().mean() / 2


def test_caching_is_part_of_the_key_where_there_is_any() -> None:
    def key(caching: Caching | None) -> str:
        timeline = film([shot()], caching)
        return next(frame_keys(timeline, model="m", size=(64, 64), dtype="float32"))

    ways = (None, Caching(), Caching(every=2), Caching(depth=2), Caching(schedule="centred"))
    assert len({key(one) for one in ways}) == len(ways)
    exact = RenderSettings().sampling()
    before = Timeline(lambda: [shot()], 1, steps=STEPS)
    assert key(None) == next(
        frame_keys(replace(before, **exact), model="m", size=(64, 64), dtype="float32")
    )


def test_fast_sets_what_is_not_given() -> None:
    def fast(**values: Any) -> dict[str, Any]:
        return RenderSettings.model_validate({"speed": "fast", **values}).sampling()

    assert fast()["caching"] == FAST
    assert fast()["guidance"].interval == FAST_INTERVAL
    assert fast(cache={"every": 7})["caching"].every == 7
    assert fast(cache={"every": 1})["caching"] is None
    assert fast(guidance={"rescale": 0.5})["guidance"] == GuidanceStyle(0.5, FAST_INTERVAL)
    whole = RenderSettings.model_validate_json(
        '{"speed": "fast", "guidance": {"interval": [0, 1]}}'
    ).sampling()["guidance"]
    assert whole == GuidanceStyle()
    # What is written down whole, and read again, is the same.
    kept = RenderSettings(speed="fast")
    assert RenderSettings.model_validate_json(kept.model_dump_json()).sampling() == fast()
    exact = RenderSettings().sampling()
    assert exact["caching"] is None
    assert exact["guidance"] == GuidanceStyle()
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        RenderSettings.model_validate({"cache": {"every": 0}})


def test_a_film_that_was_stopped_goes_on_to_the_same_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Studio
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    honest = Writer.add

    def render(output: str, **changes: Any) -> list[bytes]:
        values = {"keyframes": [BEAR, APPLE], "frames": 5, "steps": 4, "seed": 3, "batch_size": 2}
        values |= {"device": "cpu", "output": output, "cache": {"every": 2, "first": 0}, **changes}
        [tool] = sdcreative_tools()
        settings = AnimateSettings.model_validate(values)
        produce(
            tool,
            settings,
            default_name="film",
            overwrite=False,
            dry_run=False,
            report=lambda line: None,
        )
        return [Image.open(path).tobytes() for path in sorted(Path(output).glob("*.png"))]

    taken: list[Image.Image] = []

    def stopping(self: Writer, picture: Image.Image) -> None:
        if len(taken) == 3:
            raise KeyboardInterrupt
        taken.append(picture)
        honest(self, picture)

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "add", stopping)
        with pytest.raises(KeyboardInterrupt):
            render("film/")
    resumed = render("film/")
    monkeypatch.setenv("SDCREATIVE_HOME", str(tmp_path / "home"))
    assert render("whole/") == resumed
    assert len(resumed) == 5
    assert render("exact/", cache=None) != resumed

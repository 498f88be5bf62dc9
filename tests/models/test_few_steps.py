"""Few-step models: what they need, against diffusers' pipelines and schedulers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative.core.noise import draw_noise
from sdcreative.errors import UsageError
from sdcreative.models.few_steps import few_step_notes, recognise
from sdcreative.models.opening import open_model
from sdcreative.models.places import ModelPlace
from sdcreative.models.samplers import build_sampler, scheduled
from sdcreative.rendering.planning import plan
from sdcreative.serving import check_serves
from tiny_models import edit_json

SEED, PROMPT = 7, "bear"
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.fixture(scope="module")
def consistency(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with a U-Net that is told the guidance scale; never write to it."""
    from diffusers import UNet2DConditionModel

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("lcm") / "model"))
    plain = UNet2DConditionModel.from_pretrained(folder / "unet")
    torch.manual_seed(3)
    unet = UNet2DConditionModel.from_config({**plain.config, "time_cond_proj_dim": 33})
    unet.load_state_dict(plain.state_dict(), strict=False)
    torch.nn.init.normal_(unet.time_embedding.cond_proj.weight)
    unet.save_pretrained(folder / "unet")
    edit_json(folder / "scheduler" / "scheduler_config.json", _class_name="LCMScheduler")
    return folder


def film(count: int = 1, scale: float = 8.5, **timeline: Any) -> Timeline:
    shots = [Shot(Blend(PROMPT), Noise(SEED + i), guidance_scale=scale - i) for i in range(count)]
    return Timeline(lambda: shots, count, **timeline)


def theirs(folder: Path, scheduler: str, *, scale: float, steps: int, **options: Any) -> Any:
    """A picture of diffusers' pipeline with one of its schedulers, as floats in [0, 1]."""
    import diffusers

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    eta = {"eta": options.pop("eta")} if "eta" in options else {}
    pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config, **options)
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn((4, 8, 8), generator=generator)
    assert torch.equal(noise, draw_noise(SEED, (4, 8, 8)))
    output = pipe(
        PROMPT,
        num_inference_steps=steps,
        guidance_scale=scale,
        latents=noise[None],
        generator=generator,
        output_type="np",
        **eta,
    )
    return output.images[0]


def ours(folder: Path, timeline: Timeline, batch: int = 8) -> np.ndarray:
    studio = Studio.load(str(folder), device="cpu")
    pictures = studio.render(timeline, batch_size=batch)
    return np.stack([np.asarray(picture) for picture in pictures]) / 255


def test_a_model_that_is_told_the_scale_makes_the_pipelines_picture(consistency: Path) -> None:
    expected = theirs(consistency, "LCMScheduler", scale=8.5, steps=4)
    made = ours(consistency, film(sampler="LCM", steps=4))[0]
    assert np.abs(made - expected).max() <= 1 / 255
    other = ours(consistency, film(sampler="LCM", steps=4, scale=3.0))[0]
    assert np.abs(made - other).max() > 3 / 255


def test_it_is_asked_once_a_step_and_a_plan_says_so(consistency: Path) -> None:
    timeline, calls = film(3, sampler="LCM", steps=4), []
    studio = Studio.load(str(consistency), device="cpu")
    rows = []
    studio.parts.unet.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append((len(args[0]), kwargs["timestep_cond"].shape)),
        with_kwargs=True,
    )
    together = [np.asarray(one) for one in studio.render(timeline, on_evaluations=calls.append)]
    assert rows == [(3, (3, 33))] * 4
    work = plan(timeline, told_guidance=True)
    assert (sum(calls), work.evaluations, work.widest) == (12, 12, 1)
    assert (plan(timeline).evaluations, plan(timeline).widest) == (24, 2)
    # Every picture has its own scale and noise, whatever is in its batch.
    for one, alone in zip(together, studio.render(timeline, batch_size=1), strict=True):
        assert np.abs(one.astype(int) - np.asarray(alone, dtype=int)).max() <= 1


@pytest.mark.parametrize(
    ("sampler", "scheduler"), [("Euler", "Euler"), ("Euler a", "EulerAncestral")]
)
def test_trailing_timesteps_are_those_of_diffusers(
    tiny_checkpoint: Path, sampler: str, scheduler: str
) -> None:
    """SDXL Lightning, and Turbo: trailing, without guidance."""
    name = f"{scheduler}DiscreteScheduler"
    options = {"scale": 1.0, "steps": 4}
    expected = theirs(tiny_checkpoint, name, timestep_spacing="trailing", **options)
    timeline = film(sampler=sampler, spacing="trailing", **options)
    assert np.abs(ours(tiny_checkpoint, timeline)[0] - expected).max() <= 1 / 255
    other = ours(tiny_checkpoint, film(sampler=sampler, **options))[0]
    assert np.abs(other - expected).max() > 3 / 255


@pytest.mark.parametrize("eta", [None, 0.0, 1.0])
def test_tcd_makes_the_pipelines_picture(tiny_checkpoint: Path, eta: float | None) -> None:
    expected = theirs(
        tiny_checkpoint, "TCDScheduler", scale=1.0, steps=4, eta=0.3 if eta is None else eta
    )
    timeline = film(sampler="TCD", steps=4, scale=1.0, eta=eta)
    assert np.abs(ours(tiny_checkpoint, timeline)[0] - expected).max() <= 1 / 255


def test_a_batch_does_not_change_what_tcd_makes(tiny_checkpoint: Path) -> None:
    timeline = film(3, sampler="TCD", steps=5, scale=4.0)
    together, alone = (ours(tiny_checkpoint, timeline, batch) for batch in (3, 1))
    assert np.abs(together - alone).max() <= 1 / 255


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_every_spacing_has_the_timesteps_of_diffusers(spacing: Any) -> None:
    from diffusers import DDIMScheduler, EulerDiscreteScheduler

    config = {**SCHEDULE, "timestep_spacing": "leading", "steps_offset": 1}
    for name, cls in (("DDIM", DDIMScheduler), ("Euler", EulerDiscreteScheduler)):
        expected = cls(**{**config, "timestep_spacing": spacing})
        expected.set_timesteps(4)
        made = build_sampler(name, scheduled(config, spacing), 4)
        assert made.timesteps.tolist() == expected.timesteps.tolist()
    kept = build_sampler("DDIM", scheduled(config), 4)
    assert kept.timesteps.tolist() == [751, 501, 251, 1]


def test_what_would_do_nothing_is_refused(tiny_checkpoint: Path, tiny_sd3: Path) -> None:
    model = open_model(tiny_checkpoint)
    with pytest.raises(UsageError, match="spacing trailing: sampler LCM takes the timesteps"):
        check_serves(film(sampler="LCM", spacing="trailing"), model, (32, 32))
    with pytest.raises(UsageError, match="eta is for sampler TCD, not DDIM"):
        check_serves(film(sampler="DDIM", eta=0.5), model, (32, 32))
    with pytest.raises(UsageError, match="spacing linspace: models of flow matching"):
        check_serves(film(sampler="Euler", spacing="linspace"), open_model(tiny_sd3), (32, 32))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"_class_name": "LCMScheduler"}, "LCM"),
        ({"_class_name": "TCDScheduler"}, "TCD"),
        (
            {"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"},
            "Turbo",
        ),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}, "Lightning"),
        ({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"}, None),
        ({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"}, None),
    ],
)
def test_few_step_models_are_known_by_their_scheduler(
    tiny_checkpoint: Path, tmp_path: Path, changes: dict[str, str], expected: str | None
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    edit_json(folder / "scheduler" / "scheduler_config.json", **changes)
    found = recognise(open_model(folder), ModelPlace(folder))
    assert (found.title if found else None) == expected


def test_others_are_known_by_name_and_told_what_they_want(
    consistency: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "someSDXL_lightning_v2"
    folder.symlink_to(tiny_checkpoint)
    place, model = ModelPlace(folder), open_model(folder)
    asked: dict[str, Any] = {"sampler": "DPM++ 2M", "steps": 20, "scale": 7.5, "spacing": "auto"}
    assert few_step_notes(model, place, **asked) == (
        "this is likely a few-step model (Lightning): sampler Euler, steps 1 to 8, "
        "guidance_scale 1, spacing trailing",
    )
    asked = {"sampler": "Euler", "steps": 4, "scale": 1.0, "spacing": "trailing"}
    assert few_step_notes(model, place, **asked) == ()
    place, model = ModelPlace(consistency), open_model(consistency)
    asked = {"sampler": "LCM", "steps": 4, "scale": 8.0, "spacing": "auto"}
    assert few_step_notes(model, place, **asked) == ()
    [note] = few_step_notes(model, place, negative=True, **asked)
    assert "negative prompts do nothing" in note
    place = ModelPlace(tiny_checkpoint)
    assert few_step_notes(open_model(tiny_checkpoint), place, **asked) == ()

"""Prompts that change with the step, and several at once: pictures, films, trunks, batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sdcreative import Blend, Curve, Inversion, Noise, RenderSettings, Shot, Studio, Timeline, Trunk
from sdcreative.core.conditioning import Conditioning
from sdcreative.core.guidance import predict_guided
from sdcreative.core.prompt_programme import Programme, compose, layered
from sdcreative.core.sampling import Guidance, denoise, initial_latents
from sdcreative.models.denoiser import predictor
from sdcreative.models.samplers import build_sampler
from sdcreative.rendering.denoising import Denoiser
from sdcreative.rendering.embeddings import Embeddings, Row
from sdcreative.rendering.planning import plan
from sdcreative.runs.keys import frame_keys

STEPS, SCALE = 6, 3.0
BEAR, APPLE, CAR = "a picture of a bear", "a picture of a red apple", "a blue car"
LONG = "a picture of a green frog, a red apple and a blue car " * 3
EDITED = f"[{BEAR}:{APPLE}:0.5]"
NOISE = Noise(5)


def shot(prompt: str, end: str | None = None, t: float = 0.0, **others: Any) -> Shot:
    given = {"guidance_scale": SCALE, **others}
    return Shot(Blend(prompt, end, t), NOISE, **given)


def film(shots: list[Shot], **others: Any) -> Timeline:
    return Timeline(lambda: shots, len(shots), **{"steps": STEPS, **others})


def latents(studio: Studio, *shots: Shot, sampler: str = "DPM++ 2M", **others: Any) -> Tensor:
    """Final latents, each shot by itself."""
    timeline = film(list(shots), sampler=sampler, **others)
    denoiser = Denoiser(studio.parts, timeline, studio.size, lambda count: None)
    return torch.cat([denoiser.latents([denoiser.prepare(one, 0)]) for one in shots])


def pixels(studio: Studio, shots: list[Shot], batch_size: int, **others: Any) -> np.ndarray:
    pictures = studio.render(film(shots, **others), batch_size=batch_size)
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


def step_by_step(studio: Studio, prompts: list[str], scale: float = SCALE) -> Tensor:
    """The same, each step with a plain prompt of its own."""
    embeddings = Embeddings(studio.parts)
    sampler = build_sampler("DPM++ 2M", studio.parts.scheduler_config, STEPS)
    generator = torch.Generator().manual_seed(NOISE.start)  # type: ignore[arg-type]
    found = initial_latents(sampler, torch.randn(1, 4, 16, 16, generator=generator), None, 0)
    with torch.inference_mode():
        for step, prompt in enumerate(prompts):
            pair = embeddings.pair(Blend(prompt), Blend(""), scale)
            found = denoise(
                predictor(studio.parts),
                sampler,
                found,
                embeddings.guidance([Row(*pair, scale)]),
                start=step,
                stop=step + 1,
                generators=[generator],
            )
    return found


def test_an_edited_prompt_is_one_and_then_the_other(studio: Studio) -> None:
    expected = step_by_step(studio, [BEAR] * 3 + [APPLE] * 3)
    assert (latents(studio, shot(EDITED)) - expected).abs().max() <= 1e-5
    assert (latents(studio, shot(BEAR)) - expected).abs().max() > 1e-2
    counted = latents(studio, shot(f"[{BEAR}:{APPLE}:3]"))
    assert (counted - expected).abs().max() <= 1e-5


def test_alternating_prompts_take_turns(studio: Studio) -> None:
    expected = step_by_step(studio, [BEAR, LONG, CAR] * 2)
    assert (latents(studio, shot(f"[{BEAR}|{LONG}|{CAR}]")) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "Heun", "Euler a", "DPM++ SDE"])
def test_steps_are_counted_alike_with_every_sampler(studio: Studio, sampler: str) -> None:
    """A trunk of another prompt is the same picture by another way."""
    trunk = Trunk(Blend(BEAR), NOISE, 3, guidance_scale=SCALE)
    expected = latents(studio, shot(APPLE, trunk=trunk), sampler=sampler)
    assert (latents(studio, shot(EDITED), sampler=sampler) - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("steps", [2, 3, 5])
def test_a_trunk_has_a_schedule_too(studio: Studio, steps: int) -> None:
    trunk = Trunk(Blend(EDITED), NOISE, steps, guidance_scale=SCALE)
    grown = latents(studio, shot(EDITED, trunk=trunk))
    assert (grown - latents(studio, shot(EDITED))).abs().max() <= 1e-4


def test_a_start_picture_is_entered_in_the_middle_of_a_schedule(studio: Studio) -> None:
    image = Image.effect_noise((64, 64), 60).convert("RGB")
    late, early = ({"image": image, "strength": strength} for strength in (0.5, 5 / 6))
    assert torch.equal(latents(studio, shot(EDITED, **late)), latents(studio, shot(APPLE, **late)))
    assert not torch.equal(
        latents(studio, shot(EDITED, **early)), latents(studio, shot(APPLE, **early))
    )


def test_what_is_away_from_may_be_scheduled(studio: Studio) -> None:
    edited = latents(studio, replace(shot(BEAR), negative=Blend(f"[{APPLE}:{CAR}:3]")))
    trunk = Trunk(Blend(BEAR), NOISE, 3, Blend(APPLE), SCALE)
    expected = latents(studio, replace(shot(BEAR, trunk=trunk), negative=Blend(CAR)))
    assert (edited - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("centre", ["zero", "negative"])
def test_a_blend_of_schedules_is_a_schedule_of_blends(studio: Studio, centre: Any) -> None:
    embeddings = Embeddings(studio.parts, steps=STEPS)
    curve = Curve(f"[{CAR}:4]", f"{LONG}[{APPLE}::1]")
    path = Blend(f"[{BEAR}:{LONG}:2]", f"[{APPLE}:{CAR}:0.5]", 0.4, "slerp", centre, curve)
    found, free = embeddings.pair(path, Blend("[dull:grey:5]"), SCALE)
    assert isinstance(found, Programme) and isinstance(free, Programme)
    assert [first for first, _ in found.phases] == [0, 1, 2, 3, 4, 5]
    plain = [
        (BEAR, APPLE, "", LONG + APPLE, "dull"),
        (BEAR, APPLE, "", LONG, "dull"),
        (LONG, APPLE, "", LONG, "dull"),
        (LONG, CAR, "", LONG, "dull"),
        (LONG, CAR, CAR, LONG, "dull"),
        (LONG, CAR, CAR, LONG, "grey"),
    ]
    for (start, end, before, after, negative), (_, terms), (_, away) in zip(
        plain, found.phases, free.phases, strict=True
    ):
        still = replace(path, start=start, end=end, curve=Curve(before, after))
        towards, from_ = embeddings.pair(still, Blend(negative), SCALE)
        assert torch.equal(terms[0][0].embeddings, towards.embeddings)
        assert torch.equal(away[0][0].embeddings, from_.embeddings)


def test_a_films_frames_do_not_depend_on_the_batch(studio: Studio) -> None:
    joined = f"{CAR} AND {BEAR} :0.5"
    shots = [
        *[shot(EDITED, f"[{CAR}|{APPLE}]", t) for t in (0, 0.3, 0.6, 1)],
        *[shot(EDITED, joined, t) for t in (0.3, 0.6, 1)],
        *[shot(joined, APPLE, t) for t in (0, 0.5, 1)],
        shot(BEAR),
        shot(f"[{BEAR}:{LONG}:0.5]"),
        replace(shot(joined), guidance_scale=1.0),
        shot(APPLE, trunk=Trunk(Blend(joined), NOISE, 3)),
        shot(EDITED, trunk=Trunk(Blend(joined), NOISE, 3)),
    ]
    alone = pixels(studio, shots, 1)
    assert np.abs(pixels(studio, shots, 4) - alone).max() <= 1
    # Two show the same prompt at the end of two paths, and two go on alike behind the trunk.
    assert len({frame.tobytes() for frame in alone}) == len(shots) - 2


def test_the_ends_of_a_path_are_their_prompts(studio: Studio) -> None:
    joined = f"{CAR} AND {BEAR} :0.5"
    path = [shot(EDITED, joined, t) for t in (0.0, 1.0)]
    ends = latents(studio, shot(EDITED), shot(joined))
    assert (latents(studio, *path) - ends).abs().max() <= 1e-5


def test_predictions_are_added_by_weight() -> None:
    """Against the sum written out, for pictures with one, two and three prompts."""
    torch.manual_seed(0)
    weights = [(1.0,), (0.5, 2.0), (1.0, -1.0, 0.25)]
    rows = [tuple((Conditioning(torch.randn(1, 3, 4)), w) for w in each) for each in weights]
    prompts, layers = layered(rows, torch.device("cpu"))
    free = Conditioning(torch.randn(3, 3, 4))
    scale = torch.tensor([7.5, 1.0, 0.0])

    def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        return latents * conditioning.embeddings.mean(dim=(1, 2))[:, None, None, None]

    stacked = Conditioning(torch.cat([one.embeddings for one in prompts]))
    pictures = torch.randn(3, 4, 2, 2)
    guidance = Guidance(stacked, free, scale, layers)
    found = predict_guided(predict, pictures, torch.tensor(1), guidance)
    for row in range(3):
        away = pictures[row] * free.embeddings[row].mean()
        expected = away.clone()
        for one, weight in rows[row]:
            expected += scale[row] * weight * (pictures[row] * one.embeddings.mean() - away)
        assert torch.allclose(found[row], expected, atol=1e-6)
    assert compose(pictures.half(), pictures.half(), scale, layers[:1]).dtype == torch.float32


def test_prompts_without_and_are_guided_as_ever() -> None:
    rows = [((Conditioning(torch.zeros(1, 3, 4)), 1.0),)] * 2
    assert layered(rows, torch.device("cpu"))[1] == []


def test_a_prompt_added_to_itself_is_itself(studio: Studio) -> None:
    plain, double, halves, nothing, sides = latents(
        studio,
        shot(BEAR),
        shot(f"{BEAR} AND {BEAR}"),
        replace(shot(f"{BEAR} :0.5 AND {BEAR} :0.5"), guidance_scale=2 * SCALE),
        shot(f"{BEAR} AND {APPLE} :0"),
        shot(f"{BEAR} AND {APPLE}"),
    )
    [twice] = latents(studio, replace(shot(BEAR), guidance_scale=2 * SCALE))
    assert (double - twice).abs().max() <= 1e-4
    assert (halves - twice).abs().max() <= 1e-4
    assert torch.equal(nothing, plain)
    assert (sides - plain).abs().max() > 1e-2


def test_joined_prompts_are_guided_at_a_scale_of_one_too(studio: Studio) -> None:
    """Their weights add up to more than one prediction, which takes the negative prompt."""
    [double] = latents(studio, replace(shot(f"{BEAR} AND {BEAR}"), guidance_scale=1.0))
    [twice] = latents(studio, replace(shot(BEAR), guidance_scale=2.0))
    assert (double - twice).abs().max() <= 1e-4


def test_and_is_a_word_of_a_negative_prompt(studio: Studio) -> None:
    embeddings = Embeddings(studio.parts)
    _, free = embeddings.pair(Blend(BEAR), Blend("dull AND grey"), SCALE)
    assert torch.equal(free.embeddings, embeddings.of("dull and grey").embeddings)


def test_a_picture_begins_from_its_noise_with_any_prompt(studio: Studio) -> None:
    image = studio.picture(APPLE, seed=3, steps=STEPS)
    prompt = Blend(f"[{BEAR}:{APPLE}:2] AND {CAR} :0.3")
    inversion = Inversion(image, prompt, guidance_scale=SCALE)
    [back] = studio.render(film([Shot(prompt, Noise(inversion), guidance_scale=SCALE)]))
    assert np.abs(np.asarray(back, dtype=int) - np.asarray(image)).mean() < 12
    [plain] = studio.render(film([shot(EDITED)]))
    assert np.abs(np.asarray(plain, dtype=int) - np.asarray(image)).mean() > 20


def test_what_is_planned_is_what_is_evaluated(studio: Studio) -> None:
    joined = f"{CAR} AND {BEAR} :0.5 AND {APPLE} :0"
    shots = [
        shot(EDITED),
        shot(joined),
        replace(shot(joined), guidance_scale=1.0),
        replace(shot(BEAR), guidance_scale=1.0),
        *[shot(BEAR, joined, t) for t in (0.0, 0.5, 1.0)],
        shot(joined, trunk=Trunk(Blend(f"{CAR} AND {BEAR}"), NOISE, 4, guidance_scale=1.0)),
    ]
    for prompts in ("weighted", "plain"):
        timeline = film(shots, prompts=prompts)
        counted: list[int] = []
        list(studio.render(timeline, batch_size=3, on_evaluations=counted.append))
        assert sum(counted) == plan(timeline).evaluations
    assert plan(film(shots)).evaluations > plan(timeline).evaluations


def test_plain_prompts_cost_nothing_more(studio: Studio) -> None:
    embeddings = Embeddings(studio.parts)
    pair = embeddings.pair(Blend(BEAR, APPLE, 0.4), Blend(""), SCALE)
    assert all(isinstance(one, Conditioning) for one in pair)
    guidance = embeddings.guidance([Row(*pair, SCALE)] * 2)
    assert guidance.later == () and guidance.layers == []
    assert guidance.at(5) is guidance


def test_alternating_prompts_are_kept_once(studio: Studio) -> None:
    embeddings = Embeddings(studio.parts, steps=20)
    pair = embeddings.pair(Blend(f"[{BEAR}|{APPLE}]"), Blend(""), SCALE)
    guidance = embeddings.guidance([Row(*pair, SCALE)])
    assert len(guidance.later) == 19
    assert len({id(guidance.at(step).conditional) for step in range(20)}) == 2


def test_syntax_can_be_switched_off(studio: Studio) -> None:
    text = f"({BEAR}:1.4) AND [a|b]"
    [plain] = latents(studio, shot(text), prompts="plain")
    [weighted] = latents(studio, shot(text))
    escaped = text.replace("AND", "and")
    for sign in "()[]|:":
        escaped = escaped.replace(sign, f"\\{sign}")
    assert torch.equal(plain, latents(studio, shot(escaped))[0])
    assert not torch.equal(plain, weighted)
    assert RenderSettings().reading == "weighted"
    assert RenderSettings(prompt_syntax="plain").reading == "plain"


def keys(*shots: Shot, **others: Any) -> list[str]:
    timeline = film(list(shots), **others)
    return list(frame_keys(timeline, model="m", size=(64, 64), dtype="float32"))


def test_the_switch_is_in_a_key_only_where_it_changes_anything() -> None:
    same = [BEAR, "a (b", "a | b", ":)", "a: 12", "{b}", ""]
    other = ["(a)", "[a|b]", "a AND b", "a BREAK b", "a <lora:b:1>", "\\("]
    plain = {"prompts": "plain"}
    for text in same:
        assert keys(shot(text)) == keys(shot(text), **plain)
    for text in other:
        one = shot(text)
        for each in (
            one,
            replace(shot(BEAR), negative=Blend(text)),
            shot(BEAR, text, 0.5),
            shot(BEAR, trunk=Trunk(Blend(text), NOISE, 2)),
            replace(shot(BEAR), prompt=Blend(BEAR, APPLE, 0.5, curve=Curve(None, text))),
        ):
            assert keys(each) != keys(each, **plain)

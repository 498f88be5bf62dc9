from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sdcreative import Arc, Between, Blend, Curve, Noise, Retiming, Shot, Timeline, Trunk
from sdcreative.core.prompt_wildcards import expand_wildcards
from sdcreative.core.worded import worded

TEXT = "a {red|green|blue} {bear|apple}"
WILD = Shot(Blend(TEXT, f"{TEXT}, far", 0.5), Noise(1), Blend("{hiss|hum}"))


def film(*frames: Shot | Between, **more: object) -> Timeline:
    timeline = Timeline(lambda: frames, len(frames))
    return replace(timeline, **more)  # type: ignore[arg-type]


def test_wildcards_are_chosen_by_the_seed_everywhere_in_a_shot() -> None:
    curved = replace(WILD, prompt=replace(WILD.prompt, curve=Curve(TEXT, None)))
    trunk = Trunk(Blend(TEXT), Noise(1), 3, negative=Blend("{hiss|hum}"))
    [found] = worded(film(replace(curved, trunk=trunk)), {"prompts": "weighted"}, 7)
    assert isinstance(found, Shot)
    assert found.prompt.start == expand_wildcards(TEXT, 7)
    assert found.prompt.end == expand_wildcards(f"{TEXT}, far", 7)
    assert found.prompt.curve == Curve(expand_wildcards(TEXT, 7), None)
    assert found.negative.start in ("hiss", "hum")
    assert found.trunk is not None
    assert found.trunk.prompt.start == expand_wildcards(TEXT, 7)
    assert found.trunk.negative == found.negative


def test_the_same_text_is_the_same_choice_all_along() -> None:
    found = {
        frame.prompt.start
        for frame in worded(film(WILD, replace(WILD, noise=Noise(9))), {"prompts": "weighted"}, 3)
        if isinstance(frame, Shot)
    }
    assert len(found) == 1
    choices = {
        next(iter(worded(film(WILD), {"prompts": "weighted"}, seed))).prompt.start
        for seed in range(40)
    }
    assert len(choices) == 6


def test_what_has_no_wildcards_stays_the_same_object() -> None:
    plain, between = Shot(Blend("a bear"), Noise(1)), Between(0.5)
    assert list(worded(film(plain, between), {"prompts": "weighted"}, 1)) == [plain, between]
    assert next(iter(worded(film(plain), {"prompts": "weighted"}, 1))) is plain


def test_plain_text_is_left_alone_and_the_timeline_says_so() -> None:
    found = worded(film(WILD), {"prompts": "plain"}, 1)
    assert found.prompts == "plain"
    assert next(iter(found)) is WILD


def test_a_film_that_is_measured_first_is_read_the_same_way() -> None:
    def again(arcs: Sequence[Arc]) -> Timeline:
        return film(WILD)

    retiming = Retiming(1, lambda segment, t: WILD, again)
    found = worded(film(WILD, retiming=retiming), {"prompts": "weighted"}, 7)
    assert found.retiming is not None
    assert found.retiming.shot(0, 0.0).prompt.start == expand_wildcards(TEXT, 7)
    assert next(iter(found.retiming.timeline([]))).prompt.start == expand_wildcards(TEXT, 7)
    plain = worded(film(WILD, retiming=retiming), {"prompts": "plain"}, 7)
    assert plain.retiming is not None
    assert plain.retiming.timeline([]).prompts == "plain"
    assert plain.retiming.shot(0, 0.0) is WILD

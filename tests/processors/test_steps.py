"""``process:`` of a preset: what it may say, and processors that break their word."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from sdcreative.errors import PluginError, UsageError
from sdcreative.presets import SettingError
from sdcreative.processors import (
    PROCESSORS,
    Step,
    apply_steps,
    check_processors,
    plan_steps,
    read_processors,
)
from sdcreative.settings import Strict
from sdcreative.tools import Film, Processor

FILM = Film((16, 8), 4, 12.0)


def pictures(count: int = 4, size: tuple[int, int] = (16, 8)) -> list[Image.Image]:
    return [Image.new("RGB", size, (10 * i, 0, 0)) for i in range(count)]


class Nested(Strict):
    """Settings of a stranger's processor."""

    pair: tuple[int, int] = (1, 2)
    depth: dict[str, int] = {}  # noqa: RUF012


def processor(
    process: Any, plan: Any = lambda settings, film: film, name: str = "my-own"
) -> Processor:
    return Processor(name, "One line.", Nested, plan, process)


def step(*arguments: Any) -> Step:
    return Step(processor(*arguments), Nested())


def test_names_alone_and_with_settings_in_their_order() -> None:
    steps = read_processors(["deflicker", {"upscale": {"scale": 3}}, {"deflicker": {}}])
    assert [s.processor.name for s in steps] == ["deflicker", "upscale", "deflicker"]
    assert steps[1].settings.scale == 3
    assert read_processors([]) == read_processors(()) == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["deflickr"], "process[0]: no processor is called 'deflickr'; did you mean 'deflicker'?"),
        (["color_match"], "process[0]: no processor is called 'color_match'; did you mean"),
        (["blur"], "process[0]: no processor is called 'blur'; there are: colour_match, deflicker"),
        (
            ["deflicker", {"upscale": {"scale": 5}}],
            "process[1].upscale.scale: 5 is too large; at most 4",
        ),
        (
            [{"upscale": {"scal": 2}}],
            "process[0].upscale.scal: unknown key 'scal'; did you mean 'scale'?",
        ),
        (
            [{"upscale": {"plugi": 2}}],
            "process[0].upscale.plugi: unknown key 'plugi'; there are: scale, method, network",
        ),
        ([{"upscale": {"scale": 2.0}}], "process[0].upscale.scale: 2.0 is not a whole number"),
        ([{"deflicker": {"window": 4}}], "process[0].deflicker.window: 4 is even"),
        ([{"deflicker": {"strength": 2}}], "process[0].deflicker.strength: 2 is too large; at"),
        ([{"upscale": {"network": "photo"}}], "process[0].upscale.network: is only for"),
        ([{"upscale": None}], "process[0].upscale: null is not a mapping of its settings"),
        (
            [{"upscale": None, "scale": 2}],
            "process[0]: 'scale' beside 'upscale'; settings stand further in than their",
        ),
        ([{"upscale": {}, "deflicker": {}}], "process[0]: 'deflicker' beside 'upscale'; settings"),
        ([{}], "process[0]: a mapping of keys is not a processor's name"),
        ([{3: {}, 4: {}}], "process[0]: a mapping of keys is not a processor's name"),
        ([3], "process[0]: 3 is not a processor's name"),
        ("deflicker", "process: 'deflicker' is not a list of processors"),
    ],
)
def test_faults_are_told_where_they_are(value: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        read_processors(value)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_all_faults_of_a_step_in_the_order_of_the_preset() -> None:
    with pytest.raises(UsageError) as error:
        read_processors([{"deflicker": {"window": 101, "strength": -1, "windw": 3}}])
    assert [line.partition(":")[0] for line in str(error.value).split("\n")] == [
        "process[0].deflicker.window",
        "process[0].deflicker.strength",
        "process[0].deflicker.windw",
    ]


def test_a_field_of_settings_learns_the_key_of_its_fault() -> None:
    with pytest.raises(SettingError, match=r"^5 is too large; at most 4$") as error:
        check_processors([{"upscale": {"scale": 5}}])
    assert error.value.path == (0, "upscale", "scale")
    assert check_processors(["deflicker"]) == ["deflicker"]


def test_settings_of_plugins_are_read_as_presets_are(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = processor(lambda settings, film, given: given)
    monkeypatch.setitem(PROCESSORS, "my-own", mine)
    [found] = read_processors([{"my-own": {"pair": [3, 4]}}])
    assert found.settings == Nested(pair=(3, 4))
    with pytest.raises(UsageError, match=r"^process\[0\]\.my-own\.pair\[1\]: 'x' is not a whole"):
        read_processors([{"my-own": {"pair": [3, "x"]}}])
    with pytest.raises(UsageError, match=r"^process\[0\]\.my-own\.depth\.a: true is not a whole"):
        read_processors([{"my-own": {"depth": {"a": True}}}])


def test_a_film_is_planned_through_all_steps() -> None:
    steps = read_processors([{"upscale": {"scale": 2}}, "deflicker", {"upscale": {"scale": 3}}])
    assert plan_steps(steps, FILM) == replace(FILM, size=(96, 48))
    assert plan_steps((), FILM) == FILM
    assert [p.size for p in apply_steps(steps, FILM, pictures())] == [(96, 48)] * 4


def test_without_steps_the_pictures_are_untouched() -> None:
    given = pictures()
    assert list(apply_steps((), FILM, given)) == given


def double(settings: Nested, film: Film, given: Iterable[Image.Image]) -> Iterator[Image.Image]:
    for each in given:
        yield each
        yield each


def enlarge(settings: Nested, film: Film, given: Iterable[Image.Image]) -> Iterator[Image.Image]:
    for each in given:
        yield each.resize((32, 16))


def grey(settings: Nested, film: Film, given: Iterable[Image.Image]) -> Iterator[Image.Image]:
    for each in given:
        yield each.convert("L")


def some(settings: Nested, film: Film, given: Iterable[Image.Image]) -> Iterator[Image.Image]:
    for number, each in enumerate(given):
        if number % 2:
            yield each


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (double, "'my-own' gave more than the 4 pictures that it planned"),
        (some, "'my-own' gave 2 pictures; 4 were planned"),
        (enlarge, "'my-own' gave 32x16 pixels; 16x8 were planned"),
        (grey, "'my-own' gave <PIL.Image.Image image mode=L"),
    ],
)
def test_a_processor_that_breaks_its_word_is_named(process: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        list(apply_steps([step(process)], FILM, pictures()))


@pytest.mark.parametrize(
    "plan",
    [
        lambda s, f: None,
        lambda s, f: replace(f, length=0),
        lambda s, f: replace(f, fps=0.0),
        lambda s, f: replace(f, fps=float("nan")),
    ],
)
def test_a_plan_that_is_no_film_names_its_processor(plan: Any) -> None:
    with pytest.raises(PluginError, match="processor 'my-own' plans"):
        plan_steps([step(double, plan)], FILM)


def test_pictures_that_no_machine_holds_are_refused_before_anything_is_rendered() -> None:
    steps = read_processors([{"upscale": {"scale": 4}}] * 6)
    with pytest.raises(UsageError, match=r"upscale: 65536x32768 pixels come out; enlarge less"):
        plan_steps(steps, FILM)
    assert plan_steps(steps[:5], FILM).size == (16384, 8192)


def test_what_the_plan_says_is_what_the_next_processor_is_told() -> None:
    told: list[Film] = []

    def watch(settings: Nested, film: Film, given: Iterable[Image.Image]) -> Iterator[Image.Image]:
        told.append(film)
        yield from given

    twice = replace(FILM, length=8, fps=24.0)
    steps = [step(double, lambda settings, film: twice), step(watch)]
    assert len(list(apply_steps(steps, FILM, pictures()))) == 8
    assert told == [twice]


def test_closing_closes_every_step_and_the_pictures_flow_one_by_one() -> None:
    closed: list[str] = []
    taken: list[int] = []

    def passing(name: str) -> Any:
        def process(
            settings: Nested, film: Film, given: Iterable[Image.Image]
        ) -> Iterator[Image.Image]:
            try:
                yield from given
            finally:
                closed.append(name)

        return process

    def source() -> Iterator[Image.Image]:
        for number, each in enumerate(pictures()):
            taken.append(number)
            yield each

    made = apply_steps([step(passing("a")), step(passing("b"))], FILM, source())
    next(made)
    assert taken == [0]
    made.close()
    assert sorted(closed) == ["a", "b"]


def test_reading_and_planning_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from sdcreative.processors import plan_steps, read_processors\n"
        "from sdcreative.tools import Film\n"
        "steps = read_processors(['deflicker', 'colour_match', {'upscale': {'scale': 2}}])\n"
        "plan_steps(steps, Film((8, 8), 2, 1.0))\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'diffusers', 'ncnn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Settings that change with the frames: how they are written, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdcreative import Audio, PresetError, RenderSettings, SettingError
from sdcreative.presets import load_preset, schema, validate
from sdcreative.scheduled import Scheduled, ScheduleKey, check_schedule, read_schedule


class Film(RenderSettings):
    zoom: Scheduled(0.5, 10) = 1.0  # type: ignore[valid-type]
    drift: Scheduled(0, 9) = 0.0  # type: ignore[valid-type]


class Heard(Film):
    audio: Audio | None = Audio(file="song.wav")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> Any:
    """The zoom of a preset; it stands on line 2."""
    Path("film.yaml").write_text(f"plugin: film\nzoom: {text}\n", encoding="utf-8")
    return validate(load_preset("film.yaml"), Film).zoom


class Sound:
    def at(self, frame: int) -> dict[str, float]:
        names = ("onset", "beat", "bass", "mid", "treble", "loudness")
        return dict.fromkeys(names, frame / 10)


@pytest.mark.parametrize(
    ("text", "kept", "values"),
    [
        ("2", 2, [2, 2, 2, 2, 2]),
        ("1 + t/4", "1 + t/4", [1, 1.25, 1.5, 1.75, 2]),
        ("0:(1), 4:(5)", "0:(1), 4:(5)", [1, 2, 3, 4, 5]),
        ("{0: 1, 2: t}", {0: 1, 2: "t"}, [1, 1.5, 2, 3, 4]),
        ('{"4": 5, "0": 1}', {4: 5, 0: 1}, [1, 2, 3, 4, 5]),
        (
            "{0: {value: 1, ease: hold}, 3: 2}",
            {0: ScheduleKey(value=1, ease="hold"), 3: 2},
            [1, 1, 1, 2, 2],
        ),
        ("s + max_f", "s + max_f", [11, 11, 11, 11, 11]),
        ("1 + onset", "1 + onset", [1, 1.1, 1.2, 1.3, 1.4]),
    ],
)
def test_forms(text: str, kept: Any, values: list[float]) -> None:
    found = load(text)
    assert found == kept
    schedule = read_schedule(found)
    assert [schedule.at(frame, 4, 7, Sound()) for frame in range(5)] == pytest.approx(values)
    assert schedule.hears == ("onset" in text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.4", "2:7: zoom: 0.4 is too small; at least 0.5"),
        ("11", "2:7: zoom: 11 is too large; at most 10"),
        ("{0: 1, 5: 11}", "2:17: zoom.5: 11 is too large; at most 10"),
        ("[1]", "2:7: zoom: a list is not a number or text or a mapping of keys"),
        ("{}", "2:7: zoom: 0 items; at least 1 item"),
        ("{x: 1}", "2:8: zoom.x: the key 'x' is not a whole number"),
        ('{0: 1, "0": 2}', "2:19: zoom.0: frame 0 again; keep one of them"),
        ("1 + sim(t)", "2:7: zoom: '1 + sim(t)', column 5: 'sim' is unknown; did you mean 'sin'?"),
        ("0:(1), 9:(t", "2:7: zoom: '0:(1), 9:(t', column 12: it ends; ')' is missing"),
        (
            "{0: {value: 1, ease: inn}}",
            "2:28: zoom.0.ease: no easing is called 'inn'; did you mean 'in'?",
        ),
        ("{0: {valu: 1}}", "2:12: unknown key 'valu'; did you mean 'value'?"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(PresetError) as error:
        load(text)
    assert f"film.yaml:{message}" in str(error.value).splitlines()


def test_a_schema_has_all_forms() -> None:
    kinds = schema(Film)["properties"]["zoom"]["anyOf"]
    assert [kind["type"] for kind in kinds] == ["number", "string", "object"]


def test_a_schedule_may_touch_the_ends_of_its_range() -> None:
    check_schedule(Film(drift="t"), "drift", 10)
    check_schedule(Film(drift=9), "drift", 10)
    check_schedule(Film(zoom="9.5 + t/20"), "zoom", 11)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("t", "10 at frame 10; keep it within 0 and 9, as with clip(..., 0, 9)"),
        ({0: 1, 20: "21"}, "10 at frame 9; keep it within 0 and 9, as with clip(..., 0, 9)"),
        ("1/(3 - t)", "'1/(3 - t)' has no value at frame 3: it divides by 0"),
        ("-1", "-1 at frame 0; keep it within 0 and 9, as with clip(..., 0, 9)"),
        ("s - 6", "-1 at frame 0"),
    ],
)
def test_schedules_that_leave_their_range(value: Any, message: str) -> None:
    with pytest.raises(SettingError) as error:
        check_schedule(Film(drift=value, seed=5), "drift", 12)
    assert str(error.value).startswith(message)
    assert error.value.path == ("drift",)


def test_what_hears_is_checked_once_the_sound_is_known() -> None:
    check_schedule(Heard(drift="20*onset"), "drift", 10)
    check_schedule(Heard(drift="9*onset"), "drift", 11, Sound())
    with pytest.raises(SettingError, match="10 at frame 5; keep it within 0 and 9"):
        check_schedule(Heard(drift="20*onset"), "drift", 10, Sound())


@pytest.mark.parametrize("settings", [Film(drift="onset"), Heard(drift="onset", audio=None)])
def test_what_hears_needs_a_sound(settings: Film) -> None:
    with pytest.raises(SettingError, match=r"^it hears a sound; give one with 'audio'$"):
        check_schedule(settings, "drift", 10)

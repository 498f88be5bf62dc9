"""The tempo grid of pictures: what is heard is exact, what is made is what models take."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import pytest

from sdcreative import UsageError
from sdcreative_plugins.music.grid import (
    Grid,
    Loop,
    Section,
    beat_columns,
    fit_grid,
    fit_loop,
    pictures_needed,
    section_times,
    span,
)

TEMPI = [20, 31.7, 48, 60, 72.5, 80, 93.75, 100, 110, 120, 128, 140, 174, 200, 251.3, 333, 400]
SIZES = list(product((256, 512, 768), (5, 10, 20), (8, 16)))
BARS = (2, 3, 4, 5, 6, 7)


@pytest.mark.parametrize(("width", "step_ms", "multiple"), SIZES)
def test_pictures_begin_on_beats_at_any_tempo(width: int, step_ms: int, multiple: int) -> None:
    for tempo, bar, share in product(TEMPI, BARS, (0.25, 0.5, 0.6, 0.75)):
        grid = fit_grid(
            tempo=tempo,
            step_ms=step_ms,
            multiple=multiple,
            width=width,
            beats_per_bar=bar,
            overlap_share=share,
        )
        assert (grid.width, grid.tempo) == (width, tempo)
        assert grid.hop % multiple == 0
        assert grid.hop + grid.overlap == width
        assert width / 4 <= grid.overlap <= width * 3 / 4
        assert abs(grid.stretch - 1) <= 0.04
        assert (grid.beats_per_hop * 256).is_integer()
        # The hundredth picture is heard on its beat, to a millionth of a column.
        heard = 100 * grid.hop * grid.stretch * step_ms / 1000
        assert heard == pytest.approx(100 * grid.beats_per_hop * 60 / tempo, rel=1e-9)


@pytest.mark.parametrize(("width", "step_ms", "multiple"), SIZES)
def test_no_longer_unit_and_no_nearer_hop_was_left_out(
    width: int, step_ms: int, multiple: int
) -> None:
    for tempo, bar in product((20, 66.6, 93.75, 140, 333), (3, 4)):
        grid = fit_grid(
            tempo=tempo, step_ms=step_ms, multiple=multiple, width=width, beats_per_bar=bar
        )
        beat = 60_000 / tempo / step_ms
        units = {3: [3, 1], 4: [4, 2, 1]}[bar] + [1 / 2, 1 / 4, 1 / 8, 1 / 16]
        # Every hop with every number of units, tried.
        possible: dict[float, list[tuple[float, float, int]]] = {unit: [] for unit in units}
        for unit, hop in product(units, range(multiple, width, multiple)):
            for number in range(1, int(width / (unit * beat)) + 2):
                stretch = number * unit * beat / hop
                if width / 4 <= hop <= width * 3 / 4 and abs(stretch - 1) <= 0.04:
                    far = round(abs(number * unit * beat - width / 2), 6)
                    possible[unit].append((far, abs(stretch - 1), hop))
        best = min(next(found for found in possible.values() if found))
        assert (abs(grid.stretch - 1), grid.hop) == best[1:]


def test_whole_bars_come_first_then_halves_then_beats_then_less() -> None:
    def beats(tempo: float, bar: int = 4, width: int = 512) -> tuple[float, int]:
        grid = fit_grid(tempo=tempo, step_ms=10, multiple=8, width=width, beats_per_bar=bar)
        return grid.beats_per_hop, grid.hop

    assert beats(120) == (4, 200)
    assert beats(93.75) == (4, 256)
    assert beats(180) == (8, 264)
    assert beats(60) == (2, 200)
    assert beats(60, bar=3) == (3, 304)
    assert beats(40, bar=5) == (2, 304)
    assert beats(20) == (1, 304)
    assert beats(20, width=256) == (0.5, 152)


def test_more_overlap_is_a_shorter_hop() -> None:
    def hop(tempo: float, share: float) -> int:
        return fit_grid(
            tempo=tempo,
            step_ms=10,
            multiple=8,
            width=512,
            beats_per_bar=4,
            overlap_share=share,
        ).hop

    # Two and three bars of 120 columns; one would be less than a quarter of the picture.
    assert [hop(200, share) for share in (0.25, 0.5, 0.75)] == [360, 240, 240]
    assert hop(180, 0.75) == 136


def test_riffusions_relation_between_tempo_and_columns() -> None:
    for columns, tempo in ((480, 100), (400, 120), (512, 93.75)):
        loop = fit_loop(tempo=tempo, beats=8, step_ms=10, multiple=8, width=512)
        assert loop == Loop(columns, columns, 1.0, tempo, 1, 0, columns)
        assert 6000 * 8 / loop.columns_heard == loop.tempo
        assert 8 * beat_columns(tempo, 10) == columns


@pytest.mark.parametrize(("width", "step_ms", "multiple"), SIZES)
def test_loops_close_at_any_tempo(width: int, step_ms: int, multiple: int) -> None:
    for tempo, beats in product(TEMPI, (1, 4, 8, 9, 16, 32, 63.5)):
        columns = beats * 60_000 / tempo / step_ms
        if not 16 <= round(columns) <= 16_384:
            continue
        loop = fit_loop(tempo=tempo, beats=beats, step_ms=step_ms, multiple=multiple, width=width)
        assert loop.columns_heard == round(columns)
        assert loop.columns_made % multiple == 0
        assert loop.hop % multiple == 0
        assert loop.pictures * loop.hop == loop.columns_made
        assert loop.columns_made * loop.stretch == pytest.approx(loop.columns_heard, rel=1e-12)
        seconds = loop.columns_heard * step_ms / 1000
        assert loop.tempo == pytest.approx(60 * beats / seconds, rel=1e-12)
        assert loop.tempo == pytest.approx(tempo, rel=0.51 / columns)
        if loop.pictures == 1:
            assert loop.columns_made <= 1.75 * width
            assert loop.overlap == 0
            assert abs(loop.columns_made - columns) <= multiple
        else:
            assert columns > 1.75 * width - multiple
            assert loop.hop + loop.overlap == width
            assert width / 4 <= loop.overlap <= width * 3 / 8
            assert abs(loop.stretch - 1) <= 0.0625 + 1e-9
            # Fewer of them, but not one alone, would be stretched too much.
            hops = range(-(-width * 5 // 8 // multiple) * multiple, width * 3 // 4 + 1, multiple)
            fewer = product(range(2, loop.pictures), hops)
            assert all(abs(loop.columns_heard / (n * hop) - 1) > 0.06 for n, hop in fewer)


def test_the_last_picture_of_a_loop_reaches_into_the_first() -> None:
    loop = fit_loop(tempo=120, beats=32, step_ms=10, multiple=8, width=512)
    assert (loop.pictures, loop.hop, loop.overlap) == (4, 384, 128)
    assert loop.span(0) == (0, 512)
    start, end = loop.span(loop.pictures - 1)
    assert end - loop.columns_made == loop.overlap
    assert start < loop.columns_made


def test_loops_of_narrow_pictures_are_stretched_as_little_as_can_be() -> None:
    loop = fit_loop(tempo=60, beats=1, step_ms=10, multiple=16, width=48)
    # Only a hop of 32 columns leaves a quarter of them: three are nearest to 100.
    assert (loop.pictures, loop.hop, loop.columns_made) == (3, 32, 96)


def test_pictures_cover_the_columns_and_one_fewer_does_not() -> None:
    for width, overlap, columns in product((64, 512), (16, 20, 48), range(1, 1500, 37)):
        count = pictures_needed(columns, width, overlap)
        assert span(count - 1, width, overlap)[1] >= columns
        assert count == 1 or span(count - 2, width, overlap)[1] < columns
    grid = Grid(512, 312, 200, 4, 1.0, 120)
    assert [grid.span(k) for k in (0, 1, 9)] == [(0, 512), (200, 712), (1800, 2312)]


def test_sections_follow_one_another() -> None:
    sections: list[Section] = [
        ("intro", 4, None, None),
        ("verse", None, 6, None),
        ("break", None, None, 2.25),
        ("end", 0.5, None, None),
    ]
    assert section_times(sections, 90, 3) == [
        (0, pytest.approx(8)),
        (pytest.approx(8), pytest.approx(12)),
        (pytest.approx(12), pytest.approx(14.25)),
        (pytest.approx(14.25), pytest.approx(15.25)),
    ]
    assert section_times([("all", None, None, 7.5)], None, 4) == [(0, 7.5)]
    assert section_times([], None, 4) == []


@pytest.mark.parametrize(
    ("section", "tempo", "message"),
    [
        (("a", 4, None, None), None, "section 'a' is given in bars, which needs a tempo"),
        (("a", None, 4, None), None, "section 'a' is given in beats, which needs a tempo"),
        (("a", None, None, None), 120, "section 'a' has no length"),
        (("a", 4, None, 2), 120, "section 'a' has bars and seconds"),
        (("a", None, None, 0), 120, "section 'a': seconds are 0; give more than 0"),
        (("a", float("nan"), None, None), 120, "section 'a': bars are nan"),
        (("a", 4, None, None), 500, "tempo 500: give 20 to 400"),
    ],
)
def test_sections_that_cannot_be_timed(section: Section, tempo: float | None, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        section_times([section], tempo, 4)
    assert message in str(caught.value)


@pytest.mark.parametrize("tempo", [0, 19.9, 400.1, -120, float("nan"), float("inf")])
def test_tempi_out_of_range(tempo: float) -> None:
    with pytest.raises(UsageError, match="give 20 to 400 beats per minute"):
        fit_grid(tempo=tempo, step_ms=10, multiple=8, width=512, beats_per_bar=4)
    with pytest.raises(UsageError, match="give 20 to 400 beats per minute"):
        fit_loop(tempo=tempo, beats=8, step_ms=10, multiple=8, width=512)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"beats": 0}, "a loop of 0 beats: give more than 0"),
        ({"beats": float("inf")}, "a loop of inf beats"),
        ({"beats": 0.25}, "has 12 columns, 16 to 16384 are possible; give more beats"),
        ({"beats": 400}, "has 20000 columns, 16 to 16384 are possible; give fewer beats"),
        ({"beats": 32, "width": 500}, "pictures of 500 columns: give a multiple of 8, at least 16"),
        ({"width": 8}, "pictures of 8 columns"),
    ],
)
def test_loops_that_cannot_be_made(changed: dict[str, float], message: str) -> None:
    settings = {"tempo": 120, "beats": 8, "step_ms": 10, "multiple": 8, "width": 512, **changed}
    with pytest.raises(UsageError) as caught:
        fit_loop(**settings)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_the_shortest_and_the_longest_loop() -> None:
    def loop(columns: int) -> Loop:
        return fit_loop(tempo=60, beats=columns / 100, step_ms=10, multiple=8, width=512)

    assert loop(16).columns_made == 16
    assert loop(16_384).columns_heard == 16_384
    assert (loop(16_384).pictures, loop(16_384).hop) == (41, 384)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"overlap_share": 0.2}, "overlap 0.2: give a share"),
        ({"overlap_share": 0.8}, "overlap 0.8: give a share"),
        ({"beats_per_bar": 0}, "0 beats per bar: give 1 or more"),
        ({"width": 510}, "pictures of 510 columns"),
        ({"tempo": 20, "width": 16, "step_ms": 1}, "do not fit its beats within 4 %"),
    ],
)
def test_grids_that_cannot_be_made(changed: dict[str, float], message: str) -> None:
    settings = {"tempo": 400, "step_ms": 10, "multiple": 8, "width": 512, "beats_per_bar": 4}
    with pytest.raises(UsageError) as caught:
        fit_grid(**(settings | changed))  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_grids_patterns_and_keys_are_checked_without_numpy() -> None:
    code = (
        "import sys\n"
        "import sdcreative_plugins.music.grid\n"
        "from sdcreative_plugins.music.beat import PATTERNS, parse_key\n"
        "parse_key('Am')\n"
        "print(len(PATTERNS), 'numpy' in sys.modules, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["False", "False"]

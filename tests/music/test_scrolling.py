"""Scrolling spectrograms: in step with the sound, smooth, in the right colours and places."""

from __future__ import annotations

import subprocess
import tracemalloc
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy
import pytest
import soundfile
from PIL import Image

from sdcreative.errors import DataError, OutputError, UsageError
from sdcreative.media.frames import read_frames
from sdcreative.media.metadata import read_tags
from sdcreative.media.spectrogram import mel_spectrogram, spectrogram_to_image
from sdcreative.media.video import ffmpeg, probe_sound
from sdcreative.media.writers import probe
from sdcreative.music.scrolling.bars import bar_levels
from sdcreative.music.scrolling.colours import background, colours
from sdcreative.music.scrolling.film import scroll, write_scroll
from sdcreative.music.scrolling.layout import (
    Lane,
    clock,
    frequency_labels,
    height_of,
    lay_out,
)
from sdcreative.music.scrolling.survey import RANGE, survey
from sdcreative.spectral.params import SpectrogramParams

RIFFUSION = SpectrogramParams()
SMALL = SpectrogramParams(
    sample_rate=22_050, step_ms=20, window_ms=100, padded_ms=200, bands=96, max_hz=10_000
)
SHARP = SpectrogramParams(sample_rate=22_050, window_ms=20, padded_ms=100, bands=48)
SIZE = (640, 360)
SIZES = [(1280, 720), (720, 720), (1920, 1080), (320, 180), (160, 90), (1080, 1920)]


def noise(params: SpectrogramParams, columns: int, channels: int = 1) -> numpy.ndarray:
    random = numpy.random.default_rng(0)
    return random.integers(0, 256, (channels, params.bands, columns)).astype(numpy.uint8)


def pictured(samples: numpy.ndarray, params: SpectrogramParams) -> numpy.ndarray:
    """(1, bands, columns) of one channel."""
    picture = spectrogram_to_image(mel_spectrogram(samples[None], params), params)
    return numpy.asarray(picture)[None, :, :, 0]


def light(picture: Image.Image) -> numpy.ndarray:
    """(height, width) brightness."""
    return numpy.asarray(picture.convert("L"), numpy.float64)


def click(at: float, seconds: float, rate: int) -> numpy.ndarray:
    samples = numpy.zeros(round(seconds * rate), numpy.float32)
    samples[round(at * rate)] = 1
    return samples


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize(("fps", "suffix"), [(30, ".mp4"), (24000 / 1001, ".mkv"), (60, ".mov")])
def test_a_click_is_under_the_playhead_when_it_is_heard(
    tmp_path: Path, fps: float, suffix: str
) -> None:
    moment, seconds, rate = 0.77, 1.3, SHARP.sample_rate
    samples = click(moment, seconds, rate)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    path = tmp_path / f"a{suffix}"
    frames = scroll(pictured(samples, SHARP), SHARP, seconds, size=SIZE, fps=fps)
    written = write_scroll(path, suffix, frames, fps, SIZE, tmp_path / "a.wav", {"note": "1"})
    assert (
        written == probe(path).frames == -(-seconds * Fraction(fps).limit_denominator(10_000) // 1)
    )
    assert read_tags(path) == {"note": "1"}
    assert names(tmp_path) == [f"a{suffix}", "a.wav"]
    # Matroska does not say where the last AAC frame of 1024 samples ends.
    assert probe_sound(path) == pytest.approx(written / fps, abs=1100 / rate)

    layout = lay_out(SIZE, Fraction(fps), 1)
    near = slice(layout.playhead - 3, layout.playhead + 4)
    shown = [light(frame)[: layout.ground, near].mean() for frame in read_frames(path)]
    assert abs(int(numpy.argmax(shown)) / fps - moment) <= 1 / fps
    command = [ffmpeg(), "-v", "error", "-i", str(path), "-map", "0:a", "-f", "f32le", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    heard = int(numpy.abs(numpy.frombuffer(raw, "<f4")).argmax()) / rate
    assert abs(heard - moment) < 0.002
    assert abs(heard - int(numpy.argmax(shown)) / fps) <= 1 / fps


def test_every_frame_is_the_one_before_moved_by_the_same_whole_pixels() -> None:
    columns = noise(SMALL, 700)
    layout = lay_out(SIZE, Fraction(30), 1)
    ahead = slice(layout.playhead + 10, SIZE[0] - 30)
    before: numpy.ndarray | None = None
    # So many that tiles have to meet within them.
    for frame in islice(scroll(columns, SMALL, 14, size=SIZE), 400):
        now = numpy.asarray(frame)[: layout.ground]
        if before is not None:
            moved = before[:, ahead.start + layout.step : ahead.stop]
            assert (now[:, ahead.start : ahead.stop - layout.step] == moved).all()
        before = now
    assert layout.step == 4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("params", [RIFFUSION, SMALL], ids=["512 bands", "96 bands"])
def test_sizes(size: tuple[int, int], channels: int, params: SpectrogramParams) -> None:
    seconds = params.seconds(40)
    frames = list(islice(scroll(noise(params, 40, channels), params, seconds, size=size), 3))
    assert [(frame.size, frame.mode) for frame in frames] == [(size, "RGB")] * 3
    layout = lay_out(size, Fraction(30), channels)
    assert layout.lanes[0].top in (0, 1)
    assert layout.lanes[-1].top + layout.lanes[-1].height == layout.ground < size[1]
    for lane in layout.lanes:
        assert frequency_labels(params, lane, layout)


def test_there_are_as_many_frames_as_the_sound_needs() -> None:
    columns = noise(SMALL, 52)
    for seconds, fps, wanted in ((1.02, 30, 31), (1.0, 30, 30), (1.0, 12.5, 13), (0.001, 30, 1)):
        assert len(list(scroll(columns, SMALL, seconds, size=(160, 90), fps=fps))) == wanted
    for seconds, wanted in ((1.01, 30), (1.02, 31)):
        frames = scroll(columns, SMALL, seconds, size=(160, 90), loop=True)
        assert len(list(frames)) == wanted


def test_before_and_after_the_music_it_is_dark_but_a_loop_goes_on() -> None:
    columns = numpy.zeros((1, SMALL.bands, 100), numpy.uint8)
    layout = lay_out(SIZE, Fraction(30), 1)
    past = slice(layout.playhead - 40, layout.playhead - 10)
    quiet, looped = (
        numpy.asarray(next(scroll(columns, SMALL, 2, size=SIZE, loop=loop)))[: layout.ground]
        for loop in (False, True)
    )
    lines = [round(label.y) for label in frequency_labels(SMALL, layout.lanes[0], layout)]
    between = numpy.delete(numpy.arange(layout.ground), lines)
    assert (quiet[between, past] == background()).all()
    assert looped[between, past].mean() > 60
    *_, last = scroll(columns, SMALL, 2, size=SIZE)
    after = slice(layout.playhead + 30, SIZE[0] - 30)
    assert (numpy.asarray(last)[between, after] == background()).all()


def test_a_loop_looks_the_same_after_every_round() -> None:
    columns = noise(SMALL, 100)  # 2 seconds, 60 frames
    layout = lay_out(SIZE, Fraction(30), 1)
    frames = list(scroll(numpy.concatenate([columns] * 2, -1), SMALL, 4, size=SIZE, loop=True))
    once = list(scroll(columns, SMALL, 2, size=SIZE, loop=True))
    for number in (0, 13, 59):
        strips = [
            numpy.asarray(frame)[: layout.ground].astype(int)
            for frame in (once[number], frames[number], frames[number + 60])
        ]
        for other in strips[1:]:
            # The filter's weights are rounded a little differently further on.
            assert abs(strips[0] - other).max() <= 6


def test_what_is_past_is_dimmer_and_what_is_heard_is_brightest() -> None:
    columns = numpy.full((1, SMALL.bands, 400), 120, numpy.uint8)
    columns[:, ::4] = 30
    layout = lay_out(SIZE, Fraction(30), 1)
    *_, frame = islice(scroll(columns, SMALL, 8, size=SIZE), 120)
    brightness = light(frame)[: layout.ground].mean(0)
    past, ahead = brightness[layout.playhead - 110], brightness[layout.playhead + 60]
    heard = brightness[layout.playhead - 8]
    assert 0.3 * ahead < past < 0.8 * ahead
    assert heard > 1.1 * ahead
    assert brightness[layout.playhead] > heard  # the line
    assert brightness[0] == light(Image.new("RGB", (1, 1), background()))[0, 0]
    assert (numpy.diff(brightness[layout.playhead - 120 : layout.playhead - 8]) > -1.5).all()


def test_left_is_above_right() -> None:
    columns = numpy.full((2, SMALL.bands, 400), 255, numpy.uint8)
    columns[0, :, ::3] = 0
    frame = light(next(scroll(columns, SMALL, 8, size=SIZE)))
    layout = lay_out(SIZE, Fraction(30), 2)
    upper, lower = (
        frame[lane.top : lane.top + lane.height, layout.playhead + 20 : -40].mean()
        for lane in layout.lanes
    )
    dark = light(Image.new("RGB", (1, 1), background()))[0, 0]
    assert upper - dark > 50 > 2 > lower - dark >= 0


@pytest.mark.parametrize("params", [RIFFUSION, SMALL], ids=["512 bands", "96 bands"])
@pytest.mark.parametrize("hertz", [200, 1000, 5000])
def test_a_tone_is_at_its_label(params: SpectrogramParams, hertz: float) -> None:
    time = numpy.arange(2 * params.sample_rate) / params.sample_rate
    tone = numpy.sin(2 * numpy.pi * hertz * time).astype(numpy.float32)
    frame = light(next(scroll(pictured(tone, params), params, 2)))
    layout = lay_out((1280, 720), Fraction(30), 1)
    found = frame[: layout.ground, layout.playhead + 60 : layout.playhead + 200].mean(1)
    said = f"{hertz} Hz" if hertz < 1000 else f"{hertz // 1000} kHz"
    lane = Lane(0, layout.ground)
    label = {
        **{each.said: each.y for each in frequency_labels(params, lane, layout)},
        "200 Hz": layout.ground * (1 - height_of(200, params)),
    }[said]
    middle = numpy.average(numpy.arange(layout.ground), weights=found**4)
    assert abs(middle - label) < max(2, 0.6 * layout.ground / params.bands)


def test_frequencies_are_where_the_tops_of_their_bands_are() -> None:
    corners = SMALL.corners()
    for band in (0, 1, 40, 95):
        assert height_of(corners[band + 1], SMALL) == pytest.approx((band + 0.5) / 96)
    layout = lay_out((1280, 720), Fraction(30), 1)
    labels = frequency_labels(SMALL, layout.lanes[0], layout)
    said = [label.said for label in labels]
    assert said == ["10 kHz", "5 kHz", "2 kHz", "1 kHz", "500 Hz", "100 Hz"]
    middles = [label.middle for label in labels]
    assert (numpy.diff(middles) >= 2 * layout.text).all()
    narrow = SpectrogramParams(min_hz=2100, max_hz=4900, bands=64)
    assert len(frequency_labels(narrow, layout.lanes[0], layout)) == 2


def test_even_steps_in_loudness_are_even_steps_in_lightness() -> None:
    table = colours() / 255
    linear = numpy.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    # Ottosson's other matrix, from linear RGB.
    cones = numpy.array([
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ])  # fmt: skip
    lightness = numpy.cbrt(linear @ cones.T) @ [0.2104542553, 0.7936177850, -0.0040720468]
    straight = numpy.linspace(lightness[0], lightness[-1], 256)
    assert lightness[0] < 0.15
    assert lightness[-1] > 0.95
    assert abs(lightness - straight)[16:].max() < 0.006  # 8 bits are coarse in the dark
    assert numpy.diff(lightness[::4]).min() > 0


def test_the_loudest_is_brightest_and_decibels_below_it_are_dark() -> None:
    columns = numpy.full((1, 8, 500), 255, numpy.uint8)
    columns[0, :, :50] = 100
    curve = survey(columns, 0.25).curve
    assert curve[100] == 255 == curve[20]
    assert (numpy.diff(curve.astype(int)) <= 0).all()
    below = (255 - numpy.arange(256)) / 155
    with numpy.errstate(divide="ignore"):
        decibels = 20 * numpy.log10(below) / 0.25
    assert (curve[decibels < -RANGE - 1] == 0).all()
    assert (curve[decibels > -RANGE + 5] > 0).all()
    # The same magnitudes in pictures of another power look the same.
    share = ((255 - columns) / 255.0) ** 2
    other = (255 - numpy.rint(255 * share)).astype(numpy.uint8)
    assert int(survey(other, 0.5).curve[other[0, 0, 0]]) == 255
    half = round(255 - 255 * (155 / 255 / 2) ** 2)
    assert abs(int(survey(other, 0.5).curve[half]) - int(curve[round(255 - 155 / 2)])) <= 3


def test_silence_stays_dark() -> None:
    columns = numpy.full((1, SMALL.bands, 200), 250, numpy.uint8)
    found = survey(columns, 0.25)
    assert found.curve[250] == 0
    frame = numpy.asarray(next(scroll(columns, SMALL, 4, size=SIZE)))
    layout = lay_out(SIZE, Fraction(30), 1)
    assert (frame[layout.ground // 2 + 5, layout.playhead + 20 : -40] <= 60).all()


def test_bars_are_means_of_equal_parts() -> None:
    loudness = numpy.array([1, 3, 2, 2, 8, 0], numpy.float32)
    assert bar_levels(loudness, 6, 3) == pytest.approx([0.5, 0.5, 1])
    assert bar_levels(loudness, 6, 12)[:4] == pytest.approx([1 / 8, 1 / 8, 3 / 8, 3 / 8])
    assert bar_levels(loudness, 12, 2) == pytest.approx([1, 0])
    assert bar_levels(numpy.zeros(6, numpy.float32), 6, 3).tolist() == [0, 0, 0]


def test_the_time_and_the_bars_go_on() -> None:
    assert [clock(t) for t in (0, 59.99, 60, 3599, 3661)] == [
        "0:00", "0:59", "1:00", "59:59", "1:01:01"
    ]  # fmt: skip
    frames = list(scroll(noise(SMALL, 101), SMALL, 2, size=SIZE, fps=10))
    layout = lay_out(SIZE, Fraction(10), 1)
    panels = [numpy.asarray(frame)[layout.ground :] for frame in frames]
    left = slice(0, 40)
    assert (panels[0][:, left] == panels[9][:, left]).all()
    assert (panels[9][:, left] != panels[10][:, left]).any()
    colourful = [int((numpy.ptp(panel, axis=-1) > 60).sum()) for panel in panels]
    assert colourful == sorted(colourful)
    assert colourful[0] == 0 < colourful[5] < colourful[19]


def test_a_long_memory_map_is_read_in_parts(tmp_path: Path) -> None:
    columns = numpy.lib.format.open_memmap(
        tmp_path / "long.npy", "w+", numpy.uint8, (2, SMALL.bands, 150_000)
    )
    columns[:, 20:24] = 255
    columns[:, :, 60:200] = noise(SMALL, 140, 2)
    columns.flush()
    tracemalloc.start()
    long = list(islice(scroll(columns, SMALL, 3000, size=SIZE), 40))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < columns.nbytes / 2
    layout = lay_out(SIZE, Fraction(30), 2)
    short = list(islice(scroll(numpy.array(columns[..., :1000]), SMALL, 20, size=SIZE), 40))
    for one, other in zip(long, short, strict=True):
        strips = [numpy.asarray(each)[: layout.ground].astype(int) for each in (one, other)]
        # What is loudest is much the same.
        assert abs(strips[0] - strips[1]).mean() < 4


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((1281, 720), "size 1281x720: H.264 takes even sizes only; give 1282x720"),
        ((720, 721), "give 720x722"),
        ((100, 100), "takes from 160x90"),
        ((160, 88), "takes from 160x90"),
        ((9000, 720), "to 8192x8192"),
    ],
)
def test_sizes_that_cannot_be(size: tuple[int, int], message: str) -> None:
    with pytest.raises(UsageError) as error:
        scroll(noise(SMALL, 10), SMALL, 1, size=size)
    assert message in str(error.value)


def test_what_is_no_spectrogram_is_refused_at_once() -> None:
    for fps in (0.5, 300, float("nan")):
        with pytest.raises(UsageError, match="fps is"):
            scroll(noise(SMALL, 10), SMALL, 1, fps=fps)
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(DataError, match="seconds of sound; give more than 0"):
            scroll(noise(SMALL, 10), SMALL, seconds)
    with pytest.raises(DataError, match="give 512 bands"):
        scroll(noise(SMALL, 10), RIFFUSION, 1)
    for columns in (noise(SMALL, 10)[0], noise(SMALL, 10) / 255, noise(SMALL, 10, 3)):
        with pytest.raises(DataError, match="a spectrogram of shape"):
            scroll(columns, SMALL, 1)


def test_a_film_that_fails_leaves_nothing_beside_it(tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    soundfile.write(sound, numpy.zeros(8000), 8000)
    path = tmp_path / ".x.part"
    picture = Image.new("RGB", SIZE)

    def interrupted() -> object:
        yield picture
        raise KeyboardInterrupt

    def write(frames: object, **changed: Path) -> None:
        kept = {"sound_file": sound} | changed
        write_scroll(path, ".mp4", frames, 30, SIZE, tags={}, name=Path("x.mp4"), **kept)  # type: ignore[arg-type]

    with pytest.raises(OutputError, match=r"x\.mp4: no frames to write"):
        write([])
    with pytest.raises(
        OutputError, match=r"x\.mp4: a picture of 8x8 pixels, where 640x360 were due"
    ):
        write([picture, Image.new("RGB", (8, 8))])
    with pytest.raises(DataError, match="no such file"):
        write([picture], sound_file=tmp_path / "none.wav")
    with pytest.raises(KeyboardInterrupt):
        write(interrupted())
    assert names(tmp_path) == ["a.wav"]
    write([picture] * 3)
    assert names(tmp_path) == [".x.part", "a.wav"]


def test_the_same_music_gives_the_same_film(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(SMALL, 100)[0, 0] / 300, 100 * 80)
    for name in ("a.mp4", "b.mp4"):
        frames = scroll(noise(SMALL, 20), SMALL, 0.4, size=(160, 90))
        write_scroll(tmp_path / name, ".mp4", frames, 30, (160, 90), tmp_path / "a.wav", {})
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()

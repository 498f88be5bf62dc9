"""Settings of the `music` tool."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from sdcreative import RenderSettings, SettingError, Strict, UsageError

Tempo = Annotated[float, Field(ge=20, le=400)]
LONGEST = 360_000
"""seconds of music, bars or beats"""
Seconds = Annotated[float, Field(ge=0, le=LONGEST)]
Length = Annotated[float, Field(gt=0, le=LONGEST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

BOTH_SIDES = 0.2
"""What ``stereo: true`` stands for."""


def _checked_key(key: str) -> str:
    from .beat import parse_key

    try:
        parse_key(key)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return key


def _known_beat(name: str) -> str:
    from .beat_patterns import BEATS

    if name not in BEATS:
        raise ValueError(f"{name!r} is no beat; choose {', '.join(BEATS)}")
    return name


def _sides(value: Any) -> Any:
    return BOTH_SIDES * value if isinstance(value, bool) else value


class Section(Strict):
    """A part of a song: what it sounds like, and how long it is."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompt: Annotated[str, Field(min_length=1)]
    """what it sounds like"""
    name: str = ""
    """such as intro or chorus; for you"""
    bars: Length | None = None
    """its length in bars, by ``tempo``"""
    beats: Length | None = None
    """its length in beats"""
    seconds: Length | None = None
    """its length in seconds"""
    negative_prompt: str | None = None
    """what guidance moves away from; that of the song if left out"""
    seed: Seed | None = None
    """of its own; else those of the song go on"""

    @model_validator(mode="after")
    def _one_length(self) -> Section:
        if sum(length is not None for length in (self.bars, self.beats, self.seconds)) != 1:
            raise SettingError("give the section's length as 'bars', 'beats' or 'seconds'")
        return self


class Take(Strict):
    """A piece of a sound file."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Annotated[str, Field(min_length=1)]
    """wav, flac, ogg or mp3"""
    start: Seconds = 0.0
    """seconds into the file where it begins"""
    seconds: Length | None = None
    """how much of it; all that follows if left out"""


class Region(Strict):
    """A part of a spectrogram: a stretch of time, a band of frequencies, or both."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    seconds: Annotated[list[Seconds], Field(min_length=2, max_length=2)] | None = None
    """from and to, in the music; all of it if left out"""
    hz: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)] | None = (
        None
    )
    """from and to; all frequencies if left out"""

    @model_validator(mode="after")
    def _rises(self) -> Region:
        for key in ("seconds", "hz"):
            pair = getattr(self, key)
            if pair is not None and not pair[0] < pair[1]:
                raise SettingError(f"{pair[0]:g} to {pair[1]:g}: give the smaller one first", key)
        if self.seconds is None and self.hz is None:
            raise SettingError("give 'seconds', 'hz' or both")
        return self


def _take(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


Sound = Annotated[Take, BeforeValidator(_take)]


class MusicSettings(RenderSettings):
    """Music of one prompt or of sections, anew or from a sound.

    It is as long as ``seconds``, ``bars`` or ``beats`` say, or its sections, or the sound that it
    is made from; else as one picture of the model.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: Annotated[str, Field(min_length=1)] = "riff"
    """built-in name, folder of a diffusers model, or id on the Hugging Face hub"""
    prompt: str | None = None
    """what it sounds like, such as funk bass line with a jazzy saxophone solo"""
    sections: Annotated[list[Section], Field(min_length=1, max_length=1000)] | None = None
    """in place of prompt: parts of a song, one after another"""
    negative_prompt: str = ""
    """what guidance moves away from"""
    seconds: Length | None = None
    """length of the music"""
    bars: Length | None = None
    """length in bars, by ``tempo``"""
    beats: Length | None = None
    """length in beats, by ``tempo``"""
    tempo: Tempo | None = None
    """beats per minute; said in the prompt, and exact in the lengths of bars, beats and loops"""
    beats_per_bar: Annotated[int, Field(ge=1, le=64)] | None = None
    """how many beats make a bar; those of ``beat``, such as 3 in a waltz, else 4"""
    loop: bool = False
    """end where it begins, so that it can be played in a circle"""
    join: Literal["continue", "walk"] = "continue"
    """continue: each picture goes on from the one before; walk: each is made by itself, on a way
    between prompts and seeds"""
    glide: Annotated[float, Field(ge=0, le=1)] | None = None
    """share of a section in which it passes into the next; 0 if left out, in a walk 1"""
    beat: Annotated[str, AfterValidator(_known_beat)] | None = None
    """start from a beat, such as techno, house, funk, rock or waltz; needs tempo"""
    key: Annotated[str, AfterValidator(_checked_key)] | None = None
    """of the beat's bass and chords, such as A minor"""
    image: str | None = None
    """start from a picture of a spectrogram, which begins again at its end"""
    mask: str | None = None
    """on image or beat: white is painted anew, black is kept"""
    audio: Sound | None = None
    """start from a sound file, or a piece of one"""
    morph_to: Sound | None = None
    """with audio: pass over into this sound from beginning to end"""
    repaint: Annotated[list[Region], Field(min_length=1)] | None = None
    """with audio: the parts to make anew; the rest is kept"""
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    """of the change to what it starts from: 0 gives it back, 1 is pure noise"""
    stereo: Annotated[float, Field(ge=0, le=1), BeforeValidator(_sides)] = 0.0
    """how far left and right are apart; true is 0.2, and keeps both sides of audio"""
    quality: bool = False
    """spend five times the work on the phases"""
    loudness: Annotated[float, Field(ge=-70, le=0)] | None = -14.0
    """LUFS of the whole; null leaves it as it comes"""
    true_peak: Annotated[float, Field(ge=-20, le=0)] = -1.0
    """highest that is allowed, dBTP"""
    fade_in: Seconds = 0.0
    """seconds at the beginning"""
    fade_out: Seconds = 0.0
    """seconds at the end"""
    also: list[Annotated[str, Field(min_length=1)]] = Field(default=[], max_length=20)
    """more files of the same music: .wav, .flac, .ogg, .mp3, its spectrogram as .png, a film of it
    as .mp4"""

    @property
    def beside(self) -> tuple[str, ...]:
        return tuple(self.also)

    @property
    def bar(self) -> int:
        """Beats in a bar."""
        if self.beats_per_bar is not None:
            return self.beats_per_bar
        from .beat_patterns import BEATS

        return 4 if self.beat is None else BEATS[self.beat].bar

    @property
    def span(self) -> float | None:
        """Seconds that ``seconds``, ``bars`` or ``beats`` say; None if none does."""
        beats = self.beats if self.bars is None else self.bars * self.bar
        if beats is None or self.tempo is None:
            return self.seconds
        return beats * 60 / self.tempo

    @model_validator(mode="after")
    def _fits_together(self) -> MusicSettings:
        self._check_prompts()
        self._check_length()
        self._check_start()
        if self.loop and (self.fade_in or self.fade_out):
            raise SettingError("a loop has no end to fade at; leave it out", "loop")
        if self.process:
            raise SettingError("is for pictures that are looked at; leave it out", "process")
        return self

    def _check_prompts(self) -> None:
        if self.prompt is not None and self.sections is not None:
            raise SettingError("give 'prompt' or 'sections', not both", "sections")
        if self.prompt is None and self.sections is None:
            raise ValueError("missing key 'prompt', or 'sections' with a prompt each")
        if self.sections is None:
            for key in ("glide", "join"):
                if key in self.model_fields_set:
                    raise SettingError("is for 'sections', not for one 'prompt'", key)

    def _check_length(self) -> None:
        lengths = [key for key in ("seconds", "bars", "beats") if getattr(self, key) is not None]
        if len(lengths) > 1:
            raise SettingError(f"give '{lengths[0]}' or '{lengths[1]}', not both", lengths[1])
        if lengths and self.sections is not None:
            raise SettingError("the sections have lengths of their own; leave it out", lengths[0])
        if self.tempo is None:
            for key in ("bars", "beats", "beats_per_bar", "beat"):
                if getattr(self, key) is not None:
                    raise SettingError("needs 'tempo'", key)
            for index, section in enumerate(self.sections or []):
                if section.seconds is None:
                    key = "bars" if section.bars is not None else "beats"
                    raise SettingError("needs 'tempo'", "sections", index, key)

    def _check_start(self) -> None:
        given = [key for key in ("audio", "image", "beat") if getattr(self, key) is not None]
        if len(given) > 1:
            raise SettingError(f"give '{given[0]}' or '{given[1]}', not both", given[1])
        for key, needed in (("morph_to", "audio"), ("repaint", "audio"), ("key", "beat")):
            if getattr(self, key) is not None and getattr(self, needed) is None:
                raise SettingError(f"needs '{needed}'", key)
        if self.mask is not None and self.image is None and self.beat is None:
            raise SettingError("needs 'image' or 'beat', which it is laid on", "mask")
        if self.strength is not None and not given:
            raise SettingError("needs 'audio', 'image' or 'beat' to start from", "strength")
        if self.morph_to is not None and self.repaint is not None:
            raise SettingError("repaint one sound, or morph between two", "repaint")
        if self.audio is not None:
            for key in ("loop", "bars", "beats", "beats_per_bar", "sections"):
                if getattr(self, key):
                    raise SettingError("the music is as long as 'audio'; leave it out", key)
            if self.seconds is not None:
                raise SettingError("say it in audio: {file: ..., seconds: ...}", "seconds")

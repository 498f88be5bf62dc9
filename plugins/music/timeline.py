"""Settings of the `music` tool to a timeline, whose pictures are heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sdcreative import Continuation, Crossfade, Score, Shot, Timeline, model_facts

from .layout import Layout, lay_out, picture_size
from .script import Script
from .settings import MusicSettings
from .starts import Starts, open_starts


def timeline(settings: MusicSettings) -> Timeline:
    """Overlapping pictures of the music, those of left and right in turn.

    Raises:
        ModelError: the model cannot be found.
        UsageError: settings that make no sense with it.
        DataError: a sound or a picture that cannot be read.
    """
    facts = model_facts(settings.model, offline=settings.offline)
    width, height = picture_size(settings, facts)
    params = replace(facts.spectrogram, stereo=False)
    starts = open_starts(settings, params, (width, height))
    layout = lay_out(settings, facts, width, starts.columns)
    voices = starts.voices
    script = Script(settings, layout)
    score = Score(
        params,
        facts.max_value if starts.max_value is None else starts.max_value,
        layout.columns,
        layout.overlap,
        layout.stretch,
        layout.loop,
        settings.quality,
        settings.loudness,
        settings.true_peak,
        settings.fade_in,
        settings.fade_out,
        layout.tempo,
        starts.original,
    )
    return Timeline(
        lambda: _shots(settings, layout, script, starts, voices),
        layout.pictures * voices,
        steps=settings.steps,
        sampler=settings.sampler,
        size=(layout.width, height),
        seamless="x" if layout.loop and layout.pictures == 1 else "",
        voices=voices,
        score=score,
    )


def _shots(
    settings: MusicSettings, layout: Layout, script: Script, starts: Starts, voices: int
) -> Iterator[Shot]:
    goes_on = settings.join == "continue" and settings.morph_to is None
    for number in range(layout.pictures):
        moment = script.at(number)
        for voice in range(voices):
            image, mask, strength = starts.of(layout, number, voice)
            shot = Shot(
                moment.prompt,
                script.noise(number, voice),
                moment.negative,
                settings.guidance_scale,
                image=image,
                mask=mask,
                strength=strength,
            )
            if number and goes_on:
                closing = layout.overlap if layout.loop and number == layout.pictures - 1 else 0
                base = None if isinstance(image, Crossfade) else image
                shot = replace(shot, image=Continuation(layout.overlap, closing, base))
            yield shot

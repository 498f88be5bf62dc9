"""Settings of the `music` tool to a timeline, whose pictures are heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from sdcreative import Continuation, Crossfade, Score, Shot, Timeline

from .layout import Layout, lay_out, picture_size
from .script import Script
from .settings import MusicSettings
from .starts import Starts, open_starts

if TYPE_CHECKING:
    from PIL.Image import Image


def timeline(settings: MusicSettings) -> Timeline:
    """Overlapping pictures of the music, those of left and right in turn.

    Raises:
        ModelError: the model cannot be found.
        UsageError: settings that make no sense with it.
        DataError: a sound or a picture that cannot be read.
    """
    from sdcreative import model_facts

    facts = model_facts(
        settings.model,
        offline=settings.offline,
        prediction_type=settings.prediction_type,
        models_dir=settings.models_dir,
    )
    width, height = picture_size(settings, facts)
    params = replace(facts.spectrogram, stereo=False)
    starts = open_starts(settings, params)
    layout = lay_out(settings, facts, width, starts.columns)
    script = Script(settings, layout)
    score = Score(
        params,
        facts.max_value if starts.max_value is None else starts.max_value,
        layout.columns,
        overlap=layout.overlap,
        stretch=layout.stretch,
        loop=layout.loop,
        quality=settings.quality,
        loudness=settings.loudness,
        true_peak=settings.true_peak,
        fade_in=settings.fade_in,
        fade_out=settings.fade_out,
        tempo=layout.tempo,
        original=starts.original,
    )
    return Timeline(
        lambda: _shots(settings, layout, script, starts),
        layout.pictures * starts.voices,
        steps=settings.steps,
        sampler=settings.sampler,
        size=(layout.width, height),
        fps=layout.pictures * starts.voices / params.seconds(layout.columns, layout.loop),
        seamless="x" if layout.loop and layout.pictures == 1 else "",
        voices=starts.voices,
        score=score,
    )


def _shots(
    settings: MusicSettings, layout: Layout, script: Script, starts: Starts
) -> Iterator[Shot]:
    goes_on = settings.join == "continue"
    for number in range(layout.pictures):
        moment = script.at(number)
        closing = layout.overlap if layout.loop and number == layout.pictures - 1 else 0
        for voice in range(starts.voices):
            start, mask, strength = starts.of(layout, number, voice)
            image: Image | Crossfade | Continuation | None = start
            # A point between two sounds cannot be laid beside what is there already.
            if number and goes_on and not isinstance(start, Crossfade):
                image = Continuation(layout.overlap, closing, start)
            yield Shot(
                moment.prompt,
                moment.noise(starts.apart if voice else 0.0),
                moment.negative,
                settings.guidance_scale,
                image=image,
                mask=mask,
                strength=strength,
            )

"""What is heard with a film, over its frames."""

from __future__ import annotations

from ..core.timeline import Timeline
from ..settings import RenderSettings
from .series import Line, Plot


def sound_plot(timeline: Timeline, settings: RenderSettings) -> Plot | None:
    """Strength of the onsets, in [0, 1], and where the beats are; None for a film without sound.

    Args:
        timeline: the film's; its ``sound`` says what is heard.
        settings: their ``audio``, where they have one, knows the tempo.

    Raises:
        DataError: the sound cannot be read.
    """
    from ..sound.settings import Audio

    audio = getattr(settings, "audio", None)
    if not isinstance(audio, Audio):
        if timeline.sound is None:
            return None
        audio = Audio(file=timeline.sound.path, start=timeline.sound.start)
    from ..sound.analysis import hear

    heard = hear(audio, timeline.fps, timeline.length)
    last = timeline.length - 1
    beats = [second * timeline.fps for second in heard.beats]
    return Plot(
        "sound",
        (Line("onsets", tuple(enumerate(heard.onset))),),
        shares=True,
        marks=tuple(beat for beat in beats if 0 <= beat <= last),
    )

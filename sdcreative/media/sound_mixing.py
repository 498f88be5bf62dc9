"""Sound of any number of channels as one or two.

Surround sound is folded by the downward mixing equations of Recommendation ITU-R BS.775-3: the
centre goes to both sides, and what is behind to its own, 3 dB quieter; the channel of low-frequency
effects is left out. Nothing else is turned down for it, as an average over all channels would do:
left and right stay as loud as they were, and the sum may go beyond full scale.
"""

from __future__ import annotations

from functools import lru_cache

import numpy
from numpy.typing import NDArray

MOST_CHANNELS = 8

_HALF = 0.5**0.5
"""of the power"""
# Share in the left and right: sides, centre, surround left and right, behind, low frequencies.
_SHARES = {
    "L": (1.0, 0.0),
    "R": (0.0, 1.0),
    "C": (_HALF, _HALF),
    "l": (_HALF, 0.0),
    "r": (0.0, _HALF),
    "b": (0.5, 0.5),
    "x": (0.0, 0.0),
}
# Where channels stand: by RFC 9639, 9.1.3 for FLAC and, likewise, WAV; and by Vorbis I, 4.3.9.
_PLACES = {3: "LRC", 4: "LRlr", 5: "LRClr", 6: "LRCxlr", 7: "LRCxblr", 8: "LRCxlrlr"}
_PLACES_OGG = {3: "LCR", 4: "LRlr", 5: "LCRlr", 6: "LCRlrx", 7: "LCRlrbx", 8: "LCRlrlrx"}


def mix(
    block: NDArray[numpy.float32], channels: int, file_format: str = "WAV"
) -> NDArray[numpy.float32]:
    """Samples in one or two channels; one is the mean of the two.

    Args:
        block: (samples, channels), 1 to 8 channels.
        channels: 1 or 2 that are wanted; one that is there becomes two that are alike.
        file_format: libsndfile's name of what they come from: Ogg orders channels otherwise.

    Returns:
        (samples, ``channels``).
    """
    if block.shape[1] == channels:
        return block
    return block @ _weights(block.shape[1], channels, file_format.startswith("OGG"))


@lru_cache(maxsize=32)
def _weights(count: int, wanted: int, ogg: bool) -> NDArray[numpy.float32]:
    """(channels that are there, channels wanted)"""
    if count == 1:
        sides = [(1.0, 1.0)]
    elif count == 2:
        sides = [_SHARES["L"], _SHARES["R"]]
    else:
        sides = [_SHARES[place] for place in (_PLACES_OGG if ogg else _PLACES)[count]]
    weights = numpy.array(sides, numpy.float32)
    return weights if wanted == 2 else weights.mean(axis=1, keepdims=True)

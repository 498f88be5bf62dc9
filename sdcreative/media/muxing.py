"""Sound beside the pictures of a film: AAC, in step with them to the sample."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from ..errors import DataError, OutputError
from .sound_clip import SoundClip, clip_blocks, clip_format
from .video import Ffmpeg, container, probe_sound

BIT_RATE = "256k"
# An AAC frame is 1024 samples; what is cut off the first and the last one is not always told.
_TOLERANCE = 2 * 1024


class Mixer(Ffmpeg):
    """A finished film without sound, and samples, in; the same pictures with AAC sound out.

    Args:
        film: H.264 without sound; its pictures are not encoded again.
        path: file to write; replaced if it exists.
        name: what errors call the file.
        suffix: ".mp4", ".mov" or ".mkv".
        sound: what is heard.
        metadata: tags of the film.

    Raises:
        OutputError: there is no ffmpeg, or it does not start.
        DataError: the sound cannot be read.
    """

    def __init__(
        self,
        film: Path,
        path: Path,
        name: Path,
        suffix: str,
        sound: SoundClip,
        metadata: Mapping[str, str],
    ) -> None:
        super().__init__(name)
        self._path = path
        self._sound = sound
        self._rate, channels = clip_format(sound)
        inputs = ["-i", f"file:{film}", "-f", "f32le", "-ar", str(self._rate)]
        inputs += ["-ac", str(channels), "-i", "pipe:0"]
        outputs = ["-map", "0:v", "-map", "1:a", "-c:v", "copy"]
        outputs += ["-c:a", "aac", "-b:a", BIT_RATE, "-ac", str(min(channels, 2))]
        outputs += ["-flags:a", "+bitexact"]
        self._start(inputs, metadata, outputs + container(path, suffix))

    def mix(self, seconds: Fraction, wanted: int = 0) -> None:
        """Write the film.

        Args:
            seconds: its length.
            wanted: bytes it takes, for the error of a full disk.

        Raises:
            OutputError: the encoder failed; with the last lines of its log.
            DataError: the sound does not decode.
        """
        try:
            for block in clip_blocks(self._sound, seconds):
                self.feed(block.astype("<f4").tobytes())
        except BrokenPipeError:
            self.close(wanted)  # raises what the encoder says of its end
            raise OutputError(f"{self._name}: the encoder ended before the sound did") from None
        except DataError:
            self.stop()
            raise
        self.close(wanted)

    def verify(self, seconds: Fraction) -> None:
        """Read the sound back.

        Raises:
            OutputError: it does not decode, or is not as long as the film.
        """
        try:
            found = probe_sound(self._path)
        except DataError as error:
            raise OutputError(f"{self._name}: does not read back: {error}") from error
        if abs(found - seconds) > _TOLERANCE / self._rate:
            raise OutputError(
                f"{self._name}: {float(seconds):.3f} seconds of sound were written, but the file "
                f"holds {found:.3f}; try another format"
            )

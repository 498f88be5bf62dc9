"""GIF, WebP and APNG, written frame by frame.

Pillow encodes each picture; the containers are put together here, because Pillow keeps all frames
of an animation in memory and merges equal ones. Every frame is stored whole.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import BinaryIO

from PIL import Image

from ..errors import OutputError
from .image import png_text
from .picture_tags import gif_comment, webp_chunks


class Clock:
    """Durations in whole ticks whose sum never strays from the true time by more than half a tick.

    Args:
        rate: frames per second.
        ticks: ticks per second of the format.
        least: shortest duration in ticks; faster films are played at this rate.
    """

    def __init__(self, rate: Fraction, ticks: int, least: int = 1) -> None:
        self._step = max(Fraction(ticks) / rate, Fraction(least))
        self._frames = 0

    def tick(self) -> int:
        """Duration of the next frame."""
        start = round(self._frames * self._step)
        self._frames += 1
        return round(self._frames * self._step) - start


class GifStream:
    """GIF89a, a palette of 256 colours for each frame, dithered, repeated for ever.

    Browsers play delays under 2/100 s slowly, so films over 50 frames per second play at 50.
    Source: W3C, GIF89a specification.
    """

    def __init__(
        self, file: BinaryIO, size: tuple[int, int], rate: Fraction, metadata: Mapping[str, str]
    ) -> None:
        self._file = file
        self._clock = Clock(rate, 100, 2)
        file.write(b"GIF89a" + struct.pack("<HHBBB", *size, 0x70, 0, 0))
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
        file.write(gif_comment(metadata))

    def add(self, picture: Image.Image) -> None:
        """Append one RGB picture."""
        palette = picture.quantize(256, Image.Quantize.MEDIANCUT)
        frame = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        buffer = io.BytesIO()
        frame.save(buffer, "GIF", optimize=False, interlace=False)
        data = buffer.getvalue()
        bits = data[10] & 7
        colours_end = 13 + 3 * 2 ** (bits + 1)
        start = colours_end
        while data[start] == 0x21:  # an extension: its label, then sub-blocks up to an empty one
            start += 2
            while data[start]:
                start += 1 + data[start]
            start += 1
        control = struct.pack("<BHBB", 0, self._clock.tick(), 0, 0)
        self._file.write(b"\x21\xf9\x04" + control)
        # The global palette of the single picture becomes the local one of this frame.
        self._file.write(data[start : start + 9] + bytes([data[start + 9] & 0x40 | 0x80 | bits]))
        self._file.write(data[13:colours_end] + data[start + 10 : -1])

    def close(self) -> None:
        """Write the end."""
        self._file.write(b"\x3b")


class WebpStream:
    """Animated WebP, lossy, repeated for ever.

    Source: Google, WebP container specification.
    """

    def __init__(
        self, file: BinaryIO, size: tuple[int, int], rate: Fraction, metadata: Mapping[str, str]
    ) -> None:
        self._file = file
        self._canvas = _three_bytes(size[0] - 1) + _three_bytes(size[1] - 1)
        self._clock = Clock(rate, 1000)
        # These come last in the file, but are announced first.
        self._tags = webp_chunks(metadata)
        flags = 0x02 | sum({b"EXIF": 0x08, b"XMP ": 0x04}[name] for name in self._tags)
        file.write(b"RIFF\0\0\0\0WEBP")
        self._chunk(b"VP8X", bytes([flags, 0, 0, 0]) + self._canvas)
        self._chunk(b"ANIM", b"\xff\xff\xff\xff\0\0")

    def _chunk(self, name: bytes, data: bytes) -> None:
        self._file.write(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2))

    def add(self, picture: Image.Image) -> None:
        """Append one RGB picture."""
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=90, method=4)
        data, start, image = buffer.getvalue(), 12, b""
        while start < len(data):
            length = 8 + (struct.unpack_from("<I", data, start + 4)[0] + 1) // 2 * 2
            if data[start : start + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
                image += data[start : start + length]
            start += length
        place = _three_bytes(0) * 2 + self._canvas + _three_bytes(self._clock.tick())
        self._chunk(b"ANMF", place + b"\x02" + image)

    def close(self) -> None:
        """Write the metadata, and the length into the header."""
        for name, data in self._tags.items():
            self._chunk(name, data)
        length = self._file.tell() - 8
        if length >= 2**32:
            raise OutputError("WebP holds 4 GiB; use .mp4, or make fewer or smaller frames")
        self._file.seek(4)
        self._file.write(struct.pack("<I", length))


class ApngStream:
    """Animated PNG, 8-bit RGB, lossless, repeated for ever; the first frame is the still picture.

    Source: W3C, PNG specification, third edition, 11.3.7.
    """

    def __init__(
        self, file: BinaryIO, size: tuple[int, int], rate: Fraction, metadata: Mapping[str, str]
    ) -> None:
        self._file = file
        self._size = size
        self._text = png_text(metadata)
        self._delay = _two_shorts(1 / rate)
        self._frames = 0
        self._sequence = 0

    def _chunk(self, name: bytes, data: bytes) -> None:
        checksum = zlib.crc32(name + data)
        self._file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum))

    def _number(self) -> bytes:
        self._sequence += 1
        return struct.pack(">I", self._sequence - 1)

    def add(self, picture: Image.Image) -> None:
        """Append one RGB picture."""
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", pnginfo=None if self._frames else self._text)
        chunks = list(_png_chunks(buffer.getvalue()))
        if not self._frames:
            self._file.write(b"\x89PNG\r\n\x1a\n")
            self._chunk(*chunks[0])
            self._count_at = self._file.tell()
            self._chunk(b"acTL", struct.pack(">II", 0, 0))
            for name, data in chunks[1:]:
                if name in (b"tEXt", b"iTXt"):
                    self._chunk(name, data)
        control = struct.pack(">IIIIHHBB", *self._size, 0, 0, *self._delay, 0, 0)
        self._chunk(b"fcTL", self._number() + control)
        for name, data in chunks:
            if name == b"IDAT" and not self._frames:
                self._chunk(name, data)
            elif name == b"IDAT":
                self._chunk(b"fdAT", self._number() + data)
        self._frames += 1

    def close(self) -> None:
        """Write the end, and the number of frames into the header."""
        self._chunk(b"IEND", b"")
        self._file.seek(self._count_at)
        self._chunk(b"acTL", struct.pack(">II", self._frames, 0))


AnimationStream = GifStream | WebpStream | ApngStream
STREAMS: dict[str, type[GifStream] | type[WebpStream] | type[ApngStream]] = {
    ".gif": GifStream,
    ".webp": WebpStream,
    ".apng": ApngStream,
}


def _three_bytes(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def _two_shorts(seconds: Fraction) -> tuple[int, int]:
    """A duration as a fraction of two 16-bit numbers."""
    largest = 65_535
    fraction = seconds.limit_denominator(largest)
    while fraction.numerator > 65_535:
        largest //= 2
        fraction = seconds.limit_denominator(largest)
    return fraction.numerator, fraction.denominator


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 8
    while start < len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        yield name, data[start + 8 : start + 8 + length]
        start += 12 + length

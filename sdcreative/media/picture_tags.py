"""Tags in PNG, JPEG, WebP and GIF: the pieces that hold them, and reading them without decoding.

PNG has text chunks. The others have one comment, which holds all tags packed: JPEG comment
segments (ITU T.81, B.2.4.5), an XMP chunk of WebP, a comment extension of GIF (GIF89a, 24). JPEG
and WebP also carry the tag ``parameters`` as EXIF user comment, where other programs look for it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape, unescape

from .exif import PREFIX, comment_in, exif_of
from .tags import Source, pack, unpack

PARAMETERS = "parameters"
_SEGMENT = 65_533
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:sdcreative="urn:sdcreative:metadata:1">'
    "<sdcreative:tags>{}</sdcreative:tags></rdf:Description></rdf:RDF></x:xmpmeta>"
)
_XMP_TAGS = re.compile(rb"<sdcreative:tags>([^<]*)</sdcreative:tags>")


def jpeg_segments(tags: Mapping[str, str]) -> bytes:
    """EXIF and comment segments, to stand between the first segment of a JPEG and the second."""
    result = b""
    exif = PREFIX + exif_comment(tags)
    if len(PREFIX) < len(exif) <= _SEGMENT:
        result += struct.pack(">HH", 0xFFE1, len(exif) + 2) + exif
    text = pack(tags).encode("ascii") if tags else b""
    for start in range(0, len(text), _SEGMENT):
        part = text[start : start + _SEGMENT]
        result += struct.pack(">HH", 0xFFFE, len(part) + 2) + part
    return result


def with_jpeg_segments(data: bytes, tags: Mapping[str, str]) -> bytes:
    """A JPEG with tags; ``data`` begins with a JFIF segment, as Pillow writes it."""
    end = 4 + struct.unpack_from(">H", data, 4)[0]
    return data[:end] + jpeg_segments(tags) + data[end:]


def exif_comment(tags: Mapping[str, str]) -> bytes:
    """The tag ``parameters`` as EXIF, without a prefix; empty where it is not among the tags."""
    return exif_of(tags[PARAMETERS]) if PARAMETERS in tags else b""


def webp_chunks(tags: Mapping[str, str]) -> dict[bytes, bytes]:
    """Name -> contents of the chunks that hold the tags; none where there are no tags."""
    chunks = {b"EXIF": exif_comment(tags)} if PARAMETERS in tags else {}
    if tags:
        chunks[b"XMP "] = _XMP.format(escape(pack(tags))).encode("ascii")
    return chunks


def gif_comment(tags: Mapping[str, str]) -> bytes:
    """A comment extension; empty where there are no tags."""
    if not tags:
        return b""
    text = pack(tags).encode("ascii")
    parts = (text[start : start + 255] for start in range(0, len(text), 255))
    return b"\x21\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def read_png(source: Source) -> dict[str, str]:
    """Text chunks of a PNG or APNG, wherever they stand."""
    tags: dict[str, str] = {}
    source.skip(8)
    while True:
        length, name = struct.unpack(">I4s", source.take(8))
        if name == b"IEND":
            return tags
        if name not in (b"tEXt", b"zTXt", b"iTXt"):
            source.skip(length + 4)
            continue
        data = source.take(length)
        if zlib.crc32(name + data) != struct.unpack(">I", source.take(4))[0]:
            raise source.broken("a text chunk does not match its checksum")
        key, _, rest = data.partition(b"\0")
        tags[key.decode("latin-1")] = _png_text(source, name, rest)


def _png_text(source: Source, name: bytes, data: bytes) -> str:
    if name == b"tEXt":
        return data.decode("latin-1")
    if name == b"zTXt":
        return _inflate(source, data[1:]).decode("latin-1")
    packed = data[:1] == b"\1"
    text = data[2:].split(b"\0", 2)[-1]  # after the language and the translated key
    return (_inflate(source, text) if packed else text).decode("utf-8", "replace")


def _inflate(source: Source, data: bytes) -> bytes:
    try:
        text = zlib.decompressobj().decompress(data, source.left + 1)
    except zlib.error as error:
        raise source.broken(f"a text chunk does not unpack: {error}") from error
    source.spend(len(text))
    return text


def read_jpeg(source: Source) -> dict[str, str]:
    """Comments and the EXIF user comment of a JPEG."""
    comments: list[bytes] = []
    exif = b""
    source.skip(2)
    while True:
        mark, kind = source.take(2)
        if mark != 0xFF:
            raise source.broken("a segment does not begin where the one before it ends")
        while kind == 0xFF:  # fill bytes
            kind = source.take(1)[0]
        if kind in (0xDA, 0xD9):  # the picture itself begins, or there is none
            break
        if kind == 1 or 0xD0 <= kind <= 0xD7:
            continue
        length = struct.unpack(">H", source.take(2))[0] - 2
        if length < 0:
            raise source.broken("a segment of less than no bytes")
        if kind == 0xFE:
            comments.append(source.take(length))
        elif kind == 0xE1 and not exif:
            data = source.take(length)
            exif = data if data.startswith(PREFIX) else b""
        else:
            source.skip(length)
    return _with_exif(unpack(b"".join(comments).decode("utf-8", "replace")), exif)


def read_webp(source: Source) -> dict[str, str]:
    """XMP and the EXIF user comment of a WebP, still or animated."""
    xmp = exif = b""
    for name, length in riff_chunks(source):
        if name == b"XMP ":
            xmp = source.take(length)
        elif name == b"EXIF":
            exif = source.take(length)
    found = _XMP_TAGS.search(xmp)
    return _with_exif(unpack(unescape(found[1].decode("utf-8", "replace"))) if found else {}, exif)


def riff_chunks(source: Source) -> Iterator[tuple[bytes, int]]:
    """(name, length) of every chunk of a RIFF file, the source standing at its contents."""
    source.skip(4)
    end = struct.unpack("<I", source.take(4))[0] + 8
    if end > source.size:
        raise source.broken(f"{end - source.size} bytes are missing at the end")
    place = 12
    while place + 8 <= end:
        source.go(place)
        name, length = struct.unpack("<4sI", source.take(8))
        yield name, length
        place += 8 + length + length % 2


def read_gif(source: Source) -> dict[str, str]:
    """Comments of a GIF that stand before its first picture."""
    comments: list[bytes] = []
    packed = source.take(13)[10]
    source.skip(3 * 2 ** ((packed & 7) + 1) if packed & 0x80 else 0)
    while True:
        block = source.take(1)
        if block in (b"\x2c", b"\x3b"):
            return unpack(b"".join(comments).decode("utf-8", "replace"))
        if block != b"\x21":
            raise source.broken("a block of an unknown kind")
        is_comment = source.take(1) == b"\xfe"
        while count := source.take(1)[0]:
            part = source.take(count)
            if is_comment:
                comments.append(part)


def _with_exif(tags: dict[str, str], exif: bytes) -> dict[str, str]:
    if PARAMETERS not in tags and (comment := comment_in(exif)):
        tags[PARAMETERS] = comment
    return tags

"""Encoders of H.264 films: in software, the same everywhere, or in hardware where there is one.

That ffmpeg lists an encoder says only that it was compiled in. Whether it works here is found out
by encoding two frames of the film's size.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Literal

from ..errors import OutputError

EncoderName = Literal["software", "auto", "nvenc", "qsv", "vaapi", "videotoolbox"]
_SECONDS = 30


@dataclass(frozen=True)
class Codec:
    """How ffmpeg is told to encode.

    Attributes:
        options: of the output.
        pixels: format that the encoder takes.
        upload: filter that brings pictures to the device, where the encoder does not do that.
        device: options in front of all inputs.
        needs: what there has to be for it to work.
    """

    options: tuple[str, ...]
    pixels: str = "yuv420p"
    upload: str = ""
    device: tuple[str, ...] = ()
    needs: str = ""


SOFTWARE = Codec(("-c:v", "libx264", "-preset", "medium", "-crf", "16"))
# Constant quality, about that of x264's crf 16. Sources: ffmpeg -h encoder=h264_nvenc and so on.
HARDWARE: Mapping[str, Codec] = {
    "nvenc": Codec(
        ("-c:v", "h264_nvenc", "-preset", "p5", "-rc", "vbr", "-cq", "17", "-b:v", "0"),
        needs="an NVIDIA card with an encoder, which those for data centres such as A100 and H100 "
        "lack, and its driver",
    ),
    "qsv": Codec(
        ("-c:v", "h264_qsv", "-preset", "medium", "-global_quality", "17"),
        pixels="nv12",
        needs="an Intel GPU and its driver",
    ),
    "vaapi": Codec(
        ("-c:v", "h264_vaapi", "-rc_mode", "CQP", "-qp", "17"),
        pixels="nv12",
        upload="hwupload",
        device=("-vaapi_device", "/dev/dri/renderD128"),
        needs="Linux, a GPU with an encoder at /dev/dri/renderD128, and the right to use it",
    ),
    "videotoolbox": Codec(
        ("-c:v", "h264_videotoolbox", "-q:v", "80"),
        needs="a Mac with Apple silicon",
    ),
}


def conversion(codec: Codec) -> str:
    """The filters from RGB to what an encoder takes, BT.709: one conversion for both."""
    scale = "scale=in_range=pc:out_range=tv:out_color_matrix=bt709"
    scale += ":flags=accurate_rnd+full_chroma_int"
    tags = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
    return ",".join(filter(None, (scale, f"format={codec.pixels}", tags, codec.upload)))


def choose(
    name: EncoderName, program: str, size: tuple[int, int], rate: Fraction = Fraction(12)
) -> Codec:
    """The encoder of a film.

    Args:
        name: software; or one in hardware; auto takes the first of those that works here, and
            software where none does.
        program: ffmpeg.
        size: (width, height) of the film in pixels, even.
        rate: frames per second.

    Raises:
        OutputError: that encoder does not work here, or not in that size.
    """
    if name == "software":
        return SOFTWARE
    if name == "auto":
        works = (codec for codec in HARDWARE.values() if not fault(codec, program, size, rate))
        return next(works, SOFTWARE)
    codec = HARDWARE[name]
    if said := fault(codec, program, size, rate):
        width, height = size
        raise OutputError(
            f"encoder {name} does not work here for {width}x{height} pixels: {said}; it needs "
            f"{codec.needs}; use encoder: software, or auto"
        )
    return codec


@cache
def fault(codec: Codec, program: str, size: tuple[int, int], rate: Fraction) -> str:
    """Why an encoder does not encode two frames here; "" where it does."""
    width, height = size
    command = [program, "-nostdin", "-hide_banner", "-v", "error", *codec.device]
    command += ["-f", "lavfi", "-i", f"color=size={width}x{height}:rate={rate}"]
    command += ["-frames:v", "2", "-vf", f"format=rgb24,{conversion(codec)}", *codec.options]
    command += ["-f", "null", "-"]
    try:
        done = subprocess.run(
            command, capture_output=True, start_new_session=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no frame in {_SECONDS} s"
    except OSError as error:
        return f"ffmpeg does not start: {error}"
    if not done.returncode:
        return ""
    log = done.stderr.decode("utf-8", "replace")
    lines = [re.sub(r" @ 0x[0-9a-f]+", "", line).strip() for line in log.splitlines()]
    # The first line says what is wrong, those after it what follows from that.
    return next(filter(None, lines), "its log is empty")

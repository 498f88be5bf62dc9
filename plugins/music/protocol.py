"""What the server is asked and what it answers: JSON as in riffusion-hobby's datatypes.py."""

from __future__ import annotations

import base64
import difflib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

from pydantic import Field, ValidationError

from sdcreative import Strict, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_PROMPT = 4000
_SHOWN = 60

Prompt = Annotated[str, Field(max_length=LONGEST_PROMPT)]
Name = Annotated[str, Field(max_length=200)]


class PromptInput(Strict):
    """One end of the way from prompt to prompt."""

    prompt: Prompt
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    negative_prompt: Prompt | None = None
    denoising: Annotated[float, Field(ge=0, le=1)] = 0.75
    guidance: Annotated[float, Field(ge=0, le=100)] = 7.0


class InferenceInput(Strict):
    """One clip: a point at ``alpha`` on the way from ``start`` to ``end``."""

    start: PromptInput
    end: PromptInput
    alpha: Annotated[float, Field(ge=0, le=1)]
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] = 50
    seed_image_id: Name = "og_beat"
    mask_image_id: Name | None = None


@dataclass(frozen=True, eq=False)
class Riff:
    """A clip that was made.

    Attributes:
        image: its spectrogram, RGB; how that was made stands in its EXIF tags.
        sound: a file in MP3.
        seconds: how long it sounds.
    """

    image: Image
    sound: bytes
    seconds: float


class Riffer(Protocol):
    """Who makes clips, one at a time."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def seed_images(self) -> tuple[str, ...]:
        """Names that a request may give as ``seed_image_id`` and ``mask_image_id``."""

    def riff(self, request: InferenceInput, check: Callable[[], None]) -> Riff:
        """The clip that is asked for.

        Args:
            request: what is wanted.
            check: to be called often; raises where nobody wants the clip any more.

        Raises:
            UsageError: a seed or mask image that is not known, or cannot be used.
            SdcreativeError: the clip cannot be made.
        """


def read_request(body: bytes) -> InferenceInput:
    """A request from the body of a POST.

    Raises:
        UsageError: no JSON, or a field that is missing, not known or out of its range; in one
            line, which names the field.
    """
    try:
        data = json.loads(
            body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_not_a_number
        )
    except UnicodeDecodeError as error:
        raise UsageError(f"the body is no UTF-8: byte {error.start}") from error
    except RecursionError as error:
        raise UsageError("the body is nested too deep; see docs/serve.md for its form") from error
    except ValueError as error:
        raise UsageError(f"the body is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError('the body is no JSON object; give {"alpha": ..., "start": {...}, ...}')
    try:
        return InferenceInput.model_validate(data)
    except ValidationError as error:
        raise UsageError(_wording(error)) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise UsageError(f"field {_show(name)} is there twice")
        found[name] = value
    return found


def _not_a_number(name: str) -> NoReturn:
    raise UsageError(f"the body is no JSON: {name} is no number there")


def _wording(error: ValidationError) -> str:
    """The first fault, in one line."""
    fault = error.errors(include_url=False)[0]
    *around, last = map(str, fault["loc"])
    field = _show(".".join([*around, last])).strip('"')
    if fault["type"] == "missing":
        return f"missing field {field}"
    if fault["type"] == "extra_forbidden":
        known = (PromptInput if around else InferenceInput).model_fields
        close = difflib.get_close_matches(last, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
        return f"unknown field {field}; {hint}"
    if fault["type"] in ("model_type", "model_attributes_type", "dict_type"):
        wanted = "it should be an object"
    else:
        wanted = fault["msg"].replace("Input should", "it should").replace("String", "it", 1)
    return f"field {field} is {_show(fault['input'])}: {wanted}"


def _show(value: Any) -> str:
    """A value of JSON in one short line."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a very large number"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def write_answer(riff: Riff) -> bytes:
    """The JSON that is answered: picture and sound as data URLs, and the seconds."""
    picture = io.BytesIO()
    riff.image.save(
        picture, "JPEG", quality=95, subsampling="4:4:4", exif=riff.image.getexif().tobytes()
    )
    answer = {
        "image": _data_url("image/jpeg", picture.getvalue()),
        "audio": _data_url("audio/mpeg", riff.sound),
        "duration_s": riff.seconds,
    }
    return json.dumps(answer).encode()


def _data_url(kind: str, content: bytes) -> str:
    """RFC 2397."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"

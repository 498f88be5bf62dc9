"""What `sdcreative models` says of a model or an add-on, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .tables import table

if TYPE_CHECKING:
    from ..models.catalogue.addons import EmbeddingFacts, LoraFacts, OtherFacts
    from ..models.catalogue.describing import Description
    from ..models.catalogue.tensors import Amount

    Addon = LoraFacts | EmbeddingFacts | OtherFacts

_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def short_size(count: int) -> str:
    """Bytes in the largest unit.

    >>> short_size(2_132_625_894), short_size(12)
    ('2.1 GB', '12 B')
    """
    for unit, scale in _UNITS:
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def short_count(count: int) -> str:
    """A number of parameters.

    >>> short_count(859_520_964), short_count(3_500_000_000), short_count(768)
    ('859.5 M', '3.5 G', '768')
    """
    for unit, scale in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return str(count)


def model_text(found: Description) -> str:
    """All that is known of a model, with a table of its parts."""
    width, height = found.size
    lines = [
        ("path", f"{found.path} ({found.form})"),
        ("family", found.title),
        ("predicts", found.prediction_type),
        ("size", f"{width}x{height} pixels, multiples of {found.multiple}"),
        ("inpainting", "a checkpoint for it" if found.inpainting else "as any model"),
        ("ema", "averaged weights beside the last (ema: true)" if found.ema else "one set only"),
        ("digest", found.digest),
        *(
            (
                name,
                f"about {short_size(one['load'])} for the weights, {short_size(one['render'])} to "
                f"render {width}x{height}",
            )
            for name, one in found.memory.items()
        ),
        *found.said.items(),
        *(("note", note) for note in found.notes),
    ]
    rows = [
        (
            part.name,
            part.kind if part.loaded else f"{part.kind}, not loaded",
            short_count(part.amount.parameters),
            _dtypes(part.amount),
            short_size(part.amount.size),
        )
        for part in found.parts
    ]
    rows.append(("all that is loaded", "", short_count(found.parameters), "", ""))
    return f"{_aligned(lines)}\n\n{table(('PART', 'CLASS', 'PARAMETERS', 'TYPE', 'SIZE'), rows)}"


def addon_title(found: Addon) -> str:
    """A few words of what it is."""
    return next(text for name, text in _addon(found) if name == "kind")


def addon_text(found: Addon) -> str:
    """All that is known of a LoRA, an embedding or another file."""
    return _aligned([("path", found.path), *_addon(found)])


def _addon(found: Addon) -> Iterator[tuple[str, str]]:
    from ..models.catalogue.addons import EmbeddingFacts, LoraFacts

    if isinstance(found, EmbeddingFacts):
        yield from _embedding(found)
    elif isinstance(found, LoraFacts):
        yield from _lora(found)
    else:
        yield "kind", found.title
        yield "parameters", f"{short_count(found.amount.parameters)}, {_dtypes(found.amount)}"
        yield from found.said.items()


def _embedding(found: EmbeddingFacts) -> Iterator[tuple[str, str]]:
    count = f"{found.vectors} vector{'' if found.vectors == 1 else 's'}"
    family = f" for {found.family}" if found.family else ""
    yield "kind", f"embedding{family}, {count}"
    yield "word", found.word
    yield "widths", ", ".join(map(str, found.widths))
    if found.step is not None:
        yield "steps", str(found.step)
    if found.base:
        yield "trained on", found.base
    yield "digest", found.digest


def _lora(found: LoraFacts) -> Iterator[tuple[str, str]]:
    forms = ", ".join(found.forms)
    yield "kind", f"{forms}{f' for {found.family}' if found.family else ''}"
    yield "layers", f"{found.denoiser} of the denoiser, {found.text} of text encoders"
    yield "forms", _counts(found.forms)
    if found.ranks:
        yield "ranks", _counts({str(rank): count for rank, count in found.ranks.items()})
    if found.dora:
        yield "DoRA", f"{found.dora} layers"
    if found.embeddings:
        yield "embeddings", ", ".join(found.embeddings)
    yield "parameters", f"{short_count(found.amount.parameters)}, {_dtypes(found.amount)}"
    if found.base:
        yield "trained on", found.base
    yield "digest", found.digest
    yield from found.said.items()


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _dtypes(amount: Amount) -> str:
    """A type, or several with the number of tensors of each."""
    return next(iter(amount.dtypes), "") if len(amount.dtypes) < 2 else _counts(amount.dtypes)


def _aligned(lines: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in lines)

"""Which types may stand at a key of a settings class, read from its annotations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


def unwrap(kind: Any) -> Any:
    """The type below Annotated, aliases, new types and root models."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif hasattr(kind, "__value__"):
            kind = kind.__value__
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif getattr(kind, "__pydantic_root_model__", False):
            kind = kind.model_fields["root"].annotation
        else:
            return kind


def members(kinds: Iterable[Any]) -> tuple[Any, ...]:
    """The branches among which pydantic's next location part chooses, without None."""
    found: list[Any] = []
    for kind in kinds:
        bare = unwrap(kind)
        if get_origin(bare) in (Union, UnionType):
            found += [a for a in get_args(bare) if a is not type(None)]
        else:
            found.append(kind)
    if len(found) == 1 and get_origin(unwrap(found[0])) in (Union, UnionType):
        return members(found)
    return tuple(found)


def tagged(member: Any, tag: Any) -> bool:
    """Whether a union's branch goes by this tag: its Tag, a Literal field of it, or its name."""
    if any(getattr(extra, "tag", None) == tag for extra in get_args(member)[1:]):
        return True
    bare = unwrap(member)
    for info in getattr(bare, "model_fields", {}).values():
        if get_origin(info.annotation) is Literal and tag in get_args(info.annotation):
            return True
    name = getattr(bare, "__name__", "")
    return bool(name) and re.search(rf"\b{re.escape(name)}\b", str(tag)) is not None


def keys(kind: Any) -> dict[str, Any]:
    """Keys -> types of a model, dataclass or typed dictionary; empty for anything else."""
    if hasattr(kind, "model_fields"):
        found: dict[str, Any] = {}
        by_name = kind.model_config.get("populate_by_name") or kind.model_config.get(
            "validate_by_name"
        )
        for name, info in kind.model_fields.items():
            alias = info.validation_alias or info.alias
            for choice in getattr(alias, "choices", [alias] if alias else [name]):
                key = choice if isinstance(choice, str) else choice.path[0]
                found[str(key)] = info.annotation
            if by_name:
                found[name] = info.annotation
        return found
    if is_dataclass(kind) or hasattr(kind, "__total__"):
        try:
            return get_type_hints(kind, include_extras=True)
        except NameError:
            return {}
    return {}


def inside(kind: Any, part: str | int) -> tuple[Any, ...]:
    """The types that may stand at a key or index of ``kind``; empty where that is unknown."""
    bare = unwrap(kind)
    found = keys(bare)
    if found:
        return (found[part],) if isinstance(part, str) and part in found else ()
    arguments = [a for a in get_args(bare) if a is not Ellipsis]
    origin = get_origin(bare)
    if not isinstance(origin, type) or not arguments:
        return ()
    if issubclass(origin, tuple) and len(arguments) > 1 and isinstance(part, int):
        return tuple(arguments[part : part + 1])
    return (arguments[-1],)

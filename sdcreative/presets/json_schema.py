"""JSON Schema of a tool's presets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel


def schema(settings_class: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of a preset file for these settings, for editors that complete and check."""
    result = settings_class.model_json_schema()
    named = {
        "plugin": {"type": "string", "description": "the tool this preset is for"},
        "extends": {"type": "string", "description": "preset to build on: a file or bundled name"},
    }
    result["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    result["properties"] = named | result.get("properties", {})
    if required := result.pop("required", None):
        # An extended preset may hold the keys that this one lacks.
        result["if"] = {"not": {"required": ["extends"]}}
        result["then"] = {"required": required}
    return result

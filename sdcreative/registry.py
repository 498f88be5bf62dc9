"""What plugins register: checked answers to the hooks, who owns which name, and where it goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import PluginError

if TYPE_CHECKING:
    import click

    from .tools import Processor, Tool

RESERVED_COMMANDS = (
    "batch",
    "diff",
    "from",
    "plugins",
    "presets",
    "run",
    "runs",
    "smoothness",
    "spectrogram",
    "storyboard",
    "tokens",
)

T = TypeVar("T")


@dataclass
class Registry:
    """All that plugins register, by kind and name."""

    tools: dict[str, Tool] = field(default_factory=dict)
    commands: dict[str, click.Command] = field(default_factory=dict)
    samplers: dict[str, Callable[[Mapping[str, Any]], Any]] = field(default_factory=dict)
    easings: dict[str, Callable[[float], float]] = field(default_factory=dict)
    metrics: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    processors: dict[str, Processor] = field(default_factory=dict)


def contents(registry: Registry) -> Iterator[tuple[str, str]]:
    """(kind in the singular, name) of everything in a registry."""
    for kind, items in vars(registry).items():
        for name in items:
            yield kind.removesuffix("s"), name


def namespace(kind: str) -> str:
    """Tools and commands share one set of names: both are typed after ``sdcreative``."""
    return "command" if kind == "tool" else kind


def same_name(kind: str, name: str) -> str:
    """Names that a person takes for the same."""
    if kind != "sampler":
        return name
    return re.sub(r"[\s_-]+", "", name.replace("++", "pp")).lower()


def built_in(found: Registry) -> Iterator[tuple[str, str]]:
    """(kind, name) of what sdcreative itself owns, where ``found`` could clash with it."""
    yield from (("command", name) for name in RESERVED_COMMANDS)
    if found.easings:
        from .core.easing import EASINGS

        yield from (("easing", name) for name in EASINGS if name not in _published_easings)
    if found.metrics:
        from .metrics import METRICS

        yield from (("metric", name) for name in METRICS if name not in _published_metrics)
    if found.processors:
        from .processors import PROCESSORS

        own = (name for name in PROCESSORS if name not in _published_processors)
        yield from (("processor", name) for name in own)
    if found.samplers:
        from .models.sampler_names import SAMPLERS

        yield from (("sampler", name) for name in SAMPLERS)


_published_easings: set[str] = set()
_published_metrics: set[str] = set()
_published_processors: set[str] = set()
_published_samplers: set[str] = set()
_published_tools: set[str] = set()


def publish(registry: Registry) -> None:
    """Puts what plugins register where settings look it up, in the last host's place."""
    if registry.easings or _published_easings:
        from .core.easing import EASINGS

        _replace(EASINGS, _published_easings, registry.easings)
    if registry.metrics or _published_metrics:
        from .metrics import METRICS

        _replace(METRICS, _published_metrics, registry.metrics)
    if registry.processors or _published_processors:
        from .processors import PROCESSORS

        _replace(PROCESSORS, _published_processors, registry.processors)
    if registry.samplers or _published_samplers:
        from .models.sampler_names import PLUGIN_SAMPLERS

        _replace(PLUGIN_SAMPLERS, _published_samplers, registry.samplers)
    if registry.tools or _published_tools:
        from .sound.music import TOOLS

        _replace(TOOLS, _published_tools, registry.tools)


def _replace(table: dict[str, T], published: set[str], items: Mapping[str, T]) -> None:
    for name in published:
        table.pop(name, None)
    table.update(items)
    published.clear()
    published.update(items)


def read_tools(hook: str, answer: Any) -> dict[str, Tool]:
    from pydantic import BaseModel

    from .settings import RenderSettings
    from .tools import JobTool, PictureTool

    tools: dict[str, Tool] = {}
    for tool in _sequence(hook, answer):
        if not isinstance(tool, PictureTool | JobTool):
            raise PluginError(f"{hook} returned {tool!r}, not a PictureTool or JobTool")
        _check_name("tool", tool.name)
        base = RenderSettings if isinstance(tool, PictureTool) else BaseModel
        if not (isinstance(tool.settings, type) and issubclass(tool.settings, base)):
            raise PluginError(
                f"settings of tool {tool.name!r} are {tool.settings!r}, "
                f"not a class derived from {base.__name__}"
            )
        unknown = set(getattr(tool, "flags", ())) - set(tool.settings.model_fields)
        if unknown:
            raise PluginError(
                f"flag {min(unknown)!r} of tool {tool.name!r} is no key of its settings"
            )
        _add(hook, tools, tool.name, tool)
    return tools


def read_processors(hook: str, answer: Any) -> dict[str, Processor]:
    from .settings import Strict
    from .tools import Processor

    processors: dict[str, Processor] = {}
    for one in _sequence(hook, answer):
        if not isinstance(one, Processor):
            raise PluginError(f"{hook} returned {one!r}, not a Processor")
        _check_name("processor", one.name)
        if not (isinstance(one.settings, type) and issubclass(one.settings, Strict)):
            raise PluginError(
                f"settings of processor {one.name!r} are {one.settings!r}, "
                "not a class derived from Strict"
            )
        _add(hook, processors, one.name, one)
    return processors


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name):
        raise PluginError(f"{kind} name {name!r} is not in kebab-case or snake_case")


def read_commands(hook: str, answer: Any) -> dict[str, click.Command]:
    import click

    commands: dict[str, click.Command] = {}
    for command in _sequence(hook, answer):
        if not isinstance(command, click.Command) or not command.name:
            raise PluginError(f"{hook} returned {command!r}, not a click command with a name")
        _add(hook, commands, command.name, command)
    return commands


def read_functions(hook: str, answer: Any) -> dict[str, Callable[..., Any]]:
    return _mapping(hook, answer, callable, "a function")


def read_texts(hook: str, answer: Any) -> dict[str, str]:
    return _mapping(hook, answer, lambda value: isinstance(value, str), "text")


def _sequence(hook: str, answer: Any) -> list[Any]:
    if not isinstance(answer, list | tuple):
        raise PluginError(f"{hook} returned {answer!r}, not a list")
    return list(answer)


def _mapping(hook: str, answer: Any, fits: Callable[[Any], bool], what: str) -> dict[str, Any]:
    if not isinstance(answer, Mapping):
        raise PluginError(f"{hook} returned {answer!r}, not a mapping from name to {what}")
    for name, value in answer.items():
        if not (isinstance(name, str) and name.strip() and fits(value)):
            raise PluginError(f"{hook} maps {name!r} to {value!r}, not a name to {what}")
    return dict(answer)


def _add(hook: str, items: dict[str, T], name: str, item: T) -> None:
    if name in items:
        raise PluginError(f"{hook} returned two things called {name!r}")
    items[name] = item

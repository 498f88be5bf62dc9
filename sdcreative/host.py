"""The plugin host: finds plugins, isolates the broken ones, and gathers what the rest register."""

from __future__ import annotations

import difflib
import importlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from . import hookspecs
from .errors import PluginError
from .registry import (
    Registry,
    built_in,
    contents,
    namespace,
    publish,
    read_commands,
    read_functions,
    read_processors,
    read_texts,
    read_tools,
    same_name,
)

if TYPE_CHECKING:
    import click

    from .tools import Tool

OURS = "sdcreative"
"""Name of our distribution, of the entry-point group, and the owner of what is built in."""

T = TypeVar("T")


@dataclass
class PluginReport:
    """What became of one plugin.

    Attributes:
        name: its entry point.
        version: of its package.
        package: the distribution that installed it.
        registers: such as ``tool animate`` or ``easing bounce``; empty where it failed.
        error: why it failed, in one line, or None.
    """

    name: str
    version: str
    package: str
    registers: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def owner(self) -> str:
        return f"plugin {self.name!r} of {self.package} {self.version}"


class Host:
    """Plugins, imported when the host is loaded, and asked for what they register when needed.

    The distance between the two is what keeps ``--help`` fast: it needs names, not settings.
    Easings and samplers are known to settings from the first use of any property but ``summaries``.
    """

    def __init__(self, entries: list[EntryPoint]) -> None:
        self._manager = pluggy.PluginManager(OURS)
        self._manager.add_hookspecs(hookspecs)
        self._reports: list[PluginReport] = []
        self._loaded: list[PluginReport] = []
        for entry in entries:
            self._import(entry)

    @classmethod
    def load(cls, enabled: bool = True) -> Host:
        """Imports plugins; a broken one is reported and breaks nothing else.

        Args:
            enabled: False leaves out all plugins but our own.
        """
        return cls([e for e in find_entry_points() if enabled or _package(e)[0] == OURS])

    @property
    def report(self) -> list[PluginReport]:
        """One report per plugin, ours first."""
        _ = self._registry
        return self._reports

    @property
    def tools(self) -> dict[str, Tool]:
        return self._registry.tools

    @property
    def commands(self) -> dict[str, click.Command]:
        return self._registry.commands

    @property
    def samplers(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        return self._registry.samplers

    @property
    def easings(self) -> dict[str, Callable[[float], float]]:
        return self._registry.easings

    @cached_property
    def summaries(self) -> dict[str, str]:
        """One line for every tool and command, in the cheapest way the plugins allow."""
        found: dict[str, str] = {}
        if "_registry" not in self.__dict__ and all(map(self._summarises, self._loaded)):
            for report in self._loaded:
                found |= self._ask(report, "sdcreative_summaries", read_texts) or {}
                found |= _short_help(self._ask(report, "sdcreative_commands", read_commands) or {})
            if not any(report.error for report in self._loaded):
                return found
        tools = {name: tool.summary for name, tool in self.tools.items()}
        return tools | _short_help(self.commands)

    def failure(self, name: str) -> PluginReport | None:
        """The report of the plugin of that name, if it failed."""
        return next((r for r in self.report if r.name == name and r.error), None)

    @cached_property
    def _registry(self) -> Registry:
        registry = Registry()
        for report in self._loaded:
            if report.error is None:
                self._collect(report, registry)
        publish(registry)
        return registry

    def _import(self, entry: EntryPoint) -> None:
        package, version = _package(entry)
        report = PluginReport(entry.name, version, package)
        self._reports.append(report)
        rival = next((r for r in self._loaded if r.name == entry.name), None)
        if rival:
            report.error = f"{rival.owner} has the same name"
            return

        def register() -> None:
            module = importlib.import_module(entry.module)
            plugin: object = module
            for attribute in filter(None, (entry.attr or "").split(".")):
                plugin = getattr(plugin, attribute)
            self._manager.register(plugin, entry.name)
            self._check_hooks(plugin)

        self._isolated(report, register)
        if report.error is None:
            self._loaded.append(report)
        elif self._manager.has_plugin(entry.name):
            self._manager.unregister(name=entry.name)

    def _check_hooks(self, plugin: object) -> None:
        callers = self._manager.get_hookcallers(plugin) or []
        if not callers:
            raise PluginError("implements no hook; mark its functions with @sdcreative.hookimpl")
        known = [name for name in vars(hookspecs) if name.startswith("sdcreative_")]
        for caller in callers:
            if not caller.has_spec():
                close = difflib.get_close_matches(caller.name, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
                raise PluginError(f"there is no hook {caller.name!r}; {hint}")

    def _summarises(self, report: PluginReport) -> bool:
        return not self._implementations(report, "sdcreative_tools") or bool(
            self._implementations(report, "sdcreative_summaries")
        )

    def _implementations(self, report: PluginReport, hook: str) -> list[Callable[[], Any]]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return [i.function for i in caller.get_hookimpls() if i.plugin_name == report.name]

    def _ask(self, report: PluginReport, hook: str, check: Callable[[str, Any], T]) -> T | None:
        """The plugin's checked answer to a hook; None where it has none, or failed."""

        def ask() -> T | None:
            for function in self._implementations(report, hook):
                return check(hook, function())
            return None

        return self._isolated(report, ask)

    def _collect(self, report: PluginReport, registry: Registry) -> None:
        """Adds all that one plugin registers, or, where any of it is wrong, nothing."""
        found = Registry(
            tools=self._ask(report, "sdcreative_tools", read_tools) or {},
            commands=self._ask(report, "sdcreative_commands", read_commands) or {},
            samplers=self._ask(report, "sdcreative_samplers", read_functions) or {},
            easings=self._ask(report, "sdcreative_easings", read_functions) or {},
            metrics=self._ask(report, "sdcreative_metrics", read_functions) or {},
            processors=self._ask(report, "sdcreative_processors", read_processors) or {},
        )
        summaries = self._ask(report, "sdcreative_summaries", read_texts)
        if report.error is None:
            report.error = self._clash(found, registry)
        if report.error is None and summaries is not None and set(summaries) != set(found.tools):
            report.error = (
                f"sdcreative_summaries names {sorted(summaries)}, "
                f"but sdcreative_tools registers {sorted(found.tools)}"
            )
        if report.error is None:
            report.registers = [f"{kind} {name}" for kind, name in contents(found)]
            for kind in vars(registry):
                getattr(registry, kind).update(getattr(found, kind))

    def _clash(self, found: Registry, registry: Registry) -> str | None:
        """Which name of ``found`` someone else owns, as a message, or None."""
        owners = {
            (namespace(kind), same_name(kind, name)): f"{OURS} itself"
            for kind, name in built_in(found)
        }
        for other in self._loaded:
            for kind, _, name in (entry.partition(" ") for entry in other.registers):
                owners[namespace(kind), same_name(kind, name)] = other.owner
        for kind, name in contents(found):
            if owner := owners.get((namespace(kind), same_name(kind, name))):
                return f"registers {kind} {name!r}, which {owner} already registers"
        return None

    def _isolated(self, report: PluginReport, action: Callable[[], T]) -> T | None:
        """Runs a plugin's code; what it raises becomes the report's error."""
        try:
            return action()
        except PluginError as error:
            report.error = report.error or str(error)
        # A stranger's code may raise anything, or call sys.exit; whatever it is, it must not take
        # the other plugins and the command line down. This is the one place that may say so.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            text = " ".join(str(error).split())
            report.error = report.error or f"{type(error).__name__}: {text}".rstrip(": ")
        return None


def plugins_enabled() -> bool:
    """Whether the environment leaves third-party plugins on (SDCREATIVE_NO_PLUGINS unset or 0)."""
    return os.environ.get("SDCREATIVE_NO_PLUGINS", "0").strip() in ("", "0")


def find_entry_points() -> list[EntryPoint]:
    """Installed plugins, ours first, each once even where a package is on the path twice."""
    unique = {(_package(e)[0], e.name, e.value): e for e in entry_points(group=OURS)}
    return [unique[key] for key in sorted(unique, key=lambda key: (key[0] != OURS, key))]


def _package(entry: EntryPoint) -> tuple[str, str]:
    """(normalised name, version) of the distribution an entry point belongs to."""
    if entry.dist is None:
        return "unknown", "?"
    return re.sub(r"[-_.]+", "-", entry.dist.name).lower(), entry.dist.version


def _short_help(commands: Mapping[str, click.Command]) -> dict[str, str]:
    return {name: command.get_short_help_str(limit=100) for name, command in commands.items()}

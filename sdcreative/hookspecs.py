"""Every extension point. A plugin implements any of these and marks each with ``@hookimpl``.

A plugin is a module that an installed package names in the entry-point group ``sdcreative``::

    [project.entry-points.sdcreative]
    my_tool = "my_tool"

Hooks take nothing, and are called only when something asks for what they return. A name that
another plugin, or sdcreative itself, already owns fails the later plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from .tools import Processor, Tool

hookspec = pluggy.HookspecMarker("sdcreative")
hookimpl = pluggy.HookimplMarker("sdcreative")


@hookspec
def sdcreative_tools() -> Sequence[Tool]:  # type: ignore[empty-body]
    """Preset-driven commands: each becomes ``sdcreative NAME`` and a preset's ``plugin: NAME``."""


@hookspec
def sdcreative_summaries() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Optional: name and summary of every tool, so that ``--help`` need not build their settings.

    For a plugin that imports pydantic only inside ``sdcreative_tools``; the names must agree.
    """


@hookspec
def sdcreative_commands() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Commands that no preset drives, added to ``sdcreative`` as they are."""


@hookspec
def sdcreative_samplers() -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:  # type: ignore[empty-body]
    """Sampler name to factory: the model's scheduler config in, a diffusers-style scheduler out."""


@hookspec
def sdcreative_easings() -> Mapping[str, Callable[[float], float]]:  # type: ignore[empty-body]
    """Easing name to function on [0, 1]; it takes 0 to 0 and 1 to 1."""


@hookspec
def sdcreative_metrics() -> Mapping[str, Callable[[Any], Any]]:  # type: ignore[empty-body]
    """Distance's name to factory: a Studio, or None where no model is at hand, in; out a function
    of N pictures of one size that gives the N - 1 distances of neighbours, each at least 0.
    """


@hookspec
def sdcreative_processors() -> Sequence[Processor]:  # type: ignore[empty-body]
    """Steps between the rendered pictures and the file, which a preset lists in ``process:``."""

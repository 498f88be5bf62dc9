"""`sdcreative plugins new`: a package that installs, passes its test and renders as it stands."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template

from .errors import OutputError, UsageError
from .registry import RESERVED_COMMANDS

TARGETS = {
    "pyproject.toml.tmpl": "pyproject.toml",
    "README.md.tmpl": "README.md",
    "init.py.tmpl": "src/$module/__init__.py",
    "settings.py.tmpl": "src/$module/settings.py",
    "timeline.py.tmpl": "src/$module/timeline.py",
    "preset.yaml.tmpl": "presets/$name.yaml",
    "test.py.tmpl": "tests/test_$module.py",
}


def write_plugin(name: str, parent: Path, taken: Iterable[str] = ()) -> Path:
    """Writes ``parent/name``, a package with one tool of that name.

    Args:
        name: in kebab-case or snake_case; the command, and in snake case the module.
        parent: existing folder, or one to be made.
        taken: names of tools and commands that exist already.

    Returns:
        The new folder.

    Raises:
        UsageError: the name cannot be a tool's, or is taken.
        OutputError: the folder exists, or cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name):
        raise UsageError(f"{name!r} cannot name a plugin; use kebab-case or snake_case: my_tool")
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        raise UsageError(f"{name!r} is a name of Python's own; choose another")
    if name in {*taken, *RESERVED_COMMANDS} or module.startswith("sdcreative"):
        raise UsageError(f"{name!r} is taken; choose another name, or uninstall its plugin")
    names = {
        "name": name,
        "module": module,
        "distribution": name.replace("_", "-"),
        "prefix": "".join(word.capitalize() for word in module.split("_")),
        "title": module.replace("_", " ").capitalize(),
    }
    folder = parent / name
    template = files("sdcreative") / "scaffold_template"
    try:
        folder.mkdir(parents=True)
        for source, target in TARGETS.items():
            path = folder / Template(target).substitute(names)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = (template / source).read_text(encoding="utf-8")
            path.write_text(Template(text).substitute(names), encoding="utf-8")
    except FileExistsError:
        raise OutputError(f"{folder} exists; choose another name or --path") from None
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from error
    return folder

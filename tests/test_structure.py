"""Dependencies go one way; read from the imports, wherever in a file they stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "sdcreative").rglob("*.py")
}
# What a plugin may import; the modules are for those that train or convert models.
PUBLIC = {
    "sdcreative",
    "sdcreative.models.addons.embedding_files",
    "sdcreative.models.addons.embedding_installing",
    "sdcreative.models.addons.module_names",
    "sdcreative.models.building",
    "sdcreative.models.clip.locked",
    "sdcreative.models.cpu.quickening",
    "sdcreative.models.digests",
    "sdcreative.models.loading",
    "sdcreative.models.opening",
    "sdcreative.models.placement",
    "sdcreative.models.places",
    "sdcreative.models.sources",
    "sdcreative.models.vae",
    "sdcreative.media.spectrogram",
    "sdcreative.spectral.inversion",
    "sdcreative.spectral.model_spectrogram",
    "sdcreative.spectral.params",
}
PLUGIN_FILES = sorted((ROOT / "plugins").rglob("*.py"))

# Room -> the rooms it may import from; a room is a module or a subpackage of sdcreative.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "core": {"errors", "spectral"},
    "media": {"errors", "spectral"},
    "music": {"errors", "media", "spectral"},
    "presets": {"errors"},
    "setting_groups": {"core", "errors"},
    "settings": {"core", "models", "processors", "setting_groups"},
    "film_settings": {"metrics", "presets", "scheduled", "setting_groups", "settings", "sound"},
    "scheduled": {"core", "errors", "presets", "settings"},
    "sound": {"core", "errors", "media", "presets", "settings", "tools"},
    "spectral": {"errors"},
    "tools": {"core", "errors", "presets", "settings"},
    "processors": {"core", "errors", "media", "models", "presets", "settings", "tools"},
    "models": {"core", "errors", "spectral"},
    "runs": {"core", "errors", "media"},
    "memory": set(),
    "rendering": {"core", "errors", "media", "memory", "models", "processors", "runs"},
    "guarding": {"errors", "models"},
    "attention": {"core", "errors", "models", "storyboard", "studio"},
    "serving": {"core", "errors", "models"},
    "studio": {"core", "errors", "media", "models", "rendering", "runs"},
    "estimate": {"media", "rendering", "studio", "tools"},
    "progress": set(),
    "interrupts": set(),
    "outlet": {"core", "errors", "media", "music", "processors", "spectral", "tools"},
    "picture_job": {
        "__init__",
        "core",
        "errors",
        "models",
        "provenance",
        "runs",
        "serving",
        "settings",
        "tools",
    },
    "spreading": {
        "core",
        "errors",
        "host",
        "media",
        "models",
        "picture_job",
        "rendering",
        "runs",
        "settings",
        "studio",
        "tools",
    },
    "production": {
        "core",
        "estimate",
        "guarding",
        "media",
        "models",
        "outlet",
        "picture_job",
        "progress",
        "provenance",
        "rendering",
        "retiming",
        "runs",
        "settings",
        "spreading",
        "studio",
        "tools",
    },
    "produce": {
        "errors",
        "interrupts",
        "picture_job",
        "production",
        "progress",
        "runs",
        "settings",
        "spreading",
        "studio",
        "tools",
    },
    "soundtrack": {
        "core",
        "errors",
        "media",
        "models",
        "produce",
        "runs",
        "settings",
        "sound",
        "studio",
        "tools",
    },
    "hookspecs": {"tools"},
    "registry": {
        "core",
        "errors",
        "metrics",
        "models",
        "processors",
        "settings",
        "sound",
        "tools",
    },
    "host": {"errors", "hookspecs", "registry", "tools"},
    "scaffold": {"errors", "registry"},
    "metrics": {"errors", "models", "studio"},
    "retiming": {"core", "errors", "metrics", "studio"},
    "smoothness": {"core", "errors", "metrics"},
    "provenance": {
        "__init__",
        "core",
        "errors",
        "media",
        "models",
        "presets",
        "runs",
        "settings",
    },
    "verify": {"core", "runs", "studio"},
    "repair": {"core", "errors", "metrics", "rendering", "runs", "smoothness", "studio"},
    "storyboard": {
        "core",
        "errors",
        "models",
        "progress",
        "rendering",
        "runs",
        "settings",
        "smoothness",
        "sound",
        "studio",
        "tools",
    },
    "cli": {
        "__init__",
        "attention",
        "core",
        "errors",
        "guarding",
        "host",
        "media",
        "metrics",
        "models",
        "outlet",
        "presets",
        "produce",
        "provenance",
        "repair",
        "runs",
        "scaffold",
        "settings",
        "smoothness",
        "sound",
        "soundtrack",
        "spectral",
        "spreading",
        "storyboard",
        "studio",
        "tools",
        "verify",
    },
}


def imports(name: str, path: Path) -> Iterator[str]:
    """Full names of what a file imports; relative imports resolved, packages' names included."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in MODULES else base


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_one_way(name: str) -> None:
    used = {room(m) for m in imports(name, MODULES[name]) if m.split(".")[0] == "sdcreative"}
    used -= {room(name)}
    if room(name) not in ("__main__", "__init__"):
        assert used - ROOMS[room(name)] == set()


def test_the_host_reads_only_torch_free_tables_of_the_rooms_below() -> None:
    for name in ("sdcreative.registry", "sdcreative.host"):
        used = {m for m in imports(name, MODULES[name]) if room(m) in ("core", "models")}
        assert used <= {"sdcreative.core.easing", "sdcreative.models.sampler_names"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_imports_plugins_and_only_models_import_diffusers(name: str) -> None:
    used = {m.split(".")[0] for m in imports(name, MODULES[name])}
    assert "sdcreative_plugins" not in used
    if room(name) != "models":
        assert used & {"diffusers", "transformers"} == set()
    if room(name) == "core":
        assert used & {"click", "PIL.Image", "pydantic", "yaml"} == set()


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_plugins_import_only_what_is_public(path: Path) -> None:
    name = ".".join(
        ["sdcreative_plugins", *path.relative_to(ROOT / "plugins").with_suffix("").parts]
    )
    used = set(imports(name.removesuffix(".__init__"), path))
    assert {m.split(".")[0] for m in used} & {"diffusers", "transformers"} == set()
    own = name.split(".")[1]
    for module in used:
        if module.startswith("sdcreative_plugins"):
            assert module.split(".")[1] == own, f"{module} belongs to another plugin"
        if module.split(".")[0] == "sdcreative":
            assert module in PUBLIC

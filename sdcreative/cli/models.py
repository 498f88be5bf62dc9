"""`sdcreative models`: which there are, what each is, whether it loads; fetching and digests."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import SdcreativeError, UsageError
from .tables import json_flag, table

if TYPE_CHECKING:
    from ..models.hub_names import HubPlace

folders_flag = click.option(
    "--models-dir",
    "models_dir",
    multiple=True,
    metavar="FOLDER",
    help="Of AUTOMATIC1111, of ComfyUI, or a plain one; SDCREATIVE_MODELS_DIR adds to it.",
)


def models_group() -> click.Group:
    """The group; bare, it lists. torch is imported when a command needs it."""

    @click.group("models", invoke_without_command=True, help="List, look at and fetch models.")
    @folders_flag
    @json_flag
    @click.pass_context
    def models(ctx: click.Context, models_dir: tuple[str, ...], as_json: bool) -> None:
        if ctx.invoked_subcommand is None:
            _list(models_dir, as_json)

    @models.command("list", help="Built-in ones, those in models folders, and in the hub's cache.")
    @folders_flag
    @json_flag
    def list_(models_dir: tuple[str, ...], as_json: bool) -> None:
        _list(models_dir, as_json)

    @models.command(help="What MODEL is; also of a LoRA, an embedding or another file of weights.")
    @click.argument("model")
    @folders_flag
    @json_flag
    def info(model: str, models_dir: tuple[str, ...], as_json: bool) -> None:
        from ..models.catalogue.addons import describe_addon
        from ..models.catalogue.describing import describe, is_model
        from ..runs.home import models_file
        from .models_text import addon_text, model_text

        path = _find(model, models_dir)
        if is_model(path):
            found = describe(path, models_file())
            click.echo(json.dumps(asdict(found), indent=2) if as_json else model_text(found))
        else:
            addon = describe_addon(path)
            click.echo(json.dumps(asdict(addon), indent=2) if as_json else addon_text(addon))

    @models.command(
        help="Say whether each MODEL will load, or why not: structure, files, and names and shapes "
        "of all weights. LoRAs and embeddings are read whole. Exits with 1 if one will not load."
    )
    @click.argument("models", nargs=-1, required=True, metavar="MODEL...")
    @click.option("--load", is_flag=True, help="Also load models, in float32 on the CPU.")
    @folders_flag
    def check(models: tuple[str, ...], load: bool, models_dir: tuple[str, ...]) -> int:
        failed = False
        for name in models:
            try:
                said = _check(_find(name, models_dir), load)
            except SdcreativeError as error:
                said, failed = f"will not load: {error}", True
            click.echo(f"{name}: {said}")
        return 1 if failed else 0

    @models.command(
        help="Download what is loaded of a model on the hub: owner/name, owner/name@revision, "
        "owner/name:folder or owner/name:file.safetensors, or its link."
    )
    @click.argument("model", metavar="HUB_ID")
    @click.option(
        "--also",
        multiple=True,
        type=click.Choice(["safety_checker", "feature_extractor"]),
        help="A part that is not loaded otherwise; may be repeated.",
    )
    def fetch(model: str, also: tuple[str, ...]) -> None:
        from ..media.output import human
        from ..models.catalogue.entries import size_of
        from ..models.sources import Source
        from ..models.sources import fetch as download

        path = download(Source(model, hub=_hub_place(model)), also=also)
        click.echo(f"{path}: {human(size_of(path))}")

    @models.command(help="The digest of MODEL in the keys of runs; of a file those of others too.")
    @click.argument("model")
    @folders_flag
    @json_flag
    def digest(model: str, models_dir: tuple[str, ...], as_json: bool) -> None:
        path = _find(model, models_dir)
        found = _digests(path)
        if as_json:
            click.echo(json.dumps(found, indent=2))
        else:
            width = max(map(len, found))
            for name, text in found.items():
                click.echo(f"{name.ljust(width)}  {text}")

    from .models_convert import convert

    models.add_command(convert)
    return models


def _find(name: str, models_dir: tuple[str, ...]) -> Path:
    from ..models.catalogue.naming import find_thing
    from ..models.places import model_folders

    return find_thing(name, model_folders(models_dir))


def _hub_place(name: str) -> HubPlace:
    from ..models.hub_names import read_hub_name

    place = read_hub_name(name)
    if place is None:
        raise UsageError(f"{name!r} is no id on the hub; give owner/name, or a link to its page")
    return place


def _list(models_dir: tuple[str, ...], as_json: bool) -> None:
    from ..models.catalogue.entries import list_entries
    from ..models.places import model_folders
    from .models_text import short_size

    entries = list(list_entries(model_folders(models_dir)))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in entries], indent=2))
        return
    rows = [
        (one.name, one.kind, one.family or "", short_size(one.size), one.where, one.fault or "")
        for one in entries
    ]
    click.echo(table(("NAME", "KIND", "FAMILY", "SIZE", "WHERE", "FAULT"), rows))


def _check(path: Path, load: bool) -> str:
    from ..models.catalogue.addons import describe_addon
    from ..models.catalogue.checking import check_model, load_model
    from ..models.catalogue.describing import is_model
    from ..models.catalogue.kinds import title_of
    from .models_text import addon_title

    if not is_model(path):
        return f"is sound: {addon_title(describe_addon(path))}"
    title = title_of(check_model(path))
    if load:
        load_model(path)
        return f"has loaded: {title}"
    return f"will load: {title}"


def _digests(path: Path) -> dict[str, str]:
    from ..models.catalogue.hashes import hash_file
    from ..models.digests import model_digest
    from ..runs.home import models_file

    found = {"run key": model_digest(path, models_file())}
    if path.is_file():
        hashes = hash_file(path)
        found |= {"sha256": hashes.sha256, "A1111": hashes.short, "A1111 before 2023": hashes.old}
        if hashes.weights is not None:
            found["without header"] = hashes.weights
    return found

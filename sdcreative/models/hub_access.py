"""Asking the Hugging Face hub, or its local cache; what goes wrong is said in one line."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .hub_names import HubPlace

_PATIENCE = 20.0
"""seconds that the hub has to answer"""


class UnreachableError(ModelError):
    """The hub does not answer, and the cache has not what was asked for."""


def ask(place: HubPlace) -> None:
    """Ask whether there is such a model.

    ``snapshot`` alone would try for long, and then give what the cache has, without a word.

    Raises:
        ModelError: there is none, or the hub is not reachable.
    """
    from huggingface_hub import HfApi

    with _said(place, False):
        HfApi().model_info(place.repository, revision=place.revision, timeout=_PATIENCE)


def list_files(place: HubPlace) -> list[str]:
    """Names of all files of a repository.

    Raises:
        ModelError: there is none, or the hub is not reachable.
    """
    from huggingface_hub import HfApi

    with _said(place, False):
        return list(HfApi().list_repo_files(place.repository, revision=place.revision))


def fetch_file(place: HubPlace, offline: bool) -> Path:
    """One file of a repository, in the cache.

    Raises:
        ModelError: not to be had, and why.
    """
    from huggingface_hub import hf_hub_download

    with _said(place, offline):
        found = hf_hub_download(
            place.repository,
            filename=place.inside or "",
            revision=place.revision,
            local_files_only=offline,
        )
    return Path(found)


def snapshot(
    place: HubPlace, revision: str | None, names: Sequence[str], offline: bool = False
) -> Path:
    """The folder of a commit in the cache, with these files if the repository has them.

    Args:
        place: of the model.
        revision: branch, tag or commit.
        names: an asterisk stands for anything.
        offline: never ask the network.

    Raises:
        ModelError: not to be had, and why.
    """
    from huggingface_hub import snapshot_download

    patterns = [glob.escape(name).replace("[*]", "*") for name in names]
    with _said(place, offline):
        return Path(
            snapshot_download(
                place.repository,
                revision=revision,
                allow_patterns=patterns,
                local_files_only=offline,
            )
        )


@contextmanager
def _said(place: HubPlace, offline: bool) -> Iterator[None]:
    """What huggingface_hub complains of, in one line."""
    from huggingface_hub import errors

    # The client for HTTP differs between its versions; its own errors are also the client's.
    network: Any = (*errors.HfHubHTTPError.__bases__, OSError)
    try:
        yield
    except errors.GatedRepoError:
        raise ModelError(
            f"{place.repository} asks for its licence to be accepted: do that on "
            f"https://huggingface.co/{place.repository}, then run `hf auth login`"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"no model {str(place)!r}: neither a folder here nor a (public) model on the hub"
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(
            f"{place.repository} on the hub has no revision {place.revision!r}"
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        why = "is not in the cache" if offline else "is not in the cache, the hub not reachable"
        raise UnreachableError(advice(place, why)) from None
    except errors.EntryNotFoundError:
        raise ModelError(f"{place.repository} on the hub has no file {place.inside!r}") from None
    except errors.HFValidationError:
        raise ModelError(f"no model {str(place)!r}: the hub has no such names") from None
    except network as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnreachableError(advice(place, f"could not be fetched ({lines[0]})")) from None


def advice(place: HubPlace, why: str) -> str:
    """Why a model cannot be had, and what to do."""
    from huggingface_hub import constants

    return (
        f"model {place} {why} ({constants.HF_HUB_CACHE}); "
        f"where there is a network, run `sdcreative models fetch {place}`"
    )

"""Names of models on the Hugging Face hub.

    owner/name                         the diffusers model of a repository
    owner/name@revision                of a branch, a tag or a commit
    owner/name:folder                  a diffusers model in a folder of a repository
    owner/name@revision:file.ckpt      one single checkpoint file of a repository

After the colon stands a file if it ends in .safetensors or .ckpt, else a folder. Links to
huggingface.co, as its pages show them, are read as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_WORD = r"[A-Za-z0-9_](?:[\w.-]*\w)?"
_NAME = re.compile(
    rf"(?P<repository>{_WORD}/{_WORD})(?:@(?P<revision>{_WORD}(?:/{_WORD})*))?"
    r"(?::(?P<inside>[^:\\\x00-\x1f]+))?"
)
_LINK = re.compile(
    r"(?P<repository>[^/]+/[^/]+)"
    r"(?:/(?:tree|blob|resolve)/(?P<revision>refs/pr/\d+|[^/]+)(?:/(?P<inside>.+))?)?/?"
)
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_FILES = (".safetensors", ".ckpt")


@dataclass(frozen=True)
class HubPlace:
    """A model on the hub.

    Attributes:
        repository: "owner/name".
        revision: branch, tag or commit; None for the main branch.
        inside: folder or file in the repository; None for the repository itself.
    """

    repository: str
    revision: str | None = None
    inside: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is one file of the repository."""
        return self.inside is not None and self.inside.lower().endswith(_FILES)

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"{self.repository}{revision}{'' if self.inside is None else f':{self.inside}'}"


def read_hub_name(text: str) -> HubPlace | None:
    """What a name or a link means on the hub; None for one of another form.

    >>> read_hub_name("owner/name@fp16:sub/folder")
    HubPlace(repository='owner/name', revision='fp16', inside='sub/folder')
    >>> str(read_hub_name("https://huggingface.co/owner/name/blob/main/some.safetensors"))
    'owner/name@main:some.safetensors'
    """
    if text.startswith(("https://", "http://")):
        text = _of_link(text)
    match = _NAME.fullmatch(text)
    if match is None or any(".." in part for part in match.group("repository", "revision") if part):
        return None
    inside = match["inside"]
    if inside is not None and any(step in ("", ".", "..") for step in inside.split("/")):
        return None
    return HubPlace(match["repository"], match["revision"], inside)


def _of_link(link: str) -> str:
    """A link in the notation of names; empty for another site or page."""
    try:
        address = urlsplit(link)
    except ValueError:
        return ""
    match = _LINK.fullmatch(unquote(address.path).lstrip("/"))
    if address.hostname not in _HOSTS or match is None:
        return ""
    revision, inside = match["revision"], (match["inside"] or "").rstrip("/")
    end = f":{inside}" if inside else ""
    return f"{match['repository']}{f'@{revision}' if revision else ''}{end}"

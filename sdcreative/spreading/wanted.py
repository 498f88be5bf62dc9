"""What flags say of many machines; reading them imports neither torch nor Ray."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..settings import RenderSettings
    from .executors import Executor

LOCAL = "local"
MOST = 1024


@dataclass(frozen=True)
class Shard:
    """One of several parts of a film, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Spread:
    """How a film is to be spread.

    Attributes:
        count: number of workers; None where devices are named, or nothing is said.
        devices: one worker on each.
        ray: address of a Ray cluster, or "local"; None for processes of this machine.
        shard: the only part that is rendered.
        told: settings that workers are told instead of the film's, where its music is a file.
        plugins: whether workers load third-party plugins.
    """

    count: int | None = None
    devices: tuple[str, ...] = ()
    ray: str | None = None
    shard: Shard | None = None
    told: RenderSettings | None = None
    plugins: bool = True

    @property
    def has_workers(self) -> bool:
        return bool(self.count or self.devices or self.ray)

    def executor(self, device: str) -> Executor:
        """What runs the workers; an executor of its own for every film.

        Args:
            device: as in the settings; what a number of workers compute on.

        Raises:
            UsageError: a device that this machine lacks, Ray that is not installed or not there.
        """
        if self.ray is not None:
            from .on_ray import RayCluster

            return RayCluster(None if self.ray == LOCAL else self.ray, self.count)
        from .processes import Processes

        return Processes(
            _named(self.devices) if self.devices else _counted(self.count or 1, device)
        )


def read_spread(workers: str | None, ray: str | None, shard: str | None) -> Spread:
    """What ``--workers``, ``--ray`` and ``--shard`` say.

    >>> read_spread("cuda:0,cuda:1", None, "2/4").devices
    ('cuda:0', 'cuda:1')

    Raises:
        UsageError: values that make no sense.
    """
    count: int | None = None
    devices: tuple[str, ...] = ()
    if workers is not None and re.fullmatch(r"\d{1,4}", workers):
        count = int(workers)
        if not 1 <= count <= MOST:
            raise UsageError(f"--workers {workers}: give 1 to {MOST}")
    elif workers is not None:
        devices = tuple(one.strip() for one in workers.split(","))
        if not all(re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", one) for one in devices):
            raise UsageError(f"--workers {workers}: give a number, or devices: cuda:0,cuda:1")
        if ray is not None:
            raise UsageError(f"--workers {workers}: with --ray, give a number; Ray places them")
    if ray is not None and ray != LOCAL and not re.fullmatch(r"ray://\S+:\d+", ray):
        raise UsageError(f"--ray {ray}: is no address; give ray://host:port, or --ray=local")
    return Spread(count, devices, ray, None if shard is None else _shard(shard))


def _shard(text: str) -> Shard:
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {text}: give which of how many, such as 1/4 to 4/4")
    return Shard(int(found[1]), int(found[2]))


def _named(devices: Sequence[str]) -> list[str]:
    from ..models.placement import device_name

    return [device_name(one) for one in devices]


def _counted(count: int, device: str) -> list[str]:
    """Devices for so many workers: those of this machine in turn, where none is named."""
    from ..models.placement import device_name

    name = device_name(device)
    if name != "cuda":
        return [name] * count
    import torch

    found = torch.cuda.device_count()
    return [f"cuda:{number % found}" for number in range(count)]

"""Memory that a process keeps between the calls of a model.

glibc gives large blocks back to the system as soon as they are free, and asks for them again in the
next layer; the system then clears every page of them. That is a third of the time of a U-Net of the
size of Stable Diffusion's.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

BLOCK = 2**30
"""bytes; larger blocks are given back one by one as before"""
SPARE = 2**31 - 1
"""bytes at the end of the heap that may be free: the most that mallopt's int can say"""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_OWN = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_")


@cache
def keep_memory() -> bool:
    """Let this process keep what its layers free, for those that come after (mallopt(3)).

    Returns:
        Whether that is done: not without glibc, and not where the environment says how memory is to
        be had.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _OWN):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    done: int = library.mallopt(_MMAP_THRESHOLD, BLOCK) and library.mallopt(_TRIM_THRESHOLD, SPARE)
    return bool(done)

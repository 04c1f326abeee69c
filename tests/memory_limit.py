"""A bound on a worker's memory, so that calls that ask for the moon get a MemoryError."""

from __future__ import annotations

import resource
from pathlib import Path

MEMORY = 6 << 30


def limit_memory(extra: int = MEMORY) -> None:
    """Let this process take `extra` bytes of address space beyond what it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

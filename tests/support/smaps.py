"""Which pages of which file a process has, as Linux reports it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def mapped_kb(pid: int, name: str) -> Counter[str]:
    """Sums over the mappings of files of this name, of ``/proc/PID/smaps``."""
    sums = Counter[str]()
    is_ours = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_ours = words[-1].endswith(name)
        elif is_ours and words[-1] == "kB":
            sums[words[0][:-1]] += int(words[1])
    return sums

"""What a process and all that it started cost, as /proc tells it; nothing where there is no /proc."""

import os
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> set[int]:
    """A process and its descendants."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        facts = _facts(int(folder.name))
        if facts:
            parents[int(folder.name)] = int(facts[1])
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """What they used so far, with their descendants that have ended."""
    # User and system time, of its own and of its children that it waited for.
    return sum(sum(int(ticks) for ticks in _facts(pid)[11:15]) for pid in pids) / TICKS


def memory(pid: int) -> int:
    """Bytes in memory; of what processes share, each has its part."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def command(pid: int) -> str:
    """The words that it was started with."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _facts(pid: int) -> list[str]:
    """Fields of its stat from the third on: state, parent, ... The name before them may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []

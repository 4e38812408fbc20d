"""What Linux tells of processes: their memory, their CPU time, who listens on a port, and how busy the machine is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICKS_HZ = os.sysconf("SC_CLK_TCK")


def rss_kib(pids: list[int]) -> int:
    """Resident memory of the processes together, in KiB. A process that is gone counts as nothing."""
    total = 0
    for pid in pids:
        for line in _lines(Path(f"/proc/{pid}/status")):
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def cpu_s(pids: list[int]) -> float:
    """CPU time that the living threads of these processes have used so far, in seconds (the scheduler's own count)."""
    total_ns = 0
    for pid in pids:
        with suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                for line in _lines(thread / "schedstat"):
                    total_ns += int(line.split()[0])
    return total_ns / 1e9


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for line in _lines(entry / "stat"):
                children.setdefault(int(line.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def listener(port: int) -> int | None:
    """The process that listens on a TCP port of this machine; None if it cannot be seen (another user's)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _lines(Path(table))[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: LISTEN
                inodes.add(f"socket:[{fields[9]}]")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if any(os.readlink(link) in inodes for link in (entry / "fd").iterdir()):
                    return int(entry.name)
            except OSError:
                continue
    return None


def busy_s() -> float:
    """CPU time that all cores together have spent on anything since the machine started, in seconds."""
    fields = [int(field) for field in _lines(Path("/proc/stat"))[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS_HZ  # all but idle and waiting for disks


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []

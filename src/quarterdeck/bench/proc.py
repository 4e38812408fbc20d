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
    """CPU time that the processes have used so far, user and system, in seconds.

    A process's own count includes threads that have ended, but in ticks of 10 ms; those of its threads are in ns, but
    end with them. Neither is too high, so the higher one is the better.
    """
    total_s = 0.0
    for pid in pids:
        ticks = ns = 0
        for line in _lines(Path(f"/proc/{pid}/stat")):
            # The name, in parentheses, may hold anything: fields are counted from its end.
            fields = line.rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
        with suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                ns += sum(int(line.split()[0]) for line in _lines(thread / "schedstat"))
        total_s += max(ticks / TICKS_HZ, ns / 1e9)
    return total_s


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


def running(module: str) -> list[int]:
    """The processes started as `python -m MODULE`."""
    wanted, found = b"\0-m\0" + module.encode() + b"\0", []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
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

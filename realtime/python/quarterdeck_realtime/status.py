"""Read a host's ledger from its shared memory, without stopping it: histograms, counters, and why shots were late."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import msgspec
import numpy as np
import numpy.typing as npt

from quarterdeck_realtime import _hot
from quarterdeck_realtime.profiles import POLICIES

__all__ = ["CAUSES", "HostStatus", "Ledger", "Miss", "PatchStatus", "Spread", "prometheus"]

CAUSES = ("transport", "backlog", "decode", "preempted")
STATES = ("free", "live", "gone")
SHARED = Path("/dev/shm")
SUB_BITS = 5  # of histogram.h: every octave has 32 buckets
NO_MIN = np.iinfo(np.uint64).max

Counts = npt.NDArray[np.uint64]


def bucket_lower(bucket: int) -> int:
    """The smallest value of a histogram's bucket, in ns."""
    if bucket < 2 << SUB_BITS:
        return bucket
    octave = (bucket >> SUB_BITS) - 1
    return (bucket - (octave << SUB_BITS)) << octave


class Spread(msgspec.Struct, frozen=True):
    """A histogram in few numbers, in us. Quantiles are off by at most 1/64."""

    count: int
    mean_us: float
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float

    @classmethod
    def of(cls, histogram: Any) -> Self:
        """From a histogram's record of the ledger."""
        buckets: Counts = np.array(histogram["buckets"])
        count = int(buckets.sum())
        if not count:
            return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        low, high = int(histogram["min"]), int(histogram["max"])
        upto = np.cumsum(buckets)

        def quantile(q: float) -> float:
            at = int(np.searchsorted(upto, max(1, int(np.ceil(q * count)))))
            lower, upper = bucket_lower(at), bucket_lower(at + 1)
            return min(max(lower + (upper - 1 - lower) // 2, low), high) / 1e3

        mean_us = int(histogram["sum"]) / count / 1e3
        return cls(count, mean_us, quantile(0.5), quantile(0.9), quantile(0.99), quantile(0.999), high / 1e3)


class PatchStatus(msgspec.Struct, frozen=True):
    """What the host did for one logical qubit."""

    place: int
    name: str
    decoder: int
    state: str
    policy: str
    cycle_us: float
    budget_us: float
    epoch: int
    rounds: int
    shots: int
    in_time: int
    misses: dict[str, int]  # by cause; each late shot has one
    lost_rounds: int
    refused: int
    failures: int
    heuristic: int
    busy_share: float  # of the host's life, spent on this patch
    reaction: Spread
    wait: Spread
    decode: Spread

    @property
    def late(self) -> int:
        return sum(self.misses.values())


class Miss(msgspec.Struct, frozen=True):
    """A shot that took longer than half its budget; `cause` is none where it was in time after all."""

    place: int
    shot: int
    epoch: int
    cause: str
    published_ns: int
    reaction_us: float
    transport_us: float
    backlog_us: float
    decode_us: float
    preempted_us: float


class HostStatus(msgspec.Struct, frozen=True):
    """The loop itself."""

    pid: int
    alive: bool  # it looked around within the last second
    up_s: float
    core: int
    pinned: bool
    fifo: bool
    locked: bool
    busy_share: float
    asleep_share: float
    gaps_per_s: float  # in which the machine had the processor
    gap_share: float
    switches: int  # involuntary
    round: Spread
    patches: list[PatchStatus]


def dtypes(sizes: dict[str, int] | None = None) -> dict[str, np.dtype[Any]]:
    """The ledger's structures as numpy types, from the layout that the compiled module tells.

    `sizes`: the bytes of those that lie in a row.
    """
    kinds = {"u": "<u8", "i": "<i8", "w": "<u4"}
    found: dict[str, np.dtype[Any]] = {}
    for structure in ("histogram", "head", "patch", "record"):
        rows = [row for row in _hot.ledger_layout() if row[0] == structure]
        formats: list[Any] = []
        for _, _, _, many, kind in rows:
            base: Any = f"S{many}" if kind == "c" else found["histogram"] if kind == "h" else kinds[kind]
            formats.append(base if many == 1 or kind == "c" else (base, (many,)))
        shape: dict[str, Any] = {"names": [row[1] for row in rows], "formats": formats}
        shape["offsets"] = [row[2] for row in rows]
        if sizes and structure in sizes:
            shape["itemsize"] = sizes[structure]
        found[structure] = np.dtype(cast(Any, shape))
    return found


class Ledger:
    """A view of a running (or ended) host's ledger; a context manager. The host notices nothing."""

    def __init__(self, name: str) -> None:
        """Open the ledger `name` of /dev/shm. Raises FileNotFoundError where no host has one, ValueError for others."""
        path = SHARED / name
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"No real-time host keeps a ledger {name!r}: start one with `qdeck realtime run`, or name another."
            ) from None
        try:
            self.memory = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        types = dtypes()
        try:
            head = np.frombuffer(self.memory, types["head"], 1)[0]
            magic, version = int(head["magic"]), int(head["version"])
        except ValueError:
            magic = version = 0
        if magic != _hot.LEDGER_MAGIC or version != _hot.LEDGER_VERSION:
            raise ValueError(f"{path} is not a ledger of this version: use the quarterdeck-realtime that wrote it.")
        self.head: Any = head
        types = dtypes({"patch": int(head["patch_bytes"]), "record": int(head["record_bytes"])})
        at, many = int(head["head_bytes"]), int(head["patches"])
        self.patches: Any = np.frombuffer(self.memory, types["patch"], many, at)
        at += self.patches.nbytes
        self.records: Any = np.frombuffer(self.memory, types["record"], int(head["records"]), at)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back; where somebody still looks at parts of it, when they are done."""
        self.head = self.patches = self.records = None
        with contextlib.suppress(BufferError):
            self.memory.close()

    def status(self, now_ns: int | None = None) -> HostStatus:
        """Everything, now. `now_ns`: of CLOCK_MONOTONIC."""
        now = time.monotonic_ns() if now_ns is None else now_ns
        head = self.head
        beat = int(head["beat_ns"])
        up_ns = max(1, (beat or now) - int(head["started_ns"]))
        return HostStatus(
            pid=int(head["pid"]),
            alive=now - beat < 1_000_000_000,
            up_s=up_ns / 1e9,
            core=int(head["core"]),
            pinned=bool(head["pinned"]),
            fifo=bool(head["fifo"]),
            locked=bool(head["locked"]),
            busy_share=int(head["work_ns"]) / up_ns,
            asleep_share=int(head["asleep_ns"]) / up_ns,
            gaps_per_s=int(head["gaps"]) * 1e9 / up_ns,
            gap_share=int(head["gap_ns"]) / up_ns,
            switches=int(head["switches"]),
            round=Spread.of(head["round"]),
            patches=[self._patch(place, up_ns) for place, page in enumerate(self.patches) if int(page["state"])],
        )

    def _patch(self, place: int, up_ns: int) -> PatchStatus:
        page = self.patches[place]
        causes = [int(many) for many in page["misses"]]
        return PatchStatus(
            place=place,
            name=bytes(page["name"]).decode(errors="replace"),
            decoder=int(page["decoder_id"]),
            state=STATES[int(page["state"]) % len(STATES)],
            policy=POLICIES[int(page["policy"]) % len(POLICIES)],
            cycle_us=int(page["cycle_ns"]) / 1e3,
            budget_us=int(page["budget_ns"]) / 1e3,
            epoch=int(page["epoch"]),
            rounds=int(page["rounds"]),
            shots=int(page["shots"]),
            in_time=causes[0],
            misses=dict(zip(CAUSES, causes[1:], strict=True)),
            lost_rounds=int(page["lost_rounds"]),
            refused=int(page["refused"]),
            failures=int(page["failures"]),
            heuristic=int(page["heuristic"]),
            busy_share=int(page["work_ns"]) / up_ns,
            reaction=Spread.of(page["reaction"]),
            wait=Spread.of(page["wait"]),
            decode=Spread.of(page["decode"]),
        )

    def misses(self, since: int = 0) -> list[Miss]:
        """The last shots that took longer than half their budget, oldest first, from record `since` on (the ledger's
        `missed` of an earlier moment). Records that are being written are left out."""
        written, kept = int(self.head["missed"]), len(self.records)
        found = []
        for number in range(max(since, written - kept), written):
            record = self.records[number % kept]
            before = int(record["number"])
            copy = record.copy()
            if before != 2 * number + 2 or int(record["number"]) != before:
                continue
            found.append(
                Miss(
                    place=int(copy["patch"]),
                    shot=int(copy["shot"]),
                    epoch=int(copy["epoch"]),
                    cause=("none", *CAUSES)[int(copy["cause"]) % 5],
                    published_ns=int(copy["published_ns"]),
                    reaction_us=(int(copy["answered_ns"]) - (int(copy["published_ns"]) or int(copy["seen_ns"]))) / 1e3,
                    transport_us=int(copy["transport_ns"]) / 1e3,
                    backlog_us=int(copy["backlog_ns"]) / 1e3,
                    decode_us=int(copy["decode_ns"]) / 1e3,
                    preempted_us=int(copy["preempted_ns"]) / 1e3,
                )
            )
        return found


def prometheus(status: HostStatus) -> str:
    """The status as Prometheus text, for a textfile collector or a daemon's metrics."""
    lines: list[str] = []

    def metric(name: str, kind: str, text: str, rows: list[tuple[str, float]]) -> None:
        lines.append(f"# HELP quarterdeck_realtime_{name} {text}")
        lines.append(f"# TYPE quarterdeck_realtime_{name} {kind}")
        for labels, value in rows:
            lines.append(f"quarterdeck_realtime_{name}{{{labels}}} {value:.9g}" if labels else
                         f"quarterdeck_realtime_{name} {value:.9g}")  # fmt: skip

    def label(patch: PatchStatus) -> str:
        quoted = patch.name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'patch="{quoted}",decoder="{patch.decoder}",place="{patch.place}"'

    patches = [patch for patch in status.patches if patch.state == "live"]
    metric("up", "gauge", "1 while the loop looks around.", [("", float(status.alive))])
    metric("busy_ratio", "gauge", "Share of its life that the loop worked.", [("", status.busy_share)])
    metric("gap_ratio", "gauge", "Share of its life that the machine took from the loop.", [("", status.gap_share)])
    for name, text in (
        ("shots", "Volumes that were decoded."), ("rounds", "Enqueues that were taken."),
        ("lost_rounds", "Rounds that never came."), ("refused", "Requests that were refused."),
        ("failures", "Volumes that the decoder could not take."), ("epoch", "Hot swaps of the decoder."),
    ):  # fmt: skip
        rows = [(label(patch), float(getattr(patch, name))) for patch in patches]
        metric(f"{name}_total", "counter", text, rows)
    late = [(f'{label(patch)},cause="{cause}"', float(patch.misses[cause])) for patch in patches for cause in CAUSES]
    metric("misses_total", "counter", "Shots over their budget, each with one cause.", late)
    for name, text in (("reaction", "Last round published to answer sent."), ("decode", "Last round seen to decoded.")):
        rows = []
        for patch in patches:
            spread: Spread = getattr(patch, name)
            for q, value in (("0.5", spread.p50_us), ("0.99", spread.p99_us), ("0.999", spread.p999_us)):
                rows.append((f'{label(patch)},quantile="{q}"', value / 1e6))
        metric(f"{name}_seconds", "gauge", text, rows)
    return "\n".join(lines) + "\n"

"""What a host serves: a TOML file of ours, or a decoder configuration of `cudaq-qec`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import stim
from msgspec import Meta
from numpy.typing import NDArray

from quarterdeck_realtime import _hot
from quarterdeck_realtime.codes import Experiment, StreamShape, circuit_experiment, read_loss, stream_shape
from quarterdeck_realtime.decoders.cudaq import read_cudaq
from quarterdeck_realtime.decoders.own import relay
from quarterdeck_realtime.model import model_of
from quarterdeck_realtime.profiles import PROFILES, Profile

__all__ = ["HostSettings", "Kind", "Qubit", "QubitSettings", "RelaySettings", "compiled_of", "load"]

Kind = Literal["matching", "union-find", "lookup", "erasure", "relay", "null"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$")]
Positive = Annotated[float, Meta(gt=0)]
WARM_SHOTS = 200
WINDOWED = ("matching", "union-find", "erasure")
"""Kinds that decode windows of a stream."""


class RelaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `quarterdeck_realtime.decoders.own.relay` takes."""

    iterations: int = 80
    legs: int = 60
    leg_iterations: int = 60
    solutions: int = 3
    more: int = 2
    memory: float = 0.125
    memories: tuple[float, float] = (-0.24, 0.66)
    scaling: float = 1.0
    seed: int = 0


class QubitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One logical qubit. Give a `circuit` (Stim), or a `dem` (an error model: the controller then sends its detectors).

    Attributes:
        decoder: Its id in frames; unique among the qubits of one link.
        link: `rings` of shared memory, handed out at the host's socket; or `udp`, on `address` and `port` (0: any).
        profile: What the kind of hardware asks for; `cycle_us`, `budget_us` and `policy` say otherwise.
        slots: Of each ring, a power of two.
        window: In place of volumes the qubit has one stream of rounds without end, decoded in windows of so many rounds
            (usual are 2 code distances) that advance by `commit` (1 distance). `circuit` is a short stream, over rings.
        workers: Threads that decode windows side by side; 0: one window after the other, on the loop itself.
        relay: Settings of kind `relay`: fewer legs bound what a volume may take.
    """

    name: Name
    circuit: str = ""
    dem: str = ""
    decoder: Annotated[int, Meta(ge=0)] = 0
    kind: Kind = "matching"
    link: Literal["rings", "udp"] = "rings"
    address: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    profile: Literal["superconducting", "ion", "neutral-atom"] = "superconducting"
    cycle_us: Positive | None = None
    budget_us: Positive | None = None
    policy: Literal["wait", "idle", "defer"] | None = None
    slots: Annotated[int, Meta(ge=2, le=1 << 20)] = 1024
    window: Annotated[int, Meta(ge=0)] = 0
    commit: Annotated[int, Meta(ge=0)] = 0
    workers: Annotated[int, Meta(ge=0, le=64)] = 0
    relay: RelaySettings = RelaySettings()

    @property
    def pace(self) -> Profile:
        """Its profile, with what is said otherwise."""
        own = {"cycle_us": self.cycle_us, "budget_us": self.budget_us, "policy": self.policy}
        given = {key: value for key, value in own.items() if value is not None}
        return msgspec.structs.replace(PROFILES[self.profile], **given)


class HostSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host: one loop on one core.

    Attributes:
        name: Of its ledger in /dev/shm, which `qdeck realtime status NAME` reads.
        socket: Where rings are handed out and decoders swapped; empty: `/tmp/NAME.sock` of this user only.
        core: Where its loop runs; -1: anywhere. `fifo` is its real-time priority (0: none), where that is allowed.
        lock: Keep its memory from being swapped out.
        metrics: ADDRESS:PORT where Prometheus finds its figures; empty: nowhere.
        share: A qubit is refused if the loop would then be busy for more than this share of its time.
        places: For qubits that are added while it runs; there are as many as qubits in the file at least.
    """

    name: Name
    socket: str = ""
    core: int = -1
    fifo: Annotated[int, Meta(ge=0, le=99)] = 0
    lock: bool = False
    metrics: str = ""
    share: Annotated[float, Meta(gt=0, le=1)] = 0.7
    places: Annotated[int, Meta(ge=0, le=100_000)] = 0
    qubit: list[QubitSettings]


class Qubit(msgspec.Struct, frozen=True):
    """A logical qubit, ready to be seated. `detectors` are the rows of D: the measurements of each detector; those in
    `odd` are odd without noise."""

    settings: QubitSettings
    dem: stim.DetectorErrorModel
    measurements: int
    detectors: list[list[int]]
    stream: StreamShape | None = None
    odd: list[int] = []
    experiment: Experiment | None = None  # of its circuit

    def lost(self) -> list[list[int]]:
        """For each measurement the edges that its loss (outcome 2) erases; none for kinds that cannot be told."""
        if self.settings.kind != "erasure" or self.experiment is None:
            return []
        return read_loss(self.experiment, model_of(self.dem))

    @property
    def observables(self) -> int:
        return max(1, int(self.dem.num_observables))

    def warm(self, seed: int = 1) -> NDArray[np.bool_]:
        """Some volumes as detection events: shots x detectors."""
        events, _, _ = self.dem.compile_sampler(seed=seed).sample(WARM_SHOTS)
        return np.ascontiguousarray(events)


def compiled_of(kind: Kind, dem: stim.DetectorErrorModel, settings: RelaySettings | None = None) -> Any:
    """A decoder to be seated, of kind `relay` with these settings. Raises ValueError for a model that this kind cannot
    take."""
    if kind == "null":
        return _hot.Null()
    if kind == "relay":
        return relay(dem, **msgspec.structs.asdict(settings or RelaySettings())).compiled
    model = model_of(dem)
    if kind == "erasure":
        return _hot.Erasure(model, [])  # the patch says which edges a loss erases
    return {"matching": _hot.Matching, "union-find": _hot.UnionFind, "lookup": _hot.Lookup}[kind](model)


def load(path: Path) -> tuple[HostSettings, list[Qubit]]:
    """Read a file. Raises ValueError, which says what is wrong where, and OSError."""
    if path.suffix in (".yaml", ".yml"):
        return _cudaq(path)
    try:
        settings = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), HostSettings)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not settings.qubit:
        raise ValueError(f"{path}: there is no [[qubit]]: a host needs one at least")
    names = [qubit.name for qubit in settings.qubit]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: two qubits are called {name}")
    return settings, [_qubit(path, qubit) for qubit in settings.qubit]


def _qubit(path: Path, given: QubitSettings) -> Qubit:
    where = f"{path}: qubit {given.name}"
    if bool(given.circuit) == bool(given.dem):
        raise ValueError(f"{where}: give either its circuit or its dem, the name of a file")
    if given.window and (not given.circuit or given.link != "rings" or given.kind not in WINDOWED):
        raise ValueError(
            f"{where}: a stream (window) needs a circuit, link rings and one of the kinds {', '.join(WINDOWED)}"
        )
    if given.window and not 0 < given.commit < given.window:
        raise ValueError(
            f"{where}: windows of {given.window} rounds advance by 1 to {given.window - 1} rounds (commit)"
        )
    file = path.parent / (given.circuit or given.dem)
    try:
        if given.circuit:
            found = circuit_experiment(given.name, stim.Circuit.from_file(file), decompose=given.kind != "relay")
            shape = stream_shape(found) if given.window else None
            return Qubit(given, found.dem, found.measurements, found.detectors, shape, found.odd, found)
        dem = stim.DetectorErrorModel.from_file(file)
        return Qubit(given, dem, dem.num_detectors, [[one] for one in range(dem.num_detectors)])
    except (OSError, ValueError, IndexError) as error:  # Stim raises IndexError for a file that is not there
        raise ValueError(f"{where}: {file} cannot be used: {error}") from None


def _cudaq(path: Path) -> tuple[HostSettings, list[Qubit]]:
    """Each decoder has an endpoint of its own, as in NVIDIA's decoding server."""
    qubits = []
    for one in read_cudaq(path):
        if one.name not in ("matching", "union-find", "lookup", "relay"):
            raise ValueError(
                f"{path}: decoder {one.id} is of type {one.type}, which is '{one.name}' here: it cannot run hot; "
                "use it offline with quarterdeck_realtime.decoders"
            )
        settings = QubitSettings(
            name=f"decoder-{one.id}", dem=path.name, decoder=one.id, kind=msgspec.convert(one.name, Kind), link="udp",
            relay=RelaySettings(**one.settings) if one.name == "relay" else RelaySettings(),
        )  # fmt: skip
        rows = [list(row) for row in one.measurements]
        qubits.append(Qubit(settings, one.dem, max((max(row) + 1 for row in rows if row), default=0), rows))
    return HostSettings(name=path.stem, qubit=[qubit.settings for qubit in qubits]), qubits

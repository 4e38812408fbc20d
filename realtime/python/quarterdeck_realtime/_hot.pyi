"""The hot path of quarterdeck-realtime."""

from collections.abc import Sequence
from typing import Annotated, overload

import numpy
from numpy.typing import NDArray


class Model:
    """The matching graph of a detector error model."""

    def __init__(self) -> None: ...

    @property
    def detectors(self) -> int: ...

    @detectors.setter
    def detectors(self, arg: int, /) -> None: ...

    @property
    def observables(self) -> int: ...

    @observables.setter
    def observables(self, arg: int, /) -> None: ...

    @property
    def layer(self) -> list[int]: ...

    @layer.setter
    def layer(self, arg: Sequence[int], /) -> None: ...

    def add(self, u: int, v: int, weight: float, observables: int) -> None:
        """Add a mechanism; v is -1 for the boundary."""

    def check(self) -> None:
        """Raise ValueError, with the first thing that is wrong."""

    @property
    def edges(self) -> list:
        """Rows of (u, v, weight, observables)."""

class Compiled:
    """A decoder for one model, compiled; shared by threads."""

    @property
    def bytes(self) -> int:
        """Bytes of memory that all users of this decoder share."""

class Matching(Compiled):
    """Exact minimum-weight perfect matching."""

    def __init__(self, model: Model, *, direct: int = 8, vectors: bool = True, prove: bool = False) -> None:
        """
        Compile a model. `direct`: most defects that subset programs solve. `vectors`: AVX2 where present. `prove`, for tests: fail unless the duals prove a solution. Raises ValueError for a model that cannot be.
        """

    def decode(self, defects: Sequence[int]) -> tuple[int, float]:
        """(mask of observables, weight) for the detectors that fired."""

    def pairs(self, defects: Sequence[int]) -> list[tuple[int, int]]:
        """The matched pairs of detectors; -1 stands for the boundary."""

    @overload
    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple:
        """
        (masks, weights) for rows of detection events: bool, or uint8 with bits packed lowest first.
        """

    @overload
    def decode_batch(self, events: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple: ...

    @overload
    def time_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], flush: int = 0) -> Annotated[NDArray[numpy.int32], dict(shape=(None,))]:
        """
        Nanoseconds of each shot, with `flush` bytes written before each to cool the caches.
        """

    @overload
    def time_batch(self, events: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)], flush: int = 0) -> Annotated[NDArray[numpy.int32], dict(shape=(None,))]: ...

    @property
    def units(self) -> list[float]:
        """The quantum of weight of each basis."""

    @property
    def decoder_bytes(self) -> int:
        """Bytes of address space of each thread's decoder."""

class Erasure(Compiled):
    """
    Exact matching with losses. sites: for each place that can be lost the numbers of the model's edges that its loss erases.
    """

    def __init__(self, model: Model, sites: Sequence[Sequence[int]]) -> None: ...

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)], losses: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None) -> tuple:
        """As for other decoders; losses is a bool array (shots, sites), or None."""

class Lookup(Compiled):
    """A table of the answers to all syndromes of small volumes."""

    def __init__(self, model: Model, *, classes: bool = False, largest: int = 16) -> None:
        """
        `classes`: answer with the likeliest set of observables instead of that of the likeliest error. `largest`: most detectors of a basis with a table, at most 24. Raises ValueError if no basis is small enough.
        """

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple:
        """
        Decode shots: events is a bool array (shots, detectors). Returns (masks, weights, qualities), one of each a shot: uint64 with bit k for observable k, float64, and uint8 (0 exact, 1 heuristic, 2 failed: the mask says nothing).
        """

    def covers(self, detector: int) -> bool:
        """Whether shots in which this detector fires can be answered."""

    @property
    def uncovered(self) -> int:
        """Detectors whose shots fail."""

class UnionFind(Compiled):
    """Weighted union-find decoder of a model."""

    def __init__(self, model: Model) -> None:
        """Raises ValueError for a model that is wrong."""

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple:
        """
        Decode shots: events is a bool array (shots, detectors). Returns (masks, weights, qualities), one of each a shot: uint64 with bit k for observable k, float64, and uint8 (0 exact, 1 heuristic, 2 failed: the mask says nothing).
        """

class Windowed(Compiled):
    """Sliding windows over a model with layers."""

    def __init__(self, model: Model, window: int, commit: int, inner: str = 'matching') -> None:
        """
        Windows of `window` layers that advance by `commit`; `inner` decodes each: 'matching' or 'union-find'. Raises ValueError for a model whose rounds do not repeat, or that is too short.
        """

    def decode_batch(self, events: Annotated[NDArray[numpy.bool_], dict(shape=(None, None), order='C', device='cpu', writable=False)]) -> tuple:
        """
        Decode shots: events is a bool array (shots, detectors). Returns (masks, weights, qualities), one of each a shot: uint64 with bit k for observable k, float64, and uint8 (0 exact, 1 heuristic, 2 failed: the mask says nothing).
        """

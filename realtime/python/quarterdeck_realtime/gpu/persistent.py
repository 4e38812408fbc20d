"""A kernel that stays on the GPU and answers many patches through mapped pinned memory, without a launch for each shot.

NEVER RUN: no GPU was at hand. The kernel (persistent.cu) was compiled with NVRTC and is run by the tests as C++, by
threads of the host; the mailbox is the same in both. What is not known: that it runs at all on a device, its latency (a
poll over PCIe is guessed to take 2 to 5 us), and how many patches a block can serve.

While it runs, nothing in this process may synchronise the whole device or allocate on it (cudaMalloc, cudaFree, new
kernels that are loaded lazily): that waits for ever, as does the end of a process that
did not close it. All memory is therefore allocated before the launch.
"""

from __future__ import annotations

import platform
import time
from importlib.resources import files
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import stim
from numpy.typing import NDArray

from quarterdeck_realtime.decoders.matrices import mechanisms_of
from quarterdeck_realtime.gpu.arrays import cupy_with_gpu
from quarterdeck_realtime.gpu.graph import Graph, graph_of

__all__ = ["Answer", "Mailbox", "Persistent", "arguments", "kernel_source"]

LINE = 16  # words of 32 bits in a cache line
MOST_CHECKS = 4096  # that persistent.cu has room for
Words = NDArray[np.uint32]


class Answer(msgspec.Struct, frozen=True):
    """Observables to flip (bit k for observable k), and the iterations; 0: it did not converge, and flips nothing."""

    flips: int
    iterations: int


class Mailbox:
    """Slots for questions and answers, one of each a patch, over `memory` of words(...) words that starts as zeros.

    Word 0 tells the kernel to stop; slots follow, as persistent.cu has them. The order of stores is that of x86.
    """

    def __init__(self, memory: Words, patches: int, detectors: int) -> None:
        self.patches, self.detectors = patches, detectors
        self.answer_at, self.slot_words = self._shape(detectors)
        self.memory = memory
        self._slots = memory[LINE:].reshape(patches, self.slot_words)

    @classmethod
    def words(cls, patches: int, detectors: int) -> int:
        """How many it needs."""
        return LINE + patches * cls._shape(detectors)[1]

    @staticmethod
    def _shape(detectors: int) -> tuple[int, int]:
        answer_at = -(-(1 + -(-detectors // 32)) // LINE) * LINE
        return answer_at, answer_at + LINE

    def ask(self, patch: int, syndrome: NDArray[np.bool_]) -> None:
        """Publish a syndrome (detectors). Raises RuntimeError while the patch's last question has no answer."""
        slot = self._slots[patch]
        if slot[0] != slot[self.answer_at]:
            raise RuntimeError(f"patch {patch} has not been answered yet: take its answer before asking again")
        if syndrome.shape != (self.detectors,):
            raise ValueError(f"a syndrome has {self.detectors} detectors, not shape {syndrome.shape}")
        packed = np.packbits(syndrome, bitorder="little")
        slot[1 : self.answer_at].view(np.uint8)[: len(packed)] = packed
        slot[0] = (int(slot[0]) + 1) & 0xFFFFFFFF  # last: from here on the kernel may read

    def answer(self, patch: int) -> Answer | None:
        """The answer to the last question, or None while there is none."""
        slot = self._slots[patch]
        if slot[0] != slot[self.answer_at]:
            return None
        _, iterations, low, high = slot[self.answer_at : self.answer_at + 4].tolist()
        return Answer(low | high << 32, iterations)

    def stop(self) -> None:
        """Ask the kernel to leave; open questions may stay without an answer."""
        self.memory[0] = 1


def kernel_source() -> str:
    """CUDA C++ of the kernel `serve`."""
    return (files(__package__) / "persistent.cu").read_text(encoding="utf-8")


def arguments(graph: Graph, box: Mailbox, blocks: int, iterations: int, scaling: float, memory: float) -> list[Any]:
    """What `serve` takes after the addresses of slots and stop: arrays, to be moved to the device, and scalars."""
    (degree, checks), (weight, errors) = graph.errors_of.shape, graph.edges_of.shape
    sizes = [box.patches, box.slot_words, box.answer_at, checks, degree, errors, weight]
    return [
        np.zeros(box.patches, dtype=np.uint32),
        *map(np.int32, sizes),
        graph.errors_of,
        graph.edges_of,
        np.clip(graph.prior, -1e4, 1e4).astype(np.float32),
        graph.flips,
        np.zeros(blocks * (errors + graph.edges), dtype=np.float32),
        np.int32(iterations),
        np.float32(scaling),
        np.float32(memory),
    ]


class Persistent:
    """The kernel, running from construction to close(); a context manager. Settings are as `gpu-bp` has them.

    `blocks` is how many share the patches; 0: as many as patches, but at most half of the multiprocessors. Raises
    MissingPackage or RuntimeError where there is no CuPy or no GPU.
    """

    def __init__(
        self,
        dem: stim.DetectorErrorModel,
        patches: int,
        *,
        iterations: int = 30,
        scaling: float = 0.0,
        memory: float = 0.125,
        blocks: int = 0,
        threads: int = 128,
    ) -> None:
        cupy = cupy_with_gpu("the persistent kernel")
        if platform.machine() != "x86_64":
            raise RuntimeError("the persistent kernel needs an x86-64 host: its mailbox relies on the order of stores")
        graph, runtime = graph_of(mechanisms_of(dem)), cupy.cuda.runtime
        if graph.checks > MOST_CHECKS:
            raise ValueError(f"the persistent kernel has room for {MOST_CHECKS} detectors, not for {graph.checks}")
        most = max(1, cupy.cuda.Device().attributes["MultiProcessorCount"] // 2)
        blocks = min(blocks or patches, patches, most)
        size = Mailbox.words(patches, graph.checks)
        self._pinned = cupy.cuda.PinnedMemory(4 * size, runtime.hostAllocMapped | runtime.hostAllocPortable)
        shared = np.frombuffer(cupy.cuda.PinnedMemoryPointer(self._pinned, 0), dtype=np.uint32, count=size)
        shared[:] = 0
        self.box = Mailbox(shared, patches, graph.checks)
        given = arguments(graph, self.box, blocks, iterations, scaling, memory)
        self._held = [cupy.asarray(one) if isinstance(one, np.ndarray) else one for one in given]
        start = int(self._pinned.ptr)  # unified addressing: the device sees mapped memory at the host's address
        self._stream = cupy.cuda.Stream(non_blocking=True)
        kernel = cupy.RawKernel(kernel_source(), "serve", options=("--std=c++14",))
        cupy.cuda.Device().synchronize()  # the last time: arrays and kernel are there
        addresses = [np.uintp(start + 4 * LINE), np.uintp(start)]
        kernel((blocks,), (threads,), (*addresses, *self._held), stream=self._stream)

    def decode(self, patch: int, syndrome: NDArray[np.bool_], timeout_s: float = 1.0) -> Answer:
        """Ask and wait. Raises TimeoutError."""
        self.box.ask(patch, syndrome)
        until = time.monotonic() + timeout_s
        while (found := self.box.answer(patch)) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"the persistent kernel did not answer patch {patch} within {timeout_s} s: close it")
        return found

    def close(self) -> None:
        """Let the kernel leave, and wait for it."""
        self.box.stop()
        self._stream.synchronize()

    def __enter__(self) -> Persistent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

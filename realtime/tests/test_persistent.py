"""The persistent kernel without a GPU: its source runs as C++ by threads of the host, over the same mailbox.

That shows its arithmetic, barriers and slots, and nothing of how a GPU runs it: test_gpu_device.py does, where one is.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quarterdeck_realtime.bicycle import bicycle_circuit
from quarterdeck_realtime.decoders import MissingPackage, decoder
from quarterdeck_realtime.decoders.matrices import mechanisms_of
from quarterdeck_realtime.gpu import persistent
from quarterdeck_realtime.gpu.arrays import array_module
from quarterdeck_realtime.gpu.graph import graph_of
from quarterdeck_realtime.gpu.min_sum import MinSum
from quarterdeck_realtime.gpu.persistent import LINE, Answer, Mailbox, Persistent, arguments, kernel_source

DEM = bicycle_circuit(6, rounds=2, p=0.02).detector_error_model()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("persistent")
    source = folder / "persistent.cpp"
    source.write_text(f'#include "cuda_on_cpu.h"\n{kernel_source()}')
    flags = os.environ.get("QDECK_EMULATION_FLAGS", "").split()
    includes = Path(__file__).parent / "cpp"
    command = [os.environ.get("CXX", "c++"), "-std=c++20", "-O1", "-ffp-contract=off", "-Wall", "-Werror", "-shared"]
    command += ["-fPIC", "-pthread", f"-I{includes}", *flags, str(source), "-o", str(folder / "persistent.so")]
    subprocess.run(command, check=True, timeout=120)
    return ctypes.CDLL(str(folder / "persistent.so"))


def _passed(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        return ctypes.c_void_p(argument.ctypes.data)
    return ctypes.c_float(argument) if isinstance(argument, np.floating) else ctypes.c_int(argument)


@pytest.mark.parametrize(("threads", "scaling", "memory"), [(1, 0.625, 0.0), (4, 0.0, 0.0), (3, 1.0, 0.125)])
def test_answers_are_those_of_min_sum(library: ctypes.CDLL, threads: int, scaling: float, memory: float) -> None:
    graph, patches, turns = graph_of(mechanisms_of(DEM)), 5, 12
    events, _, _ = DEM.compile_sampler(seed=3).sample(40)
    expected = MinSum(np, graph, iterations=turns, scaling=scaling, memory=memory).run(events.T)
    memory_words = np.zeros(Mailbox.words(patches, graph.checks), dtype=np.uint32)
    box = Mailbox(memory_words, patches, graph.checks)
    held = arguments(graph, box, 1, turns, scaling, memory)
    start = memory_words.ctypes.data
    given = [ctypes.c_void_p(start + 4 * LINE), ctypes.c_void_p(start), *map(_passed, held)]
    library.begin_block(threads)

    def serve(index: int) -> None:
        library.be_thread(index)
        library.serve(*given)

    block = [threading.Thread(target=serve, args=(index,)) for index in range(threads)]
    for thread in block:
        thread.start()
    try:
        answers: list[Answer] = []
        for first in range(0, len(events), patches):
            for patch in range(patches):
                box.ask(patch, events[first + patch])
            for patch in range(patches):
                answers.append(_awaited(box, patch))
    finally:
        box.stop()
        for thread in block:
            thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in block)
    assert [answer.iterations > 0 for answer in answers] == expected.converged.tolist()
    for shot in np.flatnonzero(expected.converged):
        flips = int(np.bitwise_xor.reduce(graph.flips[expected.errors[:, shot]], initial=np.uint64(0)))
        assert answers[shot] == Answer(flips, int(expected.iterations[shot]))
    assert {answer.flips for answer in answers if not answer.iterations} <= {0}
    assert expected.converged.sum() > 20 and len({answer.flips for answer in answers}) > 3


def _awaited(box: Mailbox, patch: int) -> Answer:
    until = time.monotonic() + 60
    while (found := box.answer(patch)) is None:
        assert time.monotonic() < until, f"patch {patch} has no answer"
        time.sleep(0)
    return found


def test_a_mailbox_has_one_question_a_patch() -> None:
    assert Mailbox.words(2, 480) == LINE + 2 * (LINE + LINE)
    assert Mailbox.words(1, 481) == LINE + (2 * LINE + LINE)
    box = Mailbox(np.zeros(Mailbox.words(2, 40), dtype=np.uint32), 2, 40)
    syndrome = np.zeros(40, dtype=np.bool_)
    syndrome[[0, 31, 32, 39]] = True
    box.ask(1, syndrome)
    slot = box.memory[LINE + 2 * LINE :]
    assert slot[:3].tolist() == [1, 1 | 1 << 31, 1 | 1 << 7]
    assert not box.memory[: 3 * LINE].any()
    with pytest.raises(RuntimeError, match="patch 1 has not been answered yet"):
        box.ask(1, syndrome)
    assert box.answer(1) is None
    slot[LINE + 1 : LINE + 4] = [7, 5, 1]
    slot[LINE] = 1
    assert box.answer(1) == Answer(5 | 1 << 32, 7)
    slot[[0, LINE]] = 0xFFFFFFFF  # counts begin anew
    box.ask(1, ~syndrome)
    assert slot[0] == 0 and box.answer(1) is None
    with pytest.raises(ValueError, match="40 detectors"):
        box.ask(0, syndrome[1:])


def test_without_cupy_they_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MissingPackage, match="the persistent kernel needs an NVIDIA GPU and CuPy: pip install cupy-cu"):
        Persistent(DEM, patches=1)
    with pytest.raises(MissingPackage, match=r"a decoder with device 'gpu' needs .* pip install cupy-cuda12x"):
        decoder("gpu-bp", DEM, device="gpu")
    assert array_module("auto") is np


def test_with_cupy_and_no_gpu_they_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class CUDARuntimeError(RuntimeError):
        pass

    def fails() -> int:
        raise CUDARuntimeError("cudaErrorInsufficientDriver")

    runtime = types.SimpleNamespace(getDeviceCount=fails, CUDARuntimeError=CUDARuntimeError)
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime)))
    with pytest.raises(RuntimeError, match=r"CuPy finds none here \(cudaErrorInsufficientDriver\); check nvidia-smi"):
        Persistent(DEM, patches=1)
    assert array_module("auto") is np
    runtime.getDeviceCount = lambda: 0
    with pytest.raises(RuntimeError, match="CuPy finds none here; check nvidia-smi"):
        array_module("gpu")


def test_what_was_never_run_says_so() -> None:
    page = (Path(__file__).parents[2] / "docs" / "realtime.md").read_text(encoding="utf-8")
    assert "nothing here ever ran on one" in page
    assert "NEVER RUN" in (persistent.__doc__ or "") and "NEVER RUN ON A GPU" in kernel_source()

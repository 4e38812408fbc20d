"""Pulser programs on a daemon's emulated QPU, with only the backend line changed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pulser
import pytest
from pulser.backend.remote import BatchStatus, JobStatus, RemoteResults, RemoteResultsError
from pulser_simulation import QutipBackendV2, QutipConfig
from scipy.stats import chi2_contingency

from quarterdeck.client import Client
from quarterdeck.errors import BadProgram, Invalid, NotFound
from quarterdeck.frontends.pulser import QuarterdeckConnection
from tests.e2e.conftest import Daemon

DEVICE = "fresnel-emulator"


@pytest.fixture
def connection(client: Client) -> QuarterdeckConnection:
    made: QuarterdeckConnection = client.pulser()
    return made


def sweep(amplitude: Any = 6.0) -> pulser.Sequence[Any]:
    """A sweep over the transition of four atoms in a row, as Pulser's tutorials build it."""
    layout = pulser.AnalogDevice.pre_calibrated_layouts[0]
    register = layout.define_register(*_row(layout), qubit_ids=["a", "b", "c", "d"])
    sequence = pulser.Sequence(register, pulser.AnalogDevice)
    sequence.declare_channel("rydberg", "rydberg_global")
    if amplitude is None:
        amplitude = sequence.declare_variable("omega", dtype=float)
    pulse = pulser.Pulse(
        pulser.ConstantWaveform(1200, amplitude), pulser.RampWaveform(1200, -8.0, 8.0), phase=0.0
    )  # fmt: skip
    sequence.add(pulse, "rydberg")
    return sequence


def _row(layout: Any) -> list[int]:
    """Four neighbouring traps in a line."""
    traps = np.asarray(layout.coords)
    row = [index for index, (x, y) in enumerate(traps) if abs(y) < 1e-6]
    return sorted(row, key=lambda index: traps[index][0])[2:6]


def emulate(sequence: pulser.Sequence[Any], shots: int) -> Counter[str]:
    """The same with Pulser's own emulator."""
    config = QutipConfig(
        observables=[pulser.backend.BitStrings(num_shots=shots)], default_evaluation_times=(1.0,)
    )  # fmt: skip
    results = QutipBackendV2(sequence, config=config).run()
    return Counter(results.final_bitstrings)


def same(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """p of a chi-square test that both are samples of one distribution; rare bitstrings are taken together."""
    rows: list[list[int]] = [[], []]
    rare = [0, 0]
    for bits in {*one, *other}:
        pair = one.get(bits, 0), other.get(bits, 0)
        if sum(pair) < 20:
            rare = [rare[0] + pair[0], rare[1] + pair[1]]
        else:
            rows[0].append(pair[0])
            rows[1].append(pair[1])
    if sum(rare) >= 20:
        rows[0].append(rare[0])
        rows[1].append(rare[1])
    return float(chi2_contingency(rows).pvalue)


def test_same_distribution_as_pulsers_own_emulator(connection: QuarterdeckConnection) -> None:
    backend = pulser.backend.QPUBackend(sweep(), connection=connection)
    results = backend.run(job_params=[{"runs": 2000}], wait=True)
    ours = results[0].final_bitstrings
    assert sum(ours.values()) == 2000 and results[0].total_duration == 1200
    assert results[0].atom_order == ("a", "b", "c", "d")
    assert same(ours, emulate(sweep(), 2000)) > 1e-4
    assert same(ours, emulate(sweep(3.0), 2000)) < 1e-10, "the test itself must see a difference"


def test_a_parametrised_batch_keeps_its_order(connection: QuarterdeckConnection, client: Client) -> None:
    backend = pulser.backend.QPUBackend(sweep(None), connection=connection)
    amplitudes = [6.0, 3.0, np.float64(0.5)]
    results = backend.run([{"runs": 1000 + i, "variables": {"omega": a}} for i, a in enumerate(amplitudes)], wait=True)
    assert results.get_batch_status() is BatchStatus.DONE
    assert [sum(result.final_bitstrings.values()) for result in results.results] == [1000, 1001, 1002]
    for amplitude, result in zip(amplitudes, results.results, strict=True):
        assert same(result.final_bitstrings, emulate(sweep(float(amplitude)), 1000)) > 1e-4
    programs = {client.task(id).info.program for id in results.job_ids}
    assert len(programs) == 1, "one sequence, one program"


def test_default_number_of_shots(connection: QuarterdeckConnection) -> None:
    config = pulser.backend.BackendConfig(default_num_shots=25)
    results = pulser.backend.QPUBackend(sweep(), connection=connection, config=config).run(wait=True)
    assert sum(results[0].final_bitstrings.values()) == 25


def test_an_open_batch_takes_jobs_until_it_is_closed(connection: QuarterdeckConnection) -> None:
    backend = pulser.backend.QPUBackend(sweep(None), connection=connection)
    with backend.open_batch():
        first = backend.run([{"runs": 10, "variables": {"omega": 2.0}}], wait=True)
        best = max(first[0].final_bitstrings.values()) / 10
        second = backend.run([{"runs": 20, "variables": {"omega": best}}, {"runs": 30, "variables": {"omega": 3.0}}])
        batch = second.batch_id
        assert first.batch_id == batch and len(first.job_ids) == 1 and len(second.job_ids) == 2
    assert connection.wait(batch, 60) is BatchStatus.DONE
    everything = RemoteResults(batch, connection)
    assert everything.job_ids == [*first.job_ids, *second.job_ids]
    assert [sum(result.final_bitstrings.values()) for result in everything.results] == [10, 20, 30]
    assert [sum(result.final_bitstrings.values()) for result in second.results] == [20, 30]
    with pytest.raises(RuntimeError, match="closed"):
        connection.submit(sweep(), batch_id=batch, job_params=[{"runs": 1}])


def test_another_process_finds_the_batch(connection: QuarterdeckConnection, daemon: Daemon) -> None:
    backend = pulser.backend.QPUBackend(sweep(None), connection=connection)
    batch = backend.run([{"runs": n, "variables": {"omega": 2.0}} for n in (11, 12)], wait=True)
    code = (
        "import sys, quarterdeck\n"
        "from pulser.backend.remote import RemoteResults\n"
        "results = RemoteResults(sys.argv[1], quarterdeck.connect().pulser())\n"
        "print(results.get_batch_status().name, [sum(r.final_bitstrings.values()) for r in results.results],"
        " results.job_ids)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, batch.batch_id], env=daemon.environ, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == f"DONE [11, 12] {batch.job_ids}", done.stderr
    with pytest.raises(NotFound):
        RemoteResults("0" * 16, connection).get_batch_status()


@pytest.fixture
def stopped(client: Client) -> Iterator[None]:
    """While nothing starts on the device."""
    client.set_device(DEVICE, "maintenance", "a test")
    yield
    client.set_device(DEVICE, "online")


def test_cancel_and_queue_position(connection: QuarterdeckConnection, stopped: None) -> None:
    results = pulser.backend.QPUBackend(sweep(), connection=connection).run([{"runs": 10}, {"runs": 10}])
    assert results.get_batch_status() is BatchStatus.PENDING
    assert connection.queue_position(results.batch_id) == dict(zip(results.job_ids, (0, 1), strict=True))
    with pytest.raises(RemoteResultsError):
        results.results  # noqa: B018
    connection.cancel(results.batch_id, results.job_ids[:1])
    progress = connection._query_job_progress(results.batch_id)
    assert [status for status, _ in progress.values()] == [JobStatus.CANCELED, JobStatus.PENDING]
    connection.cancel(results.batch_id)
    assert results.get_batch_status() is BatchStatus.CANCELED
    assert results.get_available_results() == {}


def test_what_does_not_fit_is_refused_with_the_limit(connection: QuarterdeckConnection) -> None:
    with pytest.raises(ValueError, match="10000"):  # Pulser's own check, with the device's specification
        pulser.backend.QPUBackend(sweep(), connection=connection).run([{"runs": 10_001}])
    with pytest.raises(BadProgram, match="amplitude"):  # the parameter's value is known only to the daemon
        backend = pulser.backend.QPUBackend(sweep(None), connection=connection)
        backend.run([{"runs": 10, "variables": {"omega": 1000.0}}])
    with pytest.raises(Invalid, match="backend_configuration"):
        connection.submit(sweep(), job_params=[{"runs": 1}], backend_configuration="{}")


def test_devices(client: Client) -> None:
    assert DEVICE in client.pulser().fetch_available_devices()
    chosen = client.pulser(DEVICE)
    device = chosen.fetch_available_devices()[DEVICE]
    assert device.name == DEVICE and device.max_atom_num == 80
    assert chosen.update_sequence_device(sweep()).device == device

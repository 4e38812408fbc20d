"""The demo's parts, with Pulser's emulator in place of a daemon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from pulser import AnalogDevice
from pulser import Sequence as PulserSequence
from pulser_simulation import QutipBackendV2

from quarterdeck.demo import main
from quarterdeck.demo.ansatz import Ansatz, build
from quarterdeck.demo.graph import UnitDiskGraph, draw
from quarterdeck.demo.picture import draw as draw_picture
from quarterdeck.demo.private import QDECK, PrivateDaemon
from quarterdeck.demo.solver import Counts, Search, best_set, cost, share_of_optima, solve
from quarterdeck.errors import Conflict, DaemonUnreachable, Invalid

SPEC = AnalogDevice.to_abstract_repr()
PATH = UnitDiskGraph(((0, 0), (1, 0), (2, 0), (3, 0)), 1.1)


# -- the graph --------------------------------------------------------------------------------------------------------


def test_a_path_of_four_has_three_largest_sets() -> None:
    assert PATH.edges == ((0, 1), (1, 2), (2, 3))
    assert PATH.connected()
    assert PATH.violations("1101") == 1
    assert PATH.optimum == 2
    assert set(PATH.optima) == {"1010", "0101", "1001"}
    assert [len(sets) for sets in PATH.independent_sets] == [1, 4, 3]
    assert PATH.hardness == pytest.approx(4 / 6)


@pytest.mark.parametrize("seed", range(20))
def test_the_exact_optimum_is_that_of_networkx(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 4, (9, 2))
    graph = UnitDiskGraph(tuple((float(x), float(y)) for x, y in points), 1.5)
    peer = nx.Graph([(a, b) for a, b in combinations(range(9), 2) if np.hypot(*(points[a] - points[b])) <= 1.5])
    peer.add_nodes_from(range(9))
    assert {tuple(sorted(edge)) for edge in peer.edges} == set(graph.edges)
    largest, size = nx.max_weight_clique(nx.complement(peer), weight=None)
    assert graph.optimum == size
    assert "".join("1" if i in largest else "0" for i in range(9)) in graph.optima
    assert graph.connected() == nx.is_connected(peer)


def test_drawing_is_seeded_and_refuses_what_it_cannot_do() -> None:
    sites = [(float(x), float(y)) for x in range(-3, 4) for y in range(-3, 4)]
    assert draw(sites, 1.1, 9, seed=5) == draw(sites, 1.1, 9, seed=5)
    assert draw(sites, 1.1, 9, seed=5) != draw(sites, 1.1, 9, seed=6)
    with pytest.raises(Invalid, match="between"):
        draw(sites, 1.1, 40, seed=5)
    with pytest.raises(Invalid, match="sites"):
        draw(sites[:4], 1.1, 9, seed=5)
    with pytest.raises(Invalid, match="connected"):
        draw(sites, 0.5, 9, seed=5)


# -- the ansatz -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ansatz() -> Ansatz:
    return build(SPEC, atoms=7, seed=1)


@pytest.mark.parametrize("atoms", [3, 7, 11, 14])
def test_every_setting_of_the_knobs_is_legal_on_the_device(atoms: int) -> None:
    made = build(SPEC, atoms=atoms, seed=2)
    sequence = PulserSequence.from_abstract_repr(made.payload)
    assert len(sequence.register.qubit_ids) == atoms
    random = np.random.default_rng(0)
    corners = np.array(np.meshgrid(*[(knob.lower, knob.upper) for knob in made.knobs])).reshape(len(made.knobs), -1).T
    inside = [[random.uniform(knob.lower, knob.upper) for knob in made.knobs] for _ in range(20)]
    for values in [*corners, *inside, [knob.start for knob in made.knobs]]:
        built = sequence.build(**made.parameters(values))  # raises if the device does not allow it
        assert built.get_duration() == made.duration_ns
    far = made.parameters([1e9] * len(made.knobs))
    assert far == made.parameters([knob.upper for knob in made.knobs])


def test_the_sequence_survives_serialisation_and_keeps_the_order_of_atoms(ansatz: Ansatz) -> None:
    sequence = PulserSequence.from_abstract_repr(ansatz.payload)
    assert {name: variable.size for name, variable in sequence.declared_variables.items()} == {
        "amplitude": 4,
        "detuning": 4,
    }
    places = [place.as_array() for place in sequence.register.qubits.values()]
    np.testing.assert_allclose(places, ansatz.graph.points_um, atol=1e-6)
    again = PulserSequence.from_abstract_repr(sequence.to_abstract_repr())
    assert again.to_abstract_repr() == sequence.to_abstract_repr()


def test_edges_are_blockaded_and_others_are_not() -> None:
    made = build(SPEC, atoms=11, seed=1)
    points = np.array(made.graph.points_um)
    for a, b in combinations(range(11), 2):
        energy = AnalogDevice.interaction_coeff / np.hypot(*(points[a] - points[b])) ** 6
        assert energy > 30 if (a, b) in made.graph.edges else energy < 2


def test_devices_that_cannot_are_told_so() -> None:
    for spec in ("", "{}", "qubits: 5"):
        with pytest.raises(Invalid, match="describe"):
            build(spec, atoms=7, seed=1)
    without = json.loads(SPEC) | {"channels": []}
    with pytest.raises(Invalid, match="global Rydberg"):
        build(json.dumps(without), atoms=7, seed=1)


def test_calibrated_layouts_are_used_where_nothing_else_is_allowed() -> None:
    from dataclasses import replace

    from pulser.register.special_layouts import TriangularLatticeLayout

    layout = TriangularLatticeLayout(61, 6.0)
    device = replace(AnalogDevice, pre_calibrated_layouts=(layout,), accepts_new_layouts=False)
    made = build(device.to_abstract_repr(), atoms=8, seed=1)
    assert PulserSequence.from_abstract_repr(made.payload).register.layout == layout


# -- the classical part -----------------------------------------------------------------------------------------------


def test_cost_and_best_set() -> None:
    counts = {"1010": 50, "1110": 25, "0000": 25}
    assert cost(PATH, counts) == pytest.approx((50 * -2 + 25 * (2 * 2 - 3)) / 100)
    assert share_of_optima(PATH, counts) == 0.5
    assert best_set(PATH, counts) == "1010"
    assert best_set(PATH, {"1110": 5, "0000": 5}) == ""
    assert best_set(PATH, {"1010": 5, "0101": 6}) == "0101"


def emulated(ansatz: Ansatz, shots: int) -> Any:
    """The seam to the QPU, filled by Pulser's own emulator: exact probabilities, seeded samples."""
    sequence = PulserSequence.from_abstract_repr(ansatz.payload)
    random = np.random.default_rng(3)

    def run(number: int, settings: Sequence[tuple[float, ...]]) -> list[Counts]:
        histograms = []
        for values in settings:
            state = QutipBackendV2(sequence.build(**ansatz.parameters(values))).run().final_state
            chances = state.bitstring_probabilities(cutoff=1e-12)
            weights = np.fromiter(chances.values(), float)
            drawn = random.multinomial(shots, weights / weights.sum())
            histograms.append({bits: int(n) for bits, n in zip(chances, drawn, strict=True) if n})
        return histograms

    return run


@pytest.fixture(scope="module")
def solved(ansatz: Ansatz) -> tuple[Search, Counts, Counts]:
    run = emulated(ansatz, shots=200)
    search = solve(ansatz.graph, ansatz.knobs, run, rounds=10, pulses=6, seed=1)
    before, after = emulated(ansatz, shots=2000)(0, [search.trials[0].values, search.best.values])
    return search, before, after


def test_tuning_improves_the_pulse_and_finds_the_optimum(ansatz: Ansatz, solved: tuple[Search, Counts, Counts]) -> None:
    search, before, after = solved
    assert (search.rounds, len(search.trials)) == (10, 60)
    assert search.trials[0].values == pytest.approx([knob.start for knob in ansatz.knobs])
    assert search.best.cost < search.trials[0].cost
    assert cost(ansatz.graph, after) < cost(ansatz.graph, before) - 0.2
    assert share_of_optima(ansatz.graph, after) > 2 * share_of_optima(ansatz.graph, before)
    assert search.best_set in ansatz.graph.optima


def test_the_same_seed_asks_for_the_same_pulses(ansatz: Ansatz) -> None:
    def run(number: int, settings: Sequence[tuple[float, ...]]) -> list[Counts]:
        return [{"1" * 7: 1 + round(1e6 * abs(values[0])), "0" * 7: 10**6} for values in settings]

    first, second = (solve(ansatz.graph, ansatz.knobs, run, rounds=4, pulses=5, seed=9).trials for _ in range(2))
    assert first == second
    assert [trial.round for trial in first] == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5
    other = solve(ansatz.graph, ansatz.knobs, run, rounds=4, pulses=5, seed=10).trials
    assert other[0] == first[0]
    assert other[1:] != first[1:]


def test_what_the_qpu_raises_comes_through(ansatz: Ansatz) -> None:
    def run(number: int, settings: Sequence[tuple[float, ...]]) -> list[Counts]:
        raise Conflict("task t1 failed: no")

    with pytest.raises(Conflict, match="task t1"):
        solve(ansatz.graph, ansatz.knobs, run, rounds=4, pulses=5, seed=9)


# -- the picture ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_picture_is_written_and_says_emulated(
    suffix: str, begins: bytes, tmp_path: Path, ansatz: Ansatz, solved: tuple[Search, Counts, Counts]
) -> None:
    path = tmp_path / f"picture{suffix}"
    draw_picture(path, ansatz, *solved, device="fresnel-emulator", emulated=True)
    content = path.read_bytes()
    assert content.startswith(begins)
    if suffix == ".svg":
        assert b"EMULATED" in content
        assert solved[0].best_set.encode() in content
        draw_picture(path, ansatz, *solved, device="fresnel", emulated=False)
        assert b"emulated" not in path.read_bytes().lower()


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--rounds", "1"],
        ["--atoms", "40"],
        ["--shots", "many"],
        ["--out", "picture.gif"],
        ["--out", "/nowhere/picture.png"],
        ["--nonsense"],
    ],
)
def test_a_wrong_command_line_ends_before_anything_starts(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: qdeck demo" in capsys.readouterr().err


def test_no_daemon_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "http://127.0.0.1:9", "--out", str(tmp_path / "p.png")]) == 1
    assert "qdeck demo: the daemon at" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("quarterdeck.demo.script.MODULES", ("numpy", "no_such_module"))
    assert main([]) == 1
    assert "needs no_such_module: pip install" in capsys.readouterr().err


def test_a_private_daemon_that_dies_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.demo.private.QDECK", "raise SystemExit('no licence on board')")
    daemon = PrivateDaemon("fresnel-emulator", time_scale=10)
    with pytest.raises(DaemonUnreachable, match="no licence on board"), daemon:
        pytest.fail("it is not running")
    assert daemon.directory is not None
    assert not daemon.directory.exists()


def test_a_private_daemon_serves_and_is_gone_afterwards() -> None:
    from quarterdeck.client import connect

    assert "quarterdeck.cli" in QDECK
    daemon = PrivateDaemon("fresnel-emulator", time_scale=50)
    with daemon as url, connect(url) as client:
        told = client.device("fresnel-emulator")
        assert told.emulated
        assert told.modality == "neutral-atom"
    assert daemon.process is not None
    assert daemon.process.returncode == 0
    assert daemon.directory is not None
    assert not daemon.directory.exists()

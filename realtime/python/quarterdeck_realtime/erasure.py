"""Circuits in which errors are losses that are noticed, and what a loss erases in the matching graph."""

from __future__ import annotations

from collections import defaultdict

import msgspec
import stim

from quarterdeck_realtime.model import Model, model_of

__all__ = ["ErasureModel", "erasure_model", "with_losses"]

_NEVER = 20.0  # weight of an edge that only losses flip, in a shot without them: a probability of 2e-9


class ErasureModel(msgspec.Struct, frozen=True):
    """The matching graph of the errors that are not noticed, and for each place of loss the edges that it erases.

    `blind` is the graph for a decoder that is not told of losses. Both have the detectors 0 to `detectors - 1` of the
    circuit; place k is the circuit's detector `detectors + k`.
    """

    aware: Model
    blind: Model
    sites: list[list[int]]
    detectors: int


def with_losses(circuit: stim.Circuit, fraction: float) -> stim.Circuit:
    """A circuit in which `fraction` of all depolarising errors are losses, noticed at once.

    DEPOLARIZE1(p) becomes DEPOLARIZE1(p (1 - fraction)) and HERALDED_ERASE(p fraction); DEPOLARIZE2(p) likewise, with a
    loss of p fraction / 2 of either qubit. A lost atom is replaced by one in a random state. Detectors of
    the losses follow after the circuit's own, by place. Real atoms are found missing later, when they are measured.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction of losses is 0 to 1, not {fraction}")
    lossy = stim.Circuit()
    place: list[int] = []  # of each measurement of the circuit in the new record
    heralds: list[int] = []
    count = 0
    for instruction in circuit.flattened():
        name, targets, arguments = instruction.name, instruction.targets_copy(), instruction.gate_args_copy()
        if name in ("DEPOLARIZE1", "DEPOLARIZE2") and fraction > 0:
            (p,) = arguments
            lossy.append(name, targets, p * (1 - fraction))
            qubits = [target.value for target in targets]
            lossy.append("HERALDED_ERASE", qubits, p * fraction / (1 if name == "DEPOLARIZE1" else 2))
            heralds += range(count, count + len(qubits))
            count += len(qubits)
            continue
        if any(target.is_measurement_record_target for target in targets):
            targets = [
                stim.target_rec(place[len(place) + target.value] - count)
                if target.is_measurement_record_target
                else target
                for target in targets
            ]
        lossy.append(name, targets, arguments)
        place += range(count, count + instruction.num_measurements)
        count += instruction.num_measurements
    for herald in heralds:
        lossy.append("DETECTOR", [stim.target_rec(herald - count)], [])
    return lossy


def _without_heralds(circuit: stim.Circuit, detectors: int, keep: bool) -> stim.Circuit:
    """The circuit with losses as depolarising errors (`keep`), or without them; its first `detectors` detectors."""
    bare = stim.Circuit()
    place: list[int | None] = []
    count = seen = 0
    for instruction in circuit.flattened():
        name, targets, arguments = instruction.name, instruction.targets_copy(), instruction.gate_args_copy()
        if name == "HERALDED_ERASE":
            if keep:
                bare.append("DEPOLARIZE1", targets, 0.75 * arguments[0])
            place += [None] * len(targets)
            continue
        if name == "DETECTOR":
            seen += 1
            if seen > detectors:
                continue
        if any(target.is_measurement_record_target for target in targets):
            moved = []
            for target in targets:
                at = place[len(place) + target.value] if target.is_measurement_record_target else None
                if target.is_measurement_record_target and at is None:
                    raise ValueError(
                        f"'{instruction}' looks at a loss: losses have detectors of their own, after all others"
                    )
                moved.append(target if at is None else stim.target_rec(at - count))
            targets = moved
        bare.append(name, targets, arguments)
        place += range(count, count + instruction.num_measurements)
        count += instruction.num_measurements
    return bare


def erasure_model(circuit: stim.Circuit, detectors: int) -> ErasureModel:
    """The matching graph and the places of loss of a circuit whose detectors from `detectors` on are those of losses.

    Raises ValueError for a loss that flips more than matching can hold.
    """
    blind, plain = (
        model_of(_without_heralds(circuit, detectors, keep).detector_error_model(decompose_errors=True))
        for keep in (True, False)
    )
    weights = {(u, v, mask): weight for u, v, weight, mask in plain.edges}
    aware = Model()
    aware.detectors, aware.observables, aware.layer = blind.detectors, blind.observables, blind.layer
    edge_of: dict[tuple[int, ...], int] = {}
    masks: list[int] = []
    component = list(range(blind.detectors))

    def root(v: int) -> int:
        while component[v] != v:
            component[v] = v = component[component[v]]
        return v

    for number, (u, v, _, mask) in enumerate(blind.edges):
        aware.add(u, v, weights.get((u, v, mask), _NEVER), mask)
        edge_of[(u,) if v == -1 else (min(u, v), max(u, v))] = number
        masks.append(mask)
        if v != -1:
            component[root(u)] = root(v)
    sites: list[set[int]] = [set() for _ in range(circuit.num_detectors - detectors)]
    for error in circuit.detector_error_model(approximate_disjoint_errors=True).flattened():
        if error.type != "error":
            continue
        targets = error.targets_copy()
        fired = [target.val for target in targets if target.is_relative_detector_id()]
        places = [v - detectors for v in fired if v >= detectors]
        if not places:
            continue
        parts: dict[int, list[int]] = defaultdict(list)
        for v in fired:
            if v < detectors:
                parts[root(v)].append(v)
        flips = 0
        for target in targets:
            if target.is_logical_observable_id():
                flips ^= 1 << target.val
        edges = []
        for part in parts.values():
            number = edge_of.get(tuple(sorted(part)), -1)
            if number < 0:
                raise ValueError(f"the loss '{error}' flips the detectors {sorted(part)}: no edge of the graph does")
            edges.append(number)
            flips ^= masks[number]
        if flips:
            raise ValueError(f"the loss '{error}' flips other observables than the edges {edges} that explain it")
        for at in places:
            sites[at].update(edges)
    return ErasureModel(aware=aware, blind=blind, sites=[sorted(site) for site in sites], detectors=detectors)

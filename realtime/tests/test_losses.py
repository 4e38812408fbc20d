"""Losses over the link: frames that tell of lost atoms, and answers that take account of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import stim

from quarterdeck_realtime._hot import Detectors, Dispatcher, Erasure, Frames, VolumePatch
from quarterdeck_realtime.erasure import erasure_model, with_losses

Surface = Callable[..., stim.Circuit]
SHOTS = 400


def rows_of(circuit: stim.Circuit) -> list[list[int]]:
    rows: list[list[int]] = []
    come = 0
    for instruction in circuit.flattened():
        come += instruction.num_measurements
        if instruction.name == "DETECTOR":
            rows.append([come + target.value for target in instruction.targets_copy()])
    return rows


@pytest.mark.parametrize("outcomes", [False, True], ids=["heralds", "outcomes"])
def test_answers_are_those_of_the_decoder_that_knows_the_losses(surface: Surface, outcomes: bool) -> None:
    """Heralds among the measurements, or the same told by outcomes of 2: the answers are those of `decode_batch`."""
    circuit = surface(3, 8e-3)
    lossy = with_losses(circuit, 0.5)
    losses = erasure_model(lossy, circuit.num_detectors)
    rows = rows_of(lossy)
    measurements = lossy.compile_sampler(seed=8).sample(SHOTS)
    events, _ = lossy.compile_m2d_converter().convert(measurements=measurements, separate_observables=True)
    decoder = Erasure(losses.aware, losses.sites)
    lost = np.ascontiguousarray(events[:, losses.detectors :])
    masks, _, _ = decoder.decode_batch(np.ascontiguousarray(events[:, : losses.detectors]), lost)
    assert lost.any(axis=1).sum() > SHOTS // 4
    assert (masks != decoder.decode_batch(np.ascontiguousarray(events[:, : losses.detectors]), None)[0]).any()

    places: list[list[int]] = [[] for _ in range(lossy.num_measurements)]
    for place, edges in enumerate(losses.sites):
        [herald] = rows[losses.detectors + place]
        places[herald] = edges
    tables = {"lost": places} if outcomes else {"heralds": places}
    patch = VolumePatch(Detectors(lossy.num_measurements, rows[: losses.detectors]), 1, decoder, **tables)
    host = Dispatcher()
    host.add(0, patch)
    is_herald = np.array([bool(edges) for edges in places])
    for shot, row in enumerate(measurements):
        if outcomes:
            told = row.astype(np.uint8)
            told[is_herald & row] = 2
            frame = Frames.enqueue(0, shot, told.tobytes(), len(row), 1, 0, Frames.ASK_PUSH, 0, True)
        else:
            bits = np.packbits(row, bitorder="little").tobytes()
            frame = Frames.enqueue(0, shot, bits, len(row), 1, 0, Frames.ASK_PUSH | Frames.ASK_TELL)
        status, _, _, result, told_of, _ = Frames.parse_response(host.handle(frame))
        assert (status, result[0]) == (0, masks[shot])
        if told_of is not None:
            assert bool(told_of[1] & Frames.TELL_LOST) == (row & is_herald).any()
    assert patch.stats["erased"] == (measurements & is_herald).sum() > SHOTS // 4


def test_tables_of_losses_have_an_entry_for_each_measurement(surface: Surface) -> None:
    model = erasure_model(with_losses(surface(3, 8e-3), 0.5), 24)
    with pytest.raises(ValueError, match="each of 2 measurements, not for 3"):
        VolumePatch(Detectors(2, [[0, 1]]), 1, Erasure(model.aware, model.sites), lost=[[], [], []])

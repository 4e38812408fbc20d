"""All decoders by name, against each other on the same shots."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import stim

from quarterdeck_realtime.decoders import BatchDecoder, MissingPackage, decoder, names, plugins, registry
from quarterdeck_realtime.decoders.matrices import dem_of, mechanisms_of
from quarterdeck_realtime.decoders.own import OwnDecoder

Surface = Callable[..., stim.Circuit]

# Logical errors of each at most so many times those of exact matching; decoders that see correlations make fewer.
WORSE = {
    "matching": 1.02,
    "union-find": 1.3,
    "lookup": 1.02,
    "pymatching": 1.0,
    "relay-bp": 1.3,
    "bp-osd": 1.3,
    "bp-lsd": 1.3,
    "tesseract": 1.1,
}


@pytest.mark.parametrize("name", WORSE)
def test_all_decode_distance_three_about_as_well(surface: Surface, name: str) -> None:
    circuit, shots = surface(3, 8e-3), 6_000
    dem = circuit.detector_error_model(decompose_errors=True)
    events, truth = circuit.compile_detector_sampler(seed=8).sample(shots, separate_observables=True)
    matched = np.count_nonzero(decoder("pymatching", dem).decode_batch(events) != truth)
    one = decoder(name, dem)
    assert isinstance(one, BatchDecoder)
    assert (one.detectors, one.observables) == (24, 1)
    started = time.perf_counter()
    flips = one.decode_batch(events)
    taken_s = time.perf_counter() - started
    assert flips.shape == truth.shape and flips.dtype == np.bool_
    wrong = np.count_nonzero(flips != truth)
    print(f"{name}: {wrong} wrong, pymatching {matched}, of {shots}; {taken_s / shots * 1e6:.1f} us a shot")
    assert matched > 200 and wrong <= WORSE[name] * matched
    assert one.decode_batch(events[:0]).shape == (0, 1)
    with pytest.raises(ValueError, match="24 detectors"):
        one.decode_batch(events[:, 1:])


def test_several_observables(surface: Surface) -> None:
    """Two patches side by side in one model."""
    one = surface(3, 8e-3).detector_error_model(decompose_errors=True).flattened()
    dem = one.copy()
    for error in one:
        if error.type == "error":
            moved = [
                stim.target_relative_detector_id(target.val + 24)
                if target.is_relative_detector_id()
                else stim.target_logical_observable_id(target.val + 1)
                if target.is_logical_observable_id()
                else target
                for target in error.targets_copy()
            ]
            dem.append("error", error.args_copy(), moved)
    events, truth, _ = dem.compile_sampler(seed=9).sample(500)
    assert truth.shape == (500, 2)
    expected = decoder("pymatching", dem).decode_batch(events)
    assert expected.any(axis=0).all()
    for name in ("matching", "lookup", "union-find", "tesseract", "relay-bp", "bp-osd"):
        differ = np.count_nonzero(decoder(name, dem).decode_batch(events) != expected, axis=0)
        assert differ.max() <= {"matching": 2, "lookup": 2}.get(name, 30), name


def test_lookup_by_class_is_not_worse(surface: Surface) -> None:
    circuit = surface(3, 1.5e-2)
    dem = circuit.detector_error_model(decompose_errors=True)
    events, truth = circuit.compile_detector_sampler(seed=8).sample(60_000, separate_observables=True)
    by_error, by_class = (
        np.count_nonzero(decoder("lookup", dem, classes=classes).decode_batch(events) != truth)
        for classes in (False, True)
    )
    print(f"lookup: {by_error} wrong by the likeliest error, {by_class} by the likeliest class")
    assert by_class < by_error


def test_lookup_says_what_it_does_not_cover(surface: Surface) -> None:
    circuit = surface(3, 8e-3, 5)
    dem = circuit.detector_error_model(decompose_errors=True)
    events = circuit.compile_detector_sampler(seed=8).sample(100)
    with pytest.raises(ValueError, match="no basis of the model has at most 8 detectors"):
        decoder("lookup", dem, largest=8)
    partly = decoder("lookup", dem, largest=20)  # 24 detectors see what flips the observable, 16 the rest
    assert isinstance(partly, OwnDecoder)
    decoded = partly.decode(events)
    covered = np.array([partly.compiled.covers(v) for v in range(partly.detectors)])
    assert covered.sum() == 16
    assert (decoded.failed == events[:, ~covered].any(axis=1)).all()
    assert not decoded.observables[decoded.failed].any()


def test_mechanisms_and_back(surface: Surface) -> None:
    dem = surface(3, 8e-3).detector_error_model(decompose_errors=True)
    mechanisms = mechanisms_of(dem)
    again = mechanisms_of(dem_of(mechanisms))
    assert (again.flips, again.logicals) == (mechanisms.flips, mechanisms.logicals)
    assert np.allclose(again.probabilities, mechanisms.probabilities)
    assert mechanisms.checks().shape == (24, len(mechanisms.flips))
    twice = stim.DetectorErrorModel("error(0.1) D0 D1 ^ D1 L0\nerror(0.2) D0 L0\nerror(0.3) L0")
    assert mechanisms_of(twice).flips == [(0,)]
    assert mechanisms_of(twice).probabilities[0] == pytest.approx(0.1 * 0.8 + 0.2 * 0.9)


def test_errors_say_what_to_do(surface: Surface, monkeypatch: pytest.MonkeyPatch) -> None:
    dem = surface(3, 8e-3).detector_error_model(decompose_errors=True)
    with pytest.raises(ValueError, match="no decoder is called 'magic': there are matching, union-find"):
        decoder("magic", dem)
    with pytest.raises(
        ValueError, match="'matching': got an unexpected keyword argument 'beam'; its settings are direct"
    ):
        decoder("matching", dem, beam=3)
    with pytest.raises(ValueError, match=r"'union-find': .*; it has no settings"):
        decoder("union-find", dem, beam=3)
    with pytest.raises(ValueError, match="'windows': missing a required"):
        decoder("windows", dem)

    def absent(name: str) -> object:
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(plugins, "importlib", type("Absent", (), {"import_module": staticmethod(absent)}))
    with pytest.raises(MissingPackage, match=r"'tesseract' needs the package tesseract-decoder: pip install"):
        decoder("tesseract", dem)


def test_third_parties_add_decoders(surface: Surface, monkeypatch: pytest.MonkeyPatch) -> None:
    dem = surface(3, 8e-3).detector_error_model(decompose_errors=True)
    entries = [EntryPoint("theirs", "quarterdeck_realtime.decoders.own:union_find", registry.GROUP)]

    def installed(group: str, name: str | None = None) -> list[EntryPoint]:
        assert group == "quarterdeck.decoders"
        return [entry for entry in entries if name in (None, entry.name)]

    monkeypatch.setattr(registry, "entry_points", installed)
    assert names()[-1] == "theirs"
    assert decoder("theirs", dem).detectors == 24
    entries.append(EntryPoint("theirs", "elsewhere:thing", registry.GROUP))
    with pytest.raises(ValueError, match="several distributions add a decoder 'theirs'"):
        decoder("theirs", dem)


def test_windows_by_name(surface: Surface) -> None:
    circuit = surface(3, 5e-3, 30)
    dem = circuit.detector_error_model(decompose_errors=True)
    events, truth = circuit.compile_detector_sampler(seed=8).sample(3_000, separate_observables=True)
    wrong = [
        np.count_nonzero(one.decode_batch(events) != truth)
        for one in (decoder("pymatching", dem), decoder("windows", dem, window=6, commit=3))
    ]
    assert wrong[0] > 100 and abs(wrong[1] - wrong[0]) < 3 * np.sqrt(wrong[0])

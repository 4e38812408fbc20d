"""CUDA-Q QEC's decoder configurations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stim
import yaml

from quarterdeck_realtime.decoders import decoder
from quarterdeck_realtime.decoders.cudaq import ConfigError, read_cudaq
from quarterdeck_realtime.decoders.matrices import mechanisms_of

Surface = Callable[..., stim.Circuit]

IDENTITY = """\
decoders:
  - id: 0
    type: pymatching
    block_size: 3
    syndrome_size: 3
    H_sparse: [0, -1, 1, -1, 2, -1]
    O_sparse: [0, -1, 1, -1, 2, -1]
    D_sparse: [0, -1, 1, 4, -1, 2, -1]
    decoder_custom_args:
      error_rate_vec: [0.1, 1e-1, 0.1]
      merge_strategy: smallest_weight
"""


def read(path: Path, text: str) -> list[object]:
    file = path / "decoders.yaml"
    file.write_text(text)
    return list(read_cudaq(file))


def test_the_identity_of_the_server_s_own_example(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(IDENTITY)
    (one,) = read_cudaq(tmp_path / "c.yaml")
    assert (one.id, one.type, one.name, one.ignored) == (0, "pymatching", "matching", [])
    assert one.measurements == [(0,), (1, 4), (2,)]
    built = one.build()
    events = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 1]], dtype=np.bool_)
    assert (built.decode_batch(events) == events).all()


def matrices(dem: stim.DetectorErrorModel) -> dict[str, object]:
    """A configuration's matrices, as its exporter writes them."""
    mechanisms = mechanisms_of(dem)

    def rows(dense: np.ndarray) -> list[int]:
        return [int(entry) for row in dense for entry in [*np.flatnonzero(row), -1]]

    return {
        "block_size": len(mechanisms.flips),
        "syndrome_size": dem.num_detectors,
        "H_sparse": rows(mechanisms.checks()),
        "O_sparse": rows(mechanisms.logical_matrix()),
        "D_sparse": rows(np.eye(dem.num_detectors, dtype=int)),
        "error_rate_vec": [float(p) for p in mechanisms.probabilities],
    }


def graphlike(circuit: stim.Circuit) -> stim.DetectorErrorModel:
    """The model with each decomposed mechanism as several."""
    dem = stim.DetectorErrorModel()
    for error in circuit.detector_error_model(decompose_errors=True).flattened():
        if error.type != "error":
            continue
        part: list[stim.DemTarget] = []
        for target in [*error.targets_copy(), stim.target_separator()]:
            if not target.is_separator():
                part.append(target)
                continue
            dem.append("error", error.args_copy(), part)
            part = []
    return dem


@pytest.mark.parametrize(
    ("kind", "arguments", "name", "worse"),
    [
        ("pymatching", {"merge_strategy": "independent"}, "matching", 1.05),
        ("nv_fusion_decoder", {"num_threads": 4}, "matching", 1.05),
        ("multi_error_lut", {"lut_error_depth": 2}, "lookup", 1.05),
        ("nv-qldpc-decoder", {"max_iterations": 30, "osd_order": 2, "use_osd": True}, "bp-osd", 1.3),
        (
            "nv-qldpc-decoder",
            {
                "bp_method": 3,
                "max_iterations": 50,
                "gamma0": 0.1,
                "gamma_dist": [-0.24, 0.66],
                "use_sparsity": True,
                "srelay_config": {"pre_iter": 60, "num_sets": 30, "stopping_criterion": "NConv", "stop_nconv": 1},
            },
            "relay",
            1.3,
        ),
    ],
)
def test_types_decode_a_surface_code(
    tmp_path: Path, surface: Surface, kind: str, arguments: dict[str, object], name: str, worse: float
) -> None:
    circuit = surface(3, 8e-3)
    dem = graphlike(circuit)
    events, truth = circuit.compile_detector_sampler(seed=3).sample(2_000, separate_observables=True)
    entry = {"id": 7, "type": kind, **matrices(dem), "decoder_custom_args": arguments}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"decoders": [entry], "transport": {"provider": "udp"}}))
    (one,) = read_cudaq(tmp_path / "c.yaml")
    assert (one.id, one.name) == (7, name)
    assert ("use_sparsity" in one.ignored) == ("use_sparsity" in arguments)
    wrong = np.count_nonzero(one.build().decode_batch(events) != truth)
    matched = np.count_nonzero(decoder("pymatching", dem).decode_batch(events) != truth)
    assert matched > 50 and wrong <= worse * matched


def test_sliding_windows_and_dem_files(tmp_path: Path, surface: Surface) -> None:
    """A repetition code, whose rounds all have the same number of detectors."""
    circuit = stim.Circuit.generated(
        "repetition_code:memory", distance=5, rounds=40, before_round_data_depolarization=0.03,
        before_measure_flip_probability=0.02,
    )  # fmt: skip
    dem = circuit.detector_error_model(decompose_errors=True)
    entry = {"id": 0, "type": "sliding_window", **matrices(dem)}
    entry["decoder_custom_args"] = {
        "window_size": 10,
        "step_size": 5,
        "num_syndromes_per_round": 4,
        "inner_decoder_name": "pymatching",
    }
    dem.to_file(tmp_path / "whole.dem")
    whole = {"id": 1, "type": "pymatching", "stim_dem_path": "whole.dem", "D_sparse": entry["D_sparse"]}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"decoders": [entry, whole]}))
    windows, matching = read_cudaq(tmp_path / "c.yaml")
    assert (windows.name, matching.name) == ("windows", "matching")
    events, truth = circuit.compile_detector_sampler(seed=3).sample(4_000, separate_observables=True)
    wrong = [np.count_nonzero(one.build().decode_batch(events) != truth) for one in (windows, matching)]
    assert wrong[1] > 50 and abs(wrong[0] - wrong[1]) < 4 * np.sqrt(wrong[1])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("type: pymatching", "type: magic", r"c.yaml:3: decoders\[0\].type is 'magic', which has no counterpart"),
        ("    syndrome_size: 3\n", "", r"c.yaml:2: decoders\[0\] lacks syndrome_size"),
        ("    D_sparse: [0, -1, 1, 4, -1, 2, -1]\n", "", r"c.yaml:2: decoders\[0\] lacks D_sparse"),
        ("syndrome_size: 3", "syndrome_size: 4", r"c.yaml:6: .*H_sparse has 3 rows, and syndrome_size is 4"),
        ("syndrome_size: 3", "syndrome_size: three", r"c.yaml:5: .*syndrome_size is 'three', not a whole number"),
        ("H_sparse: [0, -1, 1", "H_sparse: [0, -1, 8", r"c.yaml:6: .*H_sparse\[2\] is column 8 of 3 \(in row 1\)"),
        ("H_sparse: [0, -1, 1", "H_sparse: [0, 0, -1, 1", r"H_sparse\[1\] repeats column 0 \(in row 0\)"),
        ("H_sparse: [0, -1, 1, -1, 2, -1]", "H_sparse: [0, -1, 1, -1, 2]", "does not end with -1"),
        ("D_sparse: [0, -1,", "D_sparse: [", r"c.yaml:8: .*D_sparse has 2 rows for 3 detectors"),
        ("[0.1, 1e-1, 0.1]", "[0.1, 0.1]", r"c.yaml:10: .*error_rate_vec has 2 rates for block_size 3"),
        ("[0.1, 1e-1, 0.1]", "[0.1, 0.7, 0.1]", r"c.yaml:10: .*error_rate_vec\[1\] is 0.7: error rates are"),
        ("[0.1, 1e-1, 0.1]", "[0.1, x, 0.1]", r"error_rate_vec\[1\] is 'x', not a number"),
        ("smallest_weight", "largest", r"c.yaml:11: .*merge_strategy is 'largest': there are disallow"),
        ("merge_strategy", "merge_strateg", r"c.yaml:11: .*merge_strateg is not known here"),
        ("    type:", "    id: 1\n    type:", r"c.yaml:3: decoders\[0\].id is there twice"),
        ("H_sparse: [0,", "H_sparse: [0,[", r"c.yaml:\d+: this is not YAML"),
        ("    type:", "    dem_chunks: {}\n    type:", "export the decoder with the flat"),
        (IDENTITY, "", "c.yaml:1: the file is empty"),
        (IDENTITY, "decoders: []", "is empty: a server needs a decoder"),
        (IDENTITY, "decoders: {}", "c.yaml:1: decoders is not a list"),
        (IDENTITY, IDENTITY + IDENTITY.split("\n", 1)[1], r"c.yaml:12: decoders\[1\] has the id 0, which another"),
    ],
)
def test_errors_say_where(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in IDENTITY
    (tmp_path / "c.yaml").write_text(IDENTITY.replace(old, new))
    with pytest.raises(ConfigError, match=says):
        read_cudaq(tmp_path / "c.yaml")


def test_columns_with_the_same_detectors(tmp_path: Path) -> None:
    text = IDENTITY.replace("H_sparse: [0, -1, 1, -1, 2, -1]", "H_sparse: [0, 1, -1, 2, -1, -1]")
    text = text.replace("O_sparse: [0, -1, 1, -1, 2, -1]", "O_sparse: [0, -1, 1, -1, -1]").replace("1e-1", "0.2")
    events = np.array([[1, 0, 0]], dtype=np.bool_)
    flips = {"smallest_weight": [0, 1, 0], "keep_original": [1, 0, 0], "replace": [0, 1, 0], "independent": [1, 0, 0]}
    for strategy, expected in flips.items():
        (tmp_path / "c.yaml").write_text(text.replace("smallest_weight", strategy))
        (one,) = read_cudaq(tmp_path / "c.yaml")
        assert one.build().decode_batch(events).astype(int).tolist() == [expected], strategy
    (tmp_path / "c.yaml").write_text(text.replace("      merge_strategy: smallest_weight\n", ""))
    with pytest.raises(
        ConfigError, match=r"several columns with the detectors \[0\], such as 1: name a merge_strategy"
    ):
        read_cudaq(tmp_path / "c.yaml")

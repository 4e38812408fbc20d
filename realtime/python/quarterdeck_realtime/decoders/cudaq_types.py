"""The decoder types of CUDA-Q QEC, and which decoder stands in for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from quarterdeck_realtime.decoders.located import Located

__all__ = ["ARGUMENTS", "TYPES", "Choice"]

Arguments = Mapping[str, Located]


class Choice(msgspec.Struct, frozen=True):
    """What stands in for a type; `merge` is its strategy for columns with the same detectors, None for no matter."""

    name: str
    settings: dict[str, Any] = {}
    used: frozenset[str] = frozenset()
    merge: str | None = None
    layer_width: int = 0


ARGUMENTS = frozenset(
    "error_rate error_rate_vec merge_strategy lut_error_depth window_size step_size num_syndromes_per_round "
    "straddle_start_round straddle_end_round inner_decoder_name inner_decoder_params single_error_lut_params "
    "multi_error_lut_params nv_qldpc_decoder_params use_sparsity max_iterations n_threads use_osd osd_method osd_order "
    "bp_method bp_batch_size bp_seed gamma0 gamma_dist explicit_gammas srelay_config composition clip_value "
    "scale_factor proc_float repeatable iter_per_check opt_results num_threads block_leaf_size fusion_strategy".split()
)


def _pymatching(kind: Located, arguments: Arguments) -> Choice:
    strategy = arguments["merge_strategy"].text() if "merge_strategy" in arguments else "disallow"
    known = ("disallow", "independent", "smallest_weight", "keep_original", "replace")
    if strategy not in known:
        arguments["merge_strategy"].refuse(f"is '{strategy}': there are {', '.join(known)}")
    return Choice(name="matching", used=frozenset({"merge_strategy"}), merge=strategy)


def _fusion(kind: Located, arguments: Arguments) -> Choice:
    return Choice(name="matching", merge="independent")


def _lut(kind: Located, arguments: Arguments) -> Choice:
    """Our table has all syndromes, so that no depth is needed."""
    return Choice(name="lookup", settings={"largest": 24}, used=frozenset({"lut_error_depth"}), merge="independent")


def _qldpc(kind: Located, arguments: Arguments) -> Choice:
    if "bp_method" in arguments and arguments["bp_method"].integer() == 3:
        return _relay(kind, arguments)
    settings: dict[str, Any] = {}
    if "max_iterations" in arguments:
        settings["max_iter"] = arguments["max_iterations"].integer(1)
    if "osd_order" in arguments:
        settings["osd_order"] = arguments["osd_order"].integer()
    return Choice(
        name="bp-osd", settings=settings, used=frozenset({"max_iterations", "osd_order", "bp_method", "use_osd"})
    )


def _relay(kind: Located, arguments: Arguments) -> Choice:
    """Its legs go on until so many have converged, however long that takes, and so do ours."""
    legs = 300
    settings: dict[str, Any] = {}
    if "max_iterations" in arguments:
        settings["leg_iterations"] = arguments["max_iterations"].integer(1)
    if "gamma0" in arguments:
        settings["memory"] = arguments["gamma0"].real()
    if "gamma_dist" in arguments:
        ends = [item.real() for item in arguments["gamma_dist"].items()]
        if len(ends) != 2:
            arguments["gamma_dist"].refuse(f"has {len(ends)} numbers: it is the ends of an interval")
        settings["memories"] = (ends[0], ends[1])
    if "srelay_config" in arguments:
        relay = arguments["srelay_config"].fields([], ["pre_iter", "num_sets", "stopping_criterion", "stop_nconv"])
        if "pre_iter" in relay:
            settings["iterations"] = relay["pre_iter"].integer(1)
        legs = relay["num_sets"].integer() if "num_sets" in relay else legs
        solutions = relay["stop_nconv"].integer(1) if "stop_nconv" in relay else 1
        if "stopping_criterion" in relay:
            wanted = relay["stopping_criterion"].text().lower()
            if wanted not in ("all", "firstconv", "nconv"):
                relay["stopping_criterion"].refuse(f"is '{wanted}': there are All, FirstConv and NConv")
            solutions = {"all": legs + 1, "firstconv": 1}.get(wanted, solutions)
        settings["solutions"] = solutions
    used = frozenset({"bp_method", "max_iterations", "gamma0", "gamma_dist", "srelay_config"})
    return Choice(name="relay", settings={"solutions": 1, "legs": legs, "more": legs, **settings}, used=used)


def _sliding(kind: Located, arguments: Arguments) -> Choice:
    needed = ("window_size", "step_size", "num_syndromes_per_round")
    missing = [name for name in needed if name not in arguments]
    if missing:
        kind.refuse(f"is sliding_window, and decoder_custom_args lacks {', '.join(missing)}")
    window, step, width = (arguments[name].integer(1) for name in needed)
    if step >= window:
        arguments["step_size"].refuse(f"is {step}: a window of {window} rounds must overlap the next")
    inner = "matching"
    if "inner_decoder_name" in arguments:
        named = arguments["inner_decoder_name"].text()
        if named not in ("pymatching", "nv_fusion_decoder", "single_error_lut", "multi_error_lut"):
            arguments["inner_decoder_name"].refuse(f"is '{named}': here windows are decoded by matching")
    settings = {"window": window, "commit": step, "inner": inner}
    used = frozenset({*needed, "inner_decoder_name"})
    return Choice(name="windows", settings=settings, used=used, merge="independent", layer_width=width)


TYPES: dict[str, Callable[[Located, Arguments], Choice]] = {
    "pymatching": _pymatching,
    "nv_fusion_decoder": _fusion,
    "single_error_lut": _lut,
    "multi_error_lut": _lut,
    "nv-qldpc-decoder": _qldpc,
    "sliding_window": _sliding,
}

"""All decoders by name: our own, adapters, and those that other distributions add."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import stim

from quarterdeck_realtime.decoders import own, plugins
from quarterdeck_realtime.decoders.protocol import BatchDecoder
from quarterdeck_realtime.gpu.decoder import gpu_bp

__all__ = ["GROUP", "decoder", "names"]

GROUP = "quarterdeck.decoders"

_BUILT_IN: dict[str, Callable[..., BatchDecoder]] = {
    "matching": own.matching,
    "union-find": own.union_find,
    "lookup": own.lookup,
    "windows": own.windows,
    "parallel": own.parallel,
    "relay": own.relay,
    "pymatching": plugins.py_matching,
    "relay-bp": plugins.relay_bp,
    "bp-osd": plugins.bp_osd,
    "bp-lsd": plugins.bp_lsd,
    "tesseract": plugins.tesseract,
    "gpu-bp": gpu_bp,
}


def names() -> list[str]:
    """The names of all decoders: built in, then those of entry points. Some need packages that are not installed."""
    return [*_BUILT_IN, *sorted({entry.name for entry in entry_points(group=GROUP)} - _BUILT_IN.keys())]


def decoder(name: str, dem: stim.DetectorErrorModel, **settings: Any) -> BatchDecoder:
    """Make a decoder for a detector error model.

    Raises ValueError for an unknown name or setting or a model that the decoder cannot take, MissingPackage if it needs
    a package that is not installed.
    """
    factory = _BUILT_IN.get(name) or _added(name)
    try:
        inspect.signature(factory).bind(dem, **settings)
    except TypeError as error:
        known = [p.name for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
        takes = f"its settings are {', '.join(known)}" if known else "it has no settings"
        raise ValueError(f"decoder '{name}': {error}; {takes}") from error
    return factory(dem, **settings)


def _added(name: str) -> Callable[..., BatchDecoder]:
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise ValueError(f"no decoder is called '{name}': there are {', '.join(names())}")
    if len(found) > 1:
        who = ", ".join(entry.dist.name if entry.dist else entry.value for entry in found)
        raise ValueError(f"several distributions add a decoder '{name}': {who}. Uninstall all but one")
    factory: Callable[..., BatchDecoder] = found[0].load()
    return factory

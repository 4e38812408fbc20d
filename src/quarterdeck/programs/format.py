"""The formats of programs, by name. A format's module is imported when its first program comes: Pulser takes 3 s."""

from __future__ import annotations

from importlib import import_module

from quarterdeck.errors import Invalid
from quarterdeck.programs.program import Summary

FORMATS = {
    "ahs": "quarterdeck.programs.ahs",
    "iqm": "quarterdeck.programs.vendor",
    "opaque": "quarterdeck.programs.opaque",
    "openqasm3": "quarterdeck.programs.vendor",
    "pulser": "quarterdeck.programs.pulser",
    "qir": "quarterdeck.programs.vendor",
}
"""Name to the module that has `summarise(payload) -> Summary`."""

INSTANT = frozenset({"iqm", "opaque", "openqasm3", "qir"})
"""Formats whose summary takes no time: no worker process is needed, nor a look whether the program is known."""


def summarise(format: str, payload: str) -> Summary:
    """What can be told of a program. Raises `Invalid` for an unknown format, `BadProgram` for a bad program."""
    module = FORMATS.get(format)
    if module is None:
        raise Invalid("$.format", f"unknown format {format[:80]!r}; known are {', '.join(sorted(FORMATS))}")
    try:
        summary: Summary = import_module(module).summarise(payload)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "quarterdeck":
            raise
        needs = f"this daemon has no {error.name}, which format {format!r} needs: install quarterdeck[{format}]"
        raise Invalid("$.format", needs) from error
    return summary

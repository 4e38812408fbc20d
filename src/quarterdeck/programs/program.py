"""A program: a serialised payload in a format, known by the SHA-256 of what it says."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from quarterdeck.errors import Invalid


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What can be told of a program without running it.

    Attributes:
        qubits: How many qubits or atoms it uses.
        duration_ns: Length of one shot on the device, in ns; absent when it depends on parameters.
        variables: Name to length of each parameter that a task must give (1 for a scalar).
        device: Name of the device it was written for, if it names one.
        register: Key of the set-up that it needs: programs with the same key follow each other without one; "" unknown.
    """

    qubits: int = 0
    duration_ns: int | None = None
    variables: dict[str, int] = {}
    device: str | None = None
    register: str = ""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A program as devices see it. `id` is content-addressed: the same text is the same program, whoever sends it."""

    id: str
    format: str
    payload: str

    @staticmethod
    def of(format: str, payload: str) -> Program:
        """The program with this text. Raises `Invalid` for text that is not valid Unicode."""
        try:
            digest = sha256(f"{format}\n{payload}".encode()).hexdigest()
        except UnicodeEncodeError as error:
            raise Invalid("$.payload", f"not valid Unicode at character {error.start}") from None
        return Program(id=digest, format=format, payload=payload)


Parameters = dict[str, Any]
"""Values for a program's variables: name to a number or a list of numbers."""

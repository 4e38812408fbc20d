"""The shelf: programs at hand, the rest in the store."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from quarterdeck.daemon.store import Store
from quarterdeck.errors import NotFound
from quarterdeck.programs.program import Program


class Shelf:
    """The programs used last, up to `room_bytes` of text in memory."""

    def __init__(self, store: Store, room_bytes: int) -> None:
        self._store = store
        self._room_bytes = room_bytes
        self._used_bytes = 0
        self._programs: OrderedDict[str, Program] = OrderedDict()

    async def get(self, id: str) -> Program:
        """A program, from memory or the store. Raises `NotFound`."""
        program = self._programs.get(id)
        if program is not None:
            self._programs.move_to_end(id)
            return program
        stored = await self._store.blob("program", id)
        if stored is None:
            raise NotFound("program", id)
        meta, content = stored
        program = Program(id=id, format=msgspec.json.decode(meta)["format"], payload=content.decode())
        self.put(program)
        return program

    def put(self, program: Program) -> None:
        """Keep a program at hand; those not used for longest make room."""
        if program.id in self._programs:
            return
        self._programs[program.id] = program
        self._used_bytes += len(program.payload)
        while self._used_bytes > self._room_bytes and len(self._programs) > 1:
            _, dropped = self._programs.popitem(last=False)
            self._used_bytes -= len(dropped.payload)

"""The loop around the core: events in, durable before anything is done about them, commands out to the drivers.

Nothing here polls. A request, a driver's report or the core's own alarm is an event; its step is appended to the
store; when it is durable, waiting requests are answered and its commands carried out, in the order of the log. If the
store fails, the engine ends and whoever runs it starts a new one from what is durable, just as after a crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import Any, Literal

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core.accounts import Account, Usage
from quarterdeck.core.commands import CancelSlice, Command, StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.ledger import Rules
from quarterdeck.core.nouns import Calendar, Device, Session, Slice, Task, Window
from quarterdeck.core.policy import PolicySettings, make_policy
from quarterdeck.core.state import Step
from quarterdeck.core.transition import InvalidTransition
from quarterdeck.daemon.attempt import Attempt, Failed, Patience
from quarterdeck.daemon.clock import Clock, steady
from quarterdeck.daemon.keys import Key, Keys
from quarterdeck.daemon.shelf import Shelf
from quarterdeck.daemon.store import Blob, EventRow, KeyRow, NounRow, Record, SliceRow, Store, TaskRow
from quarterdeck.daemon.watch import Watch
from quarterdeck.devices.driver import Driver, Outcome, Target, Trace
from quarterdeck.devices.driver import Slice as DriverSlice
from quarterdeck.errors import NotFound, QuarterdeckError, StoreUnavailable

log = logging.getLogger(__name__)

_encode = msgspec.json.encode
_NOUNS: dict[str, type[Device | Session | Window | Calendar | Account | Usage]] = {
    "device": Device, "session": Session, "window": Window, "calendar": Calendar, "account": Account, "usage": Usage,
}  # fmt: skip


class DeviceSettings(msgspec.Struct, frozen=True):
    """How the loop treats one device: the most shots of a slice, 0 to leave it to the policy; its real-time host."""

    slice_shots: int
    decoders: int = 0
    realtime: str = ""


class Pace(msgspec.Struct, frozen=True):
    """Time constants of the loop, in seconds: see `config.DaemonSettings`."""

    probe_s: float = 5.0
    answer_s: float = 60.0
    grace_s: float = 120.0
    key_s: float = 86400.0
    recent_tasks: int = 20_000
    program_bytes: int = 64 * 1024 * 1024


class Engine:
    """Runs the deck on a store and a set of drivers, from `recover` until it fails or is closed."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, Driver],
        targets: Mapping[str, Target],
        devices: Mapping[str, DeviceSettings],
        pace: Pace = Pace(),  # noqa: B008  # frozen
        clock: Callable[[float], Clock] = steady,
        policy: PolicySettings = PolicySettings(),  # noqa: B008  # frozen
    ) -> None:
        self.store = store
        self.drivers = drivers
        self.targets = targets
        self.devices = devices
        self.pace = pace
        self.policy = policy
        rules = Rules(half_life_s=policy.usage_half_life_s, grace_s=pace.grace_s)
        self.deck = Deck(make_policy(policy.name, policy), rules=rules)
        self.keys = Keys(store)
        self._make_clock = clock
        self._clock: Clock = clock(0.0)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes: dict[str, list[asyncio.Future[Task]]] = {}
        self._recent: OrderedDict[str, Task] = OrderedDict()
        self._unsettled: dict[str, int] = {}
        self._flushes: deque[asyncio.Future[None]] = deque()
        self._grown: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.programs = Shelf(store, pace.program_bytes)
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_s: float | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._watches = {
            name: Watch(driver, partial(self._device, name), partial(self._tell, name), pace.probe_s, pace.answer_s)
            for name, driver in drivers.items()
        }
        self._attempts: dict[str, Attempt] = {}
        self.last_event = 0

    # -- life -----------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up what is durable: restore the deck, announce the devices, find the slices that were in flight."""
        # Twice as long as promised: a clock that was wrong by less than a day makes nobody's key a new one.
        loaded = await self.store.load(self._clock() - 2 * self.pace.key_s)
        tasks = [msgspec.json.decode(body, type=Task) for body in loaded.tasks]
        slices = [msgspec.json.decode(body, type=Slice) for body in loaded.slices]
        nouns = [msgspec.json.decode(body, type=_NOUNS[kind]) for kind, body in loaded.nouns]
        last = await self.store.events(loaded.last_event - 1, 1)
        last_s = ev.decode(last[0][1]).at_s if last else 0.0
        self._clock = self._make_clock(last_s)
        self.deck.restore([*nouns, *slices, *tasks], now_s=last_s, seq=loaded.last_task_seq)
        self.keys.load(loaded.keys)
        self.last_event = loaded.last_event
        self.store.start(self.fail)
        in_flight = list(self.deck.slices.values())
        now_s = self._clock()
        for name, target in self.targets.items():
            declared = ev.DeviceDeclared(
                at_s=now_s, device=name, lanes=target.lanes, slice_shots=self.devices[name].slice_shots,
                shot_rate_hz=target.shot_rate_hz, setup_s=target.setup_s, emulated=target.emulated,
                modality=target.modality, qubits=target.qubits, decoders=self.devices[name].decoders,
            )  # fmt: skip
            self.handle(declared)
        for name, device in list(self.deck.devices.items()):
            if name not in self.targets and device.declared:
                self.handle(ev.DeviceRetired(at_s=now_s, device=name))
        for slice in in_flight:
            self._resume(slice)
        for watch in self._watches.values():
            self._spawn(watch.run())
        self._spawn(self._forget_keys())

    async def run(self) -> None:
        """Return when closed; raise what ended the engine otherwise."""
        await self._over

    def fail(self, error: Exception) -> None:
        """The engine cannot go on. Everybody who waits is told; nothing more is acknowledged."""
        if not self._over.done():
            self._over.set_exception(error)
            self._stop()

    async def close(self) -> None:
        """Stop. Slices in flight stay in flight: they are found again by the next engine."""
        if not self._over.done():
            self._over.set_result(None)
        self._stop()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        for task in self._background:
            task.cancel()
        gone = StoreUnavailable("the daemon", "it is starting over", 1.0)
        waiting = [waiter for waiters in self._changes.values() for waiter in waiters]
        futures: list[asyncio.Future[Any]] = [*waiting, *self._flushes, self._grown]
        for future in futures:
            if not future.done():
                future.set_exception(gone)
                future.exception()  # nobody may be waiting

    @property
    def alive(self) -> bool:
        return not self._over.done()

    # -- events in ------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The time of day that new events carry."""
        return self._clock()

    async def commit(self, event: ev.Event, blobs: Sequence[Blob] = ()) -> Step:
        """Handle an event and return once all that follows is durable. Raises what the core refuses it with."""
        step = self.handle(event, blobs)
        await self.settled()
        return step

    async def settled(self, task: str | None = None) -> None:
        """Return once everything so far (of one task) is durable."""
        if not self.alive:
            raise StoreUnavailable("the daemon", "it is starting over", 1.0)
        if task is None:
            if self._flushes:
                await asyncio.shield(self._flushes[-1])
            return
        while task in self._unsettled:
            await asyncio.shield(self._flushes[-1])

    def handle(self, event: ev.Event, blobs: Sequence[Blob] = (), key: Key | None = None) -> Step:
        """Handle an event and queue its step for the store; commands and answers follow when it is durable.

        `key` is the Idempotency-Key with which a task is submitted.
        """
        if not self.alive:
            raise StoreUnavailable("the daemon", "it is starting over", 1.0)
        try:
            step = self.deck.handle(event)
        except (QuarterdeckError, InvalidTransition):
            raise
        except Exception as error:  # a defect: the deck may be ahead of the log, so nothing more is done with it
            self.fail(error)
            raise
        if step.events or blobs:
            self._write(step, blobs, key)
        self._set_alarm()
        return step

    def _write(self, step: Step, blobs: Sequence[Blob], key: Key | None) -> None:
        keys = []
        if key is not None:
            task = next(iter(step.tasks.values()))
            keys.append(KeyRow(task.seq, key.digest, key.body, task.id, task.submitted_s))
            self.keys.note(key, task.seq)
        flush: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flush.add_done_callback(_seen)
        results = {
            f"{event.task}/{getattr(event, 'index', 0)}": event.result
            for event in step.events
            if isinstance(event, ev.SliceFinished | ev.TaskImported)
        }
        record = Record(
            done=partial(self._durable, step, flush),
            events=[EventRow(*self._whose(event, step), ev.encode(event)) for event in step.events],
            tasks=[_task_row(task) for task in step.tasks.values()],
            slices=[
                SliceRow(slice.task, slice.index, slice.state == "running", results.get(key), _encode(slice))
                for key, slice in step.slices.items()
            ],
            nouns=[
                *(NounRow("device", device.id, True, _encode(device)) for device in step.devices.values()),
                *(NounRow("session", s.id, s.state == "open", _encode(s)) for s in step.sessions.values()),
                *(NounRow("window", w.id, w.state != "over", _encode(w)) for w in step.windows.values()),
                *(NounRow("account", a.id, a.state == "open", _encode(a)) for a in step.accounts.values()),
                *(NounRow("usage", id, usage.open, _encode(usage)) for id, usage in step.usage.items()),
                *(NounRow("calendar", c.id, c.state == "set", _encode(c)) for c in step.calendars.values()),
                *(NounRow(f"note:{note.kind}", note.id, False, _encode(note)) for note in step.notes),
            ],
            blobs=blobs,
            keys=keys,
        )
        try:
            self.store.append(record)
        except StoreUnavailable as error:  # the deck is ahead of the store now: start over
            self.fail(error)
            raise
        self._flushes.append(flush)
        for id in step.tasks:
            self._unsettled[id] = self._unsettled.get(id, 0) + 1
        # Ended tasks leave the deck; until they are durable they are found here.
        for task in self.deck.forget_ended():
            self._recent[task.id] = task
            if len(self._recent) > self.pace.recent_tasks:
                self._recent.popitem(last=False)

    def _whose(self, event: ev.Event, step: Step) -> tuple[str | None, str | None]:
        """The task that an event is about, and the user who may see it; None and None for what concerns everybody."""
        if (id := getattr(event, "task", None)) is not None:
            return id, self.deck.tasks[id].user
        if (id := getattr(event, "session", None)) is not None:
            return None, (self.deck.sessions.get(id) or step.sessions[id]).user
        if isinstance(event, ev.NoteKept):
            return None, event.user
        if isinstance(event, ev.ProjectSet | ev.ProjectRemoved | ev.BudgetSet):
            return None, ""  # nobody's name: for administrators
        return None, None

    def _durable(self, step: Step, flush: asyncio.Future[None], last_event: int) -> None:
        """The store has it: answer who waits, and act."""
        self.last_event = last_event
        self._flushes.popleft()
        if not flush.done():
            flush.set_result(None)
        for id, task in step.tasks.items():
            left = self._unsettled[id] - 1
            if left:
                self._unsettled[id] = left
            else:
                del self._unsettled[id]
            for waiter in self._changes.pop(id, ()):
                if not waiter.done():
                    waiter.set_result(task)
        if not self.alive:
            return
        for command in step.commands:
            self._do(command)
        if not self._grown.done():
            self._grown.set_result(last_event)

    def _set_alarm(self) -> None:
        at_s = self.deck.next_alarm_s()
        if at_s == self._alarm_s:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_s = at_s
        self._alarm = None
        if at_s is not None:
            delay_s = max(0.0, at_s - self._clock())
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._alarm_s = None
        if self.alive:
            with suppress(StoreUnavailable):
                self.handle(ev.Tick(at_s=self._clock()))

    # -- commands out ---------------------------------------------------------------------------------------------

    def _do(self, command: Command) -> None:
        match command:
            case StartSlice():
                self._spawn(self._run(command, resume=False))
            case CancelSlice():
                self._spawn(self._cancel(command))
            case _:
                log.info("%s", command)  # windows: nothing to do but keep away; calibration routines hook in here

    def _resume(self, slice: Slice) -> None:
        task = self.deck.tasks[slice.task]
        start = StartSlice(
            device=slice.device, key=slice.key, task=task.id, index=slice.index, program=task.program,
            parameters=task.parameters, shots=slice.shots,
        )  # fmt: skip
        self._spawn(self._run(start, resume=True))

    async def _run(self, start: StartSlice, resume: bool) -> None:
        """See one slice through, and report."""
        driver, target = self.drivers.get(start.device), self.targets.get(start.device)
        if driver is None or target is None:
            self._report(start, Failed("lost", "retired", "its device is not in the configuration any more"))
            return
        try:
            program = await self.programs.get(start.program)
        except NotFound as error:
            self._report(start, Failed("rejected", error.code, str(error)))
            return
        task, record = self.deck.tasks[start.task], self.deck.slices[start.key]
        slice = DriverSlice(
            key=start.key, program=program, parameters=msgspec.json.decode(start.parameters), shots=start.shots,
            batch=task.job or task.session or task.id,
        )  # fmt: skip
        attempt = Attempt(
            driver, target, slice, Patience(self.pace.answer_s, self.pace.grace_s), self._watches[start.device].back,
            resume, Trace(record.handle, record.after), partial(self._accepted, start, target),
        )  # fmt: skip
        self._attempts[start.key] = attempt
        if task.state == "cancelling":  # called off while its program was being fetched
            await attempt.cancel()
        outcome = await attempt.run()
        del self._attempts[start.key]
        self._report(start, outcome)

    def _accepted(self, start: StartSlice, target: Target, handle: str) -> None:
        if target.keeps_handles and self.deck.slices[start.key].handle != handle:
            with suppress(StoreUnavailable):  # the next engine looks it up again
                self.handle(ev.SliceAccepted(at_s=self._clock(), task=start.task, index=start.index, handle=handle))

    def _report(self, start: StartSlice, outcome: Outcome | Failed) -> None:
        at_s = self._clock()
        task = self.deck.tasks[start.task]
        try:
            if isinstance(outcome, Failed):
                if outcome.kind == "unavailable":
                    self._watches[start.device].away(outcome.message)
                failed = ev.SliceFailed(
                    at_s=at_s, task=start.task, index=start.index, kind=outcome.kind, code=outcome.code,  # type: ignore[arg-type]
                    message=outcome.message[:2000],
                )  # fmt: skip
                self.handle(failed)
                return
            shots = sum(outcome.counts.values())
            if shots == 0:
                kind, why = (
                    ("cancelled", "") if task.state == "cancelling" else ("fault", "the device measured nothing")
                )
                none = ev.SliceFailed(
                    at_s=at_s, task=start.task, index=start.index, kind=kind, code="empty", message=why,  # type: ignore[arg-type]
                    qpu_s=outcome.qpu_s,
                )  # fmt: skip
                self.handle(none)
                return
            counts = _encode(dict(sorted(outcome.counts.items())))
            address = sha256(counts).hexdigest()
            finished = ev.SliceFinished(
                at_s=at_s,
                task=start.task,
                index=start.index,
                shots=shots,
                result=address,
                qpu_s=outcome.qpu_s,
                setup_s=outcome.setup_s,
            )
            self.handle(finished, blobs=[Blob("result", address, b"{}", counts)])
        except InvalidTransition as error:
            log.error("a report about %s was refused: %s", start.key, error)
        except StoreUnavailable:
            log.warning("the outcome of %s is not durable; its device is asked again", start.key)

    async def _cancel(self, command: CancelSlice) -> None:
        if (attempt := self._attempts.get(command.key)) is not None:
            await attempt.cancel()

    # -- devices --------------------------------------------------------------------------------------------------

    def _device(self, name: str) -> Device:
        return self.deck.devices[name]

    def _tell(
        self, device: str, status: Literal["online", "offline", "maintenance"], reason: str,
        quality: float | None = None,
    ) -> None:  # fmt: skip
        at_s = self._clock()
        self.handle(ev.DeviceChanged(at_s=at_s, device=device, status=status, reason=reason, quality=quality))

    async def set_status(self, device: str, status: str, reason: str) -> None:
        """Take the device out of service (`maintenance`), or give it back (`online`, as soon as it answers)."""
        if status == "online":
            self._tell(device, "offline", "coming back from maintenance")
        else:
            self._tell(device, "maintenance", reason)
        await self.settled()
        self._watches[device].look()

    # -- what can be asked ----------------------------------------------------------------------------------------

    async def task(self, id: str) -> Task:
        """The task as it is durable. Raises `NotFound`."""
        await self.settled(id)
        task = self.deck.tasks.get(id) or self._recent.get(id)
        if task is None:
            body = await self.store.task(id)
            if body is None:
                raise NotFound("task", id)
            task = msgspec.json.decode(body, type=Task)
        return task

    async def change(self, id: str, wait_s: float, after: int | None) -> Task:
        """The task once it has ended, or with `after` once its version is greater, or after `wait_s` seconds."""
        task = await self.task(id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while not task.ended and (after is None or task.version <= after):
            left_s = deadline - loop.time()
            if left_s <= 0:
                break
            waiter: asyncio.Future[Task] = loop.create_future()
            waiter.add_done_callback(_seen)
            self._changes.setdefault(id, []).append(waiter)
            try:
                async with asyncio.timeout(left_s):
                    await waiter
                task = await self.task(id)
            except TimeoutError:
                break
            finally:
                waiters = self._changes.get(id)
                if waiters and waiter in waiters:
                    waiters.remove(waiter)
                    if not waiters:
                        del self._changes[id]
        return task

    async def grown(self, beyond: int) -> None:
        """Return once the log has entries after number `beyond`."""
        while self.last_event <= beyond:
            if self._grown.done():
                self._grown = asyncio.get_running_loop().create_future()
                self._grown.add_done_callback(_seen)
            await asyncio.shield(self._grown)

    async def _forget_keys(self) -> None:
        while True:
            await asyncio.sleep(self.pace.key_s)
            await self.keys.forget(self._clock() - 2 * self.pace.key_s)

    # -- background -----------------------------------------------------------------------------------------------

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._background.add(task)
        task.add_done_callback(self._reaped)

    def _reaped(self, task: asyncio.Task[None]) -> None:
        """A loop that dies takes the engine with it: a daemon that looks alive and does nothing is worse than none."""
        self._background.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, StoreUnavailable):
            self.fail(error)
        else:
            self.fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))


def _task_row(task: Task) -> TaskRow:
    return TaskRow(task.id, task.seq, task.user, task.session, task.device, task.state, not task.ended, _encode(task))


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()

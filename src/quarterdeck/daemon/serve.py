"""`qdeck serve`: put the parts together, answer, and end cleanly."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from starlette.types import ASGIApp

from quarterdeck import places
from quarterdeck.daemon.config import Settings, load
from quarterdeck.daemon.dialects.pasqal_cloud.app import PasqalCloud
from quarterdeck.daemon.dialects.warden.app import Warden
from quarterdeck.daemon.engine import DeviceSettings, Pace
from quarterdeck.daemon.house import House
from quarterdeck.daemon.http.app import application
from quarterdeck.daemon.http.identity import Identity, user_name
from quarterdeck.daemon.http.server import Server, tcp_socket, unix_socket
from quarterdeck.daemon.limits import Limits
from quarterdeck.daemon.sql import open_store
from quarterdeck.devices.driver import Driver
from quarterdeck.devices.registry import make
from quarterdeck.devices.workers import Workers
from quarterdeck.errors import Invalid, QuarterdeckError
from quarterdeck.munge import Munge
from quarterdeck.programs.format import INSTANT, summarise
from quarterdeck.programs.program import Summary

log = logging.getLogger(__name__)
DEFECT = 70  # EX_SOFTWARE of sysexits.h


def main(config: Path | None, *, log_level: str = "info") -> int:
    """Run a daemon until SIGTERM or SIGINT. Returns the exit status: 0, 2 for a bad configuration, 70 for a defect."""
    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each look at a QPU is no news
    try:
        settings = load(config)
        with asyncio.Runner(loop_factory=_loop) as runner:
            return runner.run(serve(settings))
    except QuarterdeckError as error:
        print(f"qdeck: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _loop() -> asyncio.AbstractEventLoop:
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


async def serve(settings: Settings) -> int:
    """Run a daemon with these settings until a signal ends it, or a defect does."""
    _tune()
    state = settings.state
    state.mkdir(parents=True, exist_ok=True, mode=0o755)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    parser = Workers(1, warm=("quarterdeck.programs.pulser",))
    drivers: dict[str, Driver] = {}
    store = None
    try:
        for name, given in settings.devices.items():
            own = {key: value for key, value in given.items() if key not in OURS}
            drivers[name] = make(name, given["driver"], own, state / "devices" / name)
        if any(given["driver"] != "fake" for given in settings.devices.values()):
            parser.warm_up()
        targets = dict(zip(drivers, await asyncio.gather(*(d.target() for d in drivers.values())), strict=True))
        sockets = [unix_socket(settings.socket)]
        url = settings.daemon.advertise
        if settings.listen is not None:
            sockets.append(tcp_socket(*settings.listen))
            host, port = sockets[-1].getsockname()[:2]
            url = url or f"http://{host if ':' not in host else f'[{host}]'}:{port}"
        store = open_store(settings.store_url)
        identity = Identity(
            owner=user_name(os.geteuid()), owner_uid=os.geteuid(), token=_token(places.token_file(state)),
            administrators=frozenset(settings.daemon.administrators),
            munge=Munge(settings.daemon.munge_socket) if settings.daemon.munge else None,
        )  # fmt: skip

        async def summary(format: str, payload: str) -> Summary:
            if format in INSTANT:
                return summarise(format, payload)
            return await parser.run(summarise, format, payload, timeout_s=60.0)

        async def convert(payload: str, spec: str) -> str:
            from quarterdeck.programs.ahs import to_pulser

            return await parser.run(to_pulser, payload, spec, timeout_s=60.0)

        daemon = settings.daemon
        house = House(
            store, drivers, targets,
            {name: _device(settings, name) for name in targets},
            summary, convert, identity, daemon.max_body_bytes,
            Pace(probe_s=daemon.probe_s, answer_s=daemon.answer_s, grace_s=daemon.grace_s, key_s=daemon.key_s),
            Limits(
                parameters_bytes=daemon.max_parameters_bytes, wait_s=daemon.max_wait_s, lend_s=daemon.lend_s,
                exclusive_idle_s=daemon.exclusive_idle_s, batch_idle_s=daemon.batch_idle_s,
                users=settings.limits,
            ),
            url, policy=settings.policy, key=_token(places.key_file(state)).encode(),
        )  # fmt: skip
        warden = Warden(house, settings.warden)
        mounts: dict[str, ASGIApp] = {"warden": warden, "pasqal-cloud": PasqalCloud(house, settings.pasqal_cloud)}
        servers = [(Server(application(house, mounts)), sockets)]
        if settings.warden_listen is not None:
            servers.append((Server(warden), [tcp_socket(*settings.warden_listen, "warden.listen")]))
            host, port = servers[-1][1][0].getsockname()[:2]
            if not ip_address(host).is_loopback and not settings.warden.command():
                log.warning(
                    "warden.job_check is empty: a stolen credential of root's opens sessions for any user; set it "
                    'to "slurm", or to a command of this site'
                )
            (state / "warden-url").write_text(f"http://{host if ':' not in host else f'[{host}]'}:{port}\n")
        running = asyncio.ensure_future(house.run())
        answering = asyncio.ensure_future(_answer(servers))
        stopping = asyncio.ensure_future(stop.wait())
        (state / "url").write_text(f"unix://{settings.socket}\n{url}\n")
        log.info("answering at unix://%s%s", settings.socket, f" and {url}" if url else "")
        await asyncio.wait({running, answering, stopping}, return_when=asyncio.FIRST_COMPLETED)
        defect = running.done() and not running.cancelled() and running.exception()
        if defect:
            log.critical("the daemon cannot go on", exc_info=defect)
        running.cancel()  # ends the engine, which answers everybody who waits
        await asyncio.wait({running})
        for server, _ in servers:
            server.should_exit = True
        await asyncio.wait({answering})
        warden.close()
        stopping.cancel()
        return DEFECT if defect else 0
    finally:
        if store is not None:
            await store.close()
        for driver in drivers.values():
            await driver.close()
        await parser.close()
        with suppress(OSError):
            settings.socket.unlink()


OURS = frozenset({"driver", "slice_shots", "decoders", "realtime"})
"""Settings of a device that are not its driver's."""


async def _answer(servers: Sequence[tuple[Server, list[socket.socket]]]) -> None:
    await asyncio.gather(*(server.serve(sockets=sockets) for server, sockets in servers))


def _device(settings: Settings, name: str) -> DeviceSettings:
    given = settings.devices[name]
    for key, what in (("slice_shots", "shots"), ("decoders", "logical qubits")):
        value = given.get(key, 1)
        if not isinstance(value, int) or value < 1:
            raise Invalid(f"devices.{name}.{key}", f"{value!r} is not a number of {what}")
    realtime = given.get("realtime", "")
    if not isinstance(realtime, str) or bool(realtime) != ("decoders" in given):
        raise Invalid(f"devices.{name}.realtime", "where its real-time host is, as text; and `decoders` with it")
    return DeviceSettings(given.get("slice_shots", 0), given.get("decoders", 0), realtime)


def _token(path: Path) -> str:
    """A secret in a file; made at the first start, readable by the owner only."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    token = path.read_text().strip()
    if len(token) < 16:
        raise Invalid(str(path), "holds no secret; delete the file, and the daemon makes a new one")
    return token


def _tune() -> None:
    """Short turns between the loop and the store's thread; the collector leaves what lives long alone."""
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)

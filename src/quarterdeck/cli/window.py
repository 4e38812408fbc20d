"""`qdeck window`: calibrations, maintenance, reservations, and calendars of them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

import typer

from quarterdeck.cli.common import Json, clock, connect, device_names, print_columns, print_json
from quarterdeck.errors import NotFound, QuarterdeckError

if TYPE_CHECKING:
    from quarterdeck import wire

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None,
    help="Time blocks of devices: calibration, maintenance, reservations; once or recurring.",
)  # fmt: skip
Kind = Literal["calibration", "maintenance", "reservation"]
UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
RULES = {
    "day": "FREQ=DAILY", "week": "FREQ=WEEKLY", "month": "FREQ=MONTHLY", "hour": "FREQ=HOURLY",
    "weekday": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", **{day: f"FREQ=WEEKLY;BYDAY={day[:2].upper()}" for day in DAYS},
}  # fmt: skip
CELL_S, CELLS = 1800, 48


@app.command("add")
def add_(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Its name.", autocompletion=device_names)],
    kind: Annotated[Kind, typer.Option(help="In a reservation its holder's tasks run, else none.")],
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 1h, 90m, 1h30m, 2d.")],
    start: Annotated[
        str, typer.Option(metavar="WHEN", help="2026-11-22T02:00, or now; for a calendar from when.")
    ] = "",
    every: Annotated[str, typer.Option(help="Recurring: day, weekday, monday, week, month, or 6h, 30m, 2d.")] = "",
    at: Annotated[str, typer.Option(metavar="HH:MM", help="With --every or --rule: at what time of day.")] = "",
    rule: Annotated[str, typer.Option(help="Recurring by an RRULE of RFC 5545, instead of --every.")] = "",
    zone: Annotated[str, typer.Option(help="Time zone of all these times, such as Europe/Paris; else yours.")] = "",
    for_user: Annotated[str, typer.Option(help="A reservation's user.")] = "",
    for_project: Annotated[str, typer.Option(help="A reservation's project.")] = "",
    movable: Annotated[
        str, typer.Option(metavar="TIME", help="It may begin so much later: when the device has nothing to do.")
    ] = "",
    soft: Annotated[bool, typer.Option("--soft", help="Tasks may still start that run into it.")] = False,
    reason: Annotated[str, typer.Option(help="What users read.")] = "",
    as_json: Json = False,
) -> None:
    """Plan a time block on a device, once or recurring.

    For administrators. No slice starts that cannot end before it; a reservation's own tasks run in it and across its
    start. Recurring blocks follow the clocks of the time zone through daylight saving.

    \b
        qdeck window add fresnel-emulator --kind calibration --start 2026-11-22T02:00 --for 1h
        qdeck window add fresnel-emulator --kind calibration --for 1h --every day --at 02:00 --zone Europe/Paris
        qdeck window add fresnel-emulator --kind calibration --for 5m --every 6h --movable 30m
        qdeck window add fresnel-emulator --kind maintenance --for 3h --rule 'FREQ=WEEKLY;BYDAY=MO;BYHOUR=3'
        qdeck window add fresnel-emulator --kind reservation --for 2h --start now --for-project atoms
    """
    import msgspec

    from quarterdeck import wire

    length_s, slack_s = duration_s("--for", for_), duration_s("--movable", movable) if movable else 0.0
    clocks = _zone(zone)
    more = {"kind": kind, "hard": not soft, "slack_s": slack_s, "user": for_user, "project": for_project,
            "reason": reason}  # fmt: skip
    told: wire.Window | wire.Calendar
    with connect() as client:
        if not every and not rule:
            if at:
                raise typer.BadParameter("is for --every and --rule; here --start says it all", param_hint="--at")
            start_s = _when(start or "now", clocks)
            once = msgspec.convert({**more, "start_s": start_s, "end_s": start_s + length_s}, wire.WindowSet)
            told = client.set_window(device, once)
        else:
            if every and rule:
                raise typer.BadParameter("is one way to say it, --every the other: give one", param_hint="--rule")
            recurring = {**more, "rule": rule or rule_of(every), "duration_s": length_s, "zone": clocks.key,
                         "start_s": _first(start, at, clocks)}  # fmt: skip
            told = client.set_calendar(device, msgspec.convert(recurring, wire.CalendarSet))
    if as_json:
        print_json(told)
    else:
        print(told.id)


@app.command("list")
def list_(
    device: Annotated[
        str, typer.Argument(metavar="[DEVICE]", help="Only this one's.", autocompletion=device_names)
    ] = "",
    as_json: Json = False,
) -> None:
    """The time blocks of devices, and a picture of 24 hours.

    \b
        qdeck window list
        qdeck window list fresnel-emulator --json
    """
    with connect() as client:
        names = [device] if device else [known.name for known in client.devices()]
        windows = {name: client.windows(name) for name in names}
        calendars = [calendar for name in names for calendar in client.calendars(name)]
    every = [window for name in names for window in windows[name]]
    if as_json:
        print_json({"windows": every, "calendars": calendars})
        return
    if every:
        rows = [(w.id, w.device, w.kind, clock(w.began_s or w.start_s)[:16], clock(w.end_s)[:16], w.state, _how(w),
                 _whom(w.user, w.project), w.reason) for w in every]  # fmt: skip
        print_columns(("WINDOW", "DEVICE", "KIND", "START", "END", "STATE", "HOW", "FOR", "REASON"), rows)
    if calendars:
        lines = [(c.id, c.device, c.kind, c.rule, _told(c.duration_s), c.zone, _whom(c.user, c.project), c.reason)
                 for c in calendars]  # fmt: skip
        print()
        print_columns(("CALENDAR", "DEVICE", "KIND", "RULE", "LENGTH", "ZONE", "FOR", "REASON"), lines)
    if every or calendars:
        print()
    for line in timeline({name: windows[name] for name in names}, datetime.now().timestamp()):
        print(line)


def _ids(incomplete: str) -> list[tuple[str, str]]:
    """Completion: what can be taken off, with its kind and device."""
    try:
        with connect() as client:
            devices = [device.name for device in client.devices()]
            known: list[wire.Window | wire.Calendar] = []
            for name in devices:
                known += client.windows(name)
                known += client.calendars(name)
    except QuarterdeckError:
        return []
    return [(each.id, f"{each.kind} of {each.device}") for each in known if each.id.startswith(incomplete)]


@app.command()
def rm(
    id: Annotated[str, typer.Argument(metavar="WINDOW", help="A window's id, or a calendar's.", autocompletion=_ids)],
    as_json: Json = False,
) -> None:
    """Take a time block off, end it, or clear a calendar.

    A calendar's windows go with it, but for one that is on. (Administrators.)

    \b
        qdeck window rm w0123456789abcdef
    """
    told: wire.Window | wire.Calendar
    with connect() as client:
        try:
            told = client.clear_window(id)
        except NotFound:
            told = client.clear_calendar(id)
    if as_json:
        print_json(told)
    else:
        print(f"{told.id} {told.state}")


# -- words ------------------------------------------------------------------------------------------------------------


def duration_s(name: str, text: str) -> float:
    """Seconds of a text such as 1h30m, 90s or 2d. Raises `typer.BadParameter`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(min|[dhms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is no length of time; write 1h, 90m, 1h30m or 2d", param_hint=name)
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def rule_of(every: str) -> str:
    """The RRULE of --every. Raises `typer.BadParameter`."""
    if every in RULES:
        return RULES[every]
    if (match := re.fullmatch(r"([1-9]\d{0,3})(min|[dhms])", every)) is None:
        known = ", ".join(RULES)
        raise typer.BadParameter(f"{every!r} is neither a length such as 6h, nor one of {known}", param_hint="--every")
    frequency = {"d": "DAILY", "h": "HOURLY", "s": "SECONDLY"}.get(match[2], "MINUTELY")
    return f"FREQ={frequency};INTERVAL={match[1]}"


def _zone(name: str) -> ZoneInfo:
    """The time zone of that name, or this machine's."""
    try:
        return ZoneInfo(name or local_zone())
    except (KeyError, ValueError, OSError):
        raise typer.BadParameter(
            f"{name!r} is no time zone; write one such as Europe/Paris", param_hint="--zone"
        ) from None


def local_zone() -> str:
    """The IANA's name of this machine's time zone; UTC if it has none."""
    named = os.environ.get("TZ", "").removeprefix(":") or os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    try:
        return ZoneInfo(named).key
    except (KeyError, ValueError, OSError):
        return "UTC"


def _when(text: str, zone: ZoneInfo) -> float:
    if text == "now":
        return datetime.now().timestamp()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time such as 2026-11-22T02:00", param_hint="--start") from None
    return (at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()


def _first(start: str, at: str, zone: ZoneInfo) -> float:
    """From when a calendar counts: the start, or else today at midnight; at that time of day."""
    first = datetime.fromtimestamp(_when(start, zone), zone) if start else datetime.now(zone)
    try:
        hour = time.fromisoformat(at) if at else first.time() if start else time()
    except ValueError:
        raise typer.BadParameter(f"{at!r} is no time of day such as 02:00", param_hint="--at") from None
    return datetime.combine(first.date(), hour, zone).timestamp()


def _told(seconds: float) -> str:
    """A length of time for people, such as 1h30m."""
    left, told = round(seconds), ""
    for unit in "dhms":
        number, left = divmod(left, int(UNITS[unit]))
        told += f"{number}{unit}" if number else ""
    return told or f"{seconds:g}s"


def _how(window: wire.Window) -> str:
    if window.slack_s:
        return f"movable {_told(window.slack_s)}"
    return "hard" if window.hard else "soft"


def _whom(user: str, project: str) -> str:
    return f"{user} in {project}" if user and project else user or (f"project {project}" if project else "")


def timeline(windows: dict[str, list[wire.Window]], now_s: float) -> Sequence[str]:
    """The next 24 hours of each device in letters, one for half an hour, below the hours of the local clock."""
    now = datetime.fromtimestamp(now_s)
    start = now.replace(minute=0, second=0, microsecond=0)
    margin = max((len(name) for name in windows), default=0) + 2
    hours = "".join(f"{(start + timedelta(hours=n)):%H}".ljust(4) for n in range(0, 24, 2))
    lines = [" " * margin + hours.rstrip()]
    for name, mine in windows.items():
        cells = ["."] * CELLS
        for letter in "RCM":  # what closes the device covers what does not
            for window in mine:
                if window.kind[0].upper() == letter:
                    first_s, last_s = window.began_s or window.start_s, window.end_s
                    first = max(0, int((first_s - start.timestamp()) // CELL_S))
                    last = min(CELLS, int(-((start.timestamp() - last_s) // CELL_S)))
                    for cell in range(first, last):
                        cells[cell] = letter
        lines.append(name.ljust(margin) + "".join(cells))
    return [*lines, " " * margin + "C calibration, M maintenance, R reservation; a letter is half an hour"]


def add(parent: typer.Typer) -> None:
    parent.add_typer(app, name="window")

"""The panels of the pictures: each draws one thing into the axes that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from quarterdeck.simulator.metrics import Figures, delay_s
from quarterdeck.simulator.record import CAUSES, CLASSES, Record, SliceRecord, Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY, PALE = "#22303c", "#7b8794", "#e4e8ec"
SETUP = "#9aa5b1"
CLASS_COLOURS = {"production": "#0072b2", "test": "#e69f00", "development": "#009e73"}
"""Okabe and Ito's palette: told apart with every common kind of colour vision."""
CAUSE_COLOURS = {
    "working": "#0072b2", "setup": "#56b4e9", "overhead": "#a6dcf5", "lost": "#d55e00", "calibration": "#8d7bb5",
    "maintenance": "#6a5a94", "reservation": "#b8acd3", "fault": "#8c2d04", "blocked": "#f0c75e", "thinking": "#cfd6dc",
    "empty": "#eef1f3",
}  # fmt: skip
CAUSE_WORDS = {"setup": "set-up", "empty": "no work", "reservation": "reserved"}
POLICY_LINES = (
    ("#22303c", "-"), ("#d55e00", "-"), ("#cc79a7", "-"), ("#56b4e9", "-"), ("#6a3d9a", "-"), ("#999933", "-"),
    ("#22303c", "--"), ("#d55e00", "--"), ("#cc79a7", "--"), ("#56b4e9", "--"), ("#6a3d9a", "--"), ("#999933", "--"),
)  # fmt: skip
"""Policies get colours that no class has, and dashes from the seventh on."""
WINDOWS = ("calibration", "maintenance", "reservation", "fault")
TIMES = ((0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"), (21600, "6 h"),
         (86400, "1 d"), (7 * 86400, "1 wk"), (30 * 86400, "30 d"))  # fmt: skip


def gantt(axes: Axes, record: Record, begin_s: float, end_s: float) -> None:
    """Slices of each device between two times, coloured by class; set-ups hatched, windows shaded, lost work marked."""
    slices = [one for one in record.slices or () if one.end_s > begin_s and one.start_s < end_s]
    spans = [one for one in record.spans or () if one.end_s > begin_s and one.start_s < end_s and one.cause in WINDOWS]
    scale, unit = _unit(end_s - begin_s)

    def bars(row: int, times: Sequence[tuple[float, float]], height: float, **style: Any) -> None:
        cut = [(max(low, begin_s), min(high, end_s)) for low, high in times if high > begin_s and low < end_s]
        ranges = [((low - begin_s) / scale, (high - low) / scale) for low, high in cut]
        if ranges:
            axes.broken_barh(ranges, (row - height / 2, height), **{"linewidth": 0, **style})

    for row, device in enumerate(record.devices):
        for cause in WINDOWS:
            shaded = _merged([one for one in spans if (one.device, one.cause) == (device, cause)])
            bars(row, shaded, 0.9, facecolor=CAUSE_COLOURS[cause], alpha=0.28, zorder=1)
            for low, high in shaded:
                middle = (max(low, begin_s) + min(high, end_s)) / 2
                if min(high, end_s) - max(low, begin_s) > 0.065 * (end_s - begin_s):
                    axes.text((middle - begin_s) / scale, row, cause, ha="center", va="center", color=INK, size=8.5)
        mine = [one for one in slices if one.device == device]
        bars(row, [(one.start_s, _ready_s(one)) for one in mine if _ready_s(one) > one.start_s], 0.56,
             facecolor=SETUP, zorder=2)  # fmt: skip
        for name in CLASSES:
            good = [(_ready_s(one), one.end_s) for one in mine if one.class_ == name and one.state != "lost"]
            # A hair of white between slices, where there is room for it.
            hair = [0.5 if high - low > 0.004 * (end_s - begin_s) else 0.0 for low, high in good]
            bars(row, good, 0.56, facecolor=CLASS_COLOURS[name], edgecolor="white", linewidth=hair or 0.0, zorder=3)
        lost = [(one.start_s, one.end_s) for one in mine if one.state == "lost"]
        bars(row, lost, 0.56, facecolor="white", edgecolor=CAUSE_COLOURS["lost"], hatch="////", linewidth=1, zorder=4)
    axes.set(xlim=(0, (end_s - begin_s) / scale), ylim=(len(record.devices) - 0.5, -0.5))
    axes.set_yticks(range(len(record.devices)), record.devices)
    start = _elapsed(begin_s - record.begin_s)
    axes.set_xlabel(f"{unit}, from {start} after the start on" if start else f"{unit} from the start")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def excerpt(record: Record, slices: int = 110) -> tuple[float, float]:
    """A stretch of the run with about so many slices on each device around a window, the busiest of its kind."""
    starts = np.sort([one.start_s for one in record.slices or ()])
    span_s = record.end_s - record.begin_s
    length_s = span_s * min(1.0, slices * len(record.devices) / max(starts.size, 1))
    windows = [one for one in record.spans or () if one.cause in WINDOWS and one.start_s > record.begin_s + length_s]
    if windows:
        short_s = min(one.end_s - one.start_s for one in windows)
        length_s = min(span_s, max(length_s, 4 * short_s))
        windows = [one for one in windows if one.end_s - one.start_s < length_s / 3] or windows
    begins = [one.start_s - 0.45 * length_s for one in windows] or [record.begin_s + span_s / 3]
    begins_s = np.clip(begins, record.begin_s, record.end_s - length_s)
    counts = np.searchsorted(starts, begins_s + length_s) - np.searchsorted(starts, begins_s)
    begin_s = float(begins_s[int(np.argmax(counts))])
    return begin_s, begin_s + length_s


def waits(axes: Axes, records: Sequence[Record], class_: str) -> None:
    """How large a share of a class's jobs was delayed by more than so long, one line for each run; both axes log."""
    longest = 60.0
    for place, record in enumerate(records):
        colour, dashes = POLICY_LINES[place % len(POLICY_LINES)]
        if len(records) == 1:
            colour = CLASS_COLOURS[class_]
        found = np.sort([max(delay_s(job), 0.1) for job in record.jobs if job.class_ == class_])
        if not found.size:
            continue
        share = 1.0 - np.arange(found.size + 1) / found.size  # of the jobs, after none, one, two, ... of them
        axes.step([0.1, *found], share, where="post", color=colour, ls=dashes, linewidth=1.8, label=record.policy)
        longest = max(longest, float(found[-1]))
    axes.set(xscale="log", yscale="log", xlim=(1, longest * 1.3), ylim=(0.005, 1.15))
    ticks = [(at, text) for at, text in TIMES if 1 <= at <= longest * 1.3]
    if len(ticks) > 6:
        ticks = [tick for tick in ticks if tick[1] not in ("10 s", "10 min", "6 h")]
    axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.set_yticks([1, 0.5, 0.1, 0.05, 0.01], ["100 %", "50 %", "10 %", "5 %", "1 %"])
    axes.minorticks_off()
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("delay beyond the job's own work")


def causes(axes: Axes, rows: Sequence[tuple[str, dict[str, float]]]) -> None:
    """Stacked bars: what each row's time went to, in per cent."""
    left = np.zeros(len(rows))
    for cause in CAUSES:
        shares = np.array([100 * shares.get(cause, 0.0) for _, shares in rows])
        if shares.max(initial=0.0) < 0.2:
            continue  # it could not be seen
        colour = CAUSE_COLOURS[cause]
        word = CAUSE_WORDS.get(cause, cause)
        axes.barh(range(len(rows)), shares, left=left, height=0.66, color=colour, edgecolor="white", linewidth=0.8,
                  label=word)  # fmt: skip
        for row, share in enumerate(shares):
            if share >= 4.5:
                dark = cause in ("working", "calibration", "maintenance", "lost", "fault")
                axes.text(left[row] + share / 2, row, f"{share:.0f}", ha="center", va="center", size=8,
                          color="white" if dark else INK)  # fmt: skip
        left += shares
    axes.set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.6), xlabel="% of device time")
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def queue(axes: Axes, record: Record) -> float:
    """Jobs that have arrived and not ended, over time, stacked by class. Returns the most at any time."""
    scale, unit = _unit(record.end_s - record.begin_s)
    edges = np.linspace(record.begin_s, record.end_s, 600)
    layers = []
    for name in CLASSES:
        jobs = [job for job in record.jobs if job.class_ == name]
        arrivals = np.sort([job.arrival_s for job in jobs])
        ends = np.sort([job.end_s for job in jobs])
        layers.append(np.searchsorted(arrivals, edges, "right") - np.searchsorted(ends, edges, "right"))
    times = (edges - record.begin_s) / scale
    axes.stackplot(times, layers, colors=[CLASS_COLOURS[name] for name in CLASSES], linewidth=0, alpha=0.92)
    axes.set(xlim=(0, times[-1]), xlabel=f"{unit} from the start")
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    return float(np.sum(layers, axis=0).max(initial=0))


def slowdowns(axes: Axes, figures: Sequence[Figures]) -> None:
    """The 95th percentile of the bounded slowdown of each class, a row for each run, on a log axis."""
    for row, found in enumerate(figures):
        points = [(name, found.classes[name].p95) for name in CLASSES if name in found.classes]
        values = [value for _, value in points]
        axes.plot([min(values), max(values)], [row, row], color=PALE, linewidth=4, zorder=1, solid_capstyle="round")
        for name, value in points:
            axes.scatter(value, row, s=58, color=CLASS_COLOURS[name], zorder=3, edgecolor="white", linewidth=0.8)
    axes.set(xscale="log", ylim=(len(figures) - 0.4, -0.6))
    worst = max((of.p95 for found in figures for of in found.classes.values()), default=10.0)
    axes.set_xlim(0.93, max(3.0, worst * 1.4))
    ticks = [at for at in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20000) if at <= worst * 1.4]
    axes.set_xticks(ticks, [f"{at:,}" for at in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(figures)), [found.policy for found in figures])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("p95 bounded slowdown (1 = never waited)")


def _ready_s(one: SliceRecord) -> float:
    """When its first shot ran."""
    return min(one.end_s, one.start_s + one.setup_s + one.overhead_s)


def _merged(spans: Sequence[Span]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for one in sorted(spans, key=lambda span: span.start_s):
        if found and one.start_s <= found[-1][1] + 1e-6:
            found[-1] = found[-1][0], max(found[-1][1], one.end_s)
        else:
            found.append((one.start_s, one.end_s))
    return found


def _unit(span_s: float) -> tuple[float, str]:
    for limit_s, scale, unit in ((600, 1, "seconds"), (3 * 3600, 60, "minutes"), (4 * 86400, 3600, "hours")):
        if span_s <= limit_s:
            return scale, unit
    return 86400, "days"


def _elapsed(seconds: float) -> str:
    days, rest = divmod(round(seconds / 60), 1440)
    hours, minutes = divmod(rest, 60)
    return " ".join(f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if n)

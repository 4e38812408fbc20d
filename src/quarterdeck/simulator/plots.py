"""Pictures of one run, or of several policies on the same workload. Needs matplotlib (extra `plot`).

Same colours everywhere: classes and causes keep theirs from picture to picture, so that a legend is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from quarterdeck.simulator import panels
from quarterdeck.simulator.metrics import Figures
from quarterdeck.simulator.panels import CAUSE_COLOURS, CLASS_COLOURS, GREY, INK, POLICY_LINES, SETUP
from quarterdeck.simulator.record import CLASSES, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY,
    "axes.titlesize": 11.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 8,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.color": INK, "ytick.color": INK,
    "legend.frameon": False, "legend.fontsize": 9, "svg.fonttype": "none", "hatch.linewidth": 0.6,
}  # fmt: skip
PICTURES = ("summary", "gantt", "waits", "utilisation", "queue")


def write(
    directory: Path, records: Sequence[Record], figures: Sequence[Figures], title: str, suffix: str = "png"
) -> list[Path]:
    """Write each picture of `PICTURES` into a directory, made if need be; a Gantt only if slices were kept.

    `records` and `figures` belong together, one of each for a policy; `title` says what was simulated.
    """
    directory.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[], Figure]] = {
        "summary": lambda: summary(records, figures, title),
        "gantt": lambda: gantt(records, title),
        "waits": lambda: waits(records, title),
        "utilisation": lambda: utilisation(figures, title),
        "queue": lambda: queue(records, title),
    }
    if not any(record.slices for record in records):
        del makers["gantt"]
    written = []
    with rc_context(STYLE):
        for name, make in makers.items():
            figure = make()
            path = directory / f"{name}.{suffix}"
            figure.savefig(path, dpi=130)
            written.append(path)
    return written


def gantt(records: Sequence[Record], title: str) -> Figure:
    """Who ran when on each device, one block of rows for each policy; the same stretch of time for all."""
    records = [record for record in records if record.slices]
    begin_s, end_s = panels.excerpt(records[0])
    counts = [len(record.devices) for record in records]
    figure = _figure(12, 2.0 + 0.42 * sum(counts) + 0.5 * len(records), "Slices on each device", title)
    grid = _grid(figure, len(records), 1, counts, hspace=0.5 / (0.42 * sum(counts) / len(counts)), below=0.6)
    first: Axes | None = None
    for place, record in enumerate(records):
        axes = figure.add_subplot(grid[place, 0], sharex=first)
        first = first or axes
        panels.gantt(axes, record, begin_s, end_s)
        axes.set_title(record.policy)
        _only_last(axes, place == len(records) - 1)
    seen = [one for record in records for one in record.slices or () if one.end_s > begin_s and one.start_s < end_s]
    spans = [one for record in records for one in record.spans or () if one.end_s > begin_s and one.start_s < end_s]
    shown = {one.cause for one in spans}
    most_s = max((one.setup_s + one.overhead_s for one in seen), default=0.0)
    extra = [Patch(color=SETUP, label="set-up, overhead")] if most_s > 0.003 * (end_s - begin_s) else []
    extra += [Patch(color=CAUSE_COLOURS[cause], alpha=0.28, label=cause) for cause in panels.WINDOWS if cause in shown]
    if any(one.state == "lost" for one in seen):
        extra.append(Patch(facecolor="white", edgecolor=CAUSE_COLOURS["lost"], hatch="////", label="lost"))
    _legend(figure, [*_classes(records), *extra])
    return figure


def waits(records: Sequence[Record], title: str) -> Figure:
    """Delays by class: one panel for each class, one line for each policy."""
    present = _present(records)
    figure = _figure(max(6.0, 4.2 * len(present)), 4.9, "How long jobs are delayed", title)
    _waits(figure, _grid(figure, 1, len(present), below=0.65, wspace=0.12), 0, records, "{} jobs")
    _legend(figure, _policies(records))
    return figure


def utilisation(figures: Sequence[Figures], title: str) -> Figure:
    """What device time went to: a bar for each policy and, with several devices, for each device."""
    rows = []
    for found in figures:
        for device, shares in found.devices.items():
            rows.append((f"{found.policy}, {device}" if len(found.devices) > 1 else found.policy, shares))
    figure = _figure(11, 1.9 + 0.38 * len(rows), "What device time goes to", title)
    axes = figure.add_subplot(_grid(figure, 1, 1, below=0.6, left=0.2)[0, 0])
    panels.causes(axes, rows)
    _legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def queue(records: Sequence[Record], title: str) -> Figure:
    """Open jobs over time by class: a panel for each policy, all on the same scale."""
    figure = _figure(11, 2.0 + 1.45 * len(records), "Open jobs over time", title)
    grid = _grid(figure, len(records), 1, below=0.6, hspace=0.42)
    most = 1.0
    for place, record in enumerate(records):
        axes = figure.add_subplot(grid[place, 0])
        its = panels.queue(axes, record)
        axes.set_title(f"{record.policy} (at most {its:,.0f})")
        axes.set_ylabel("jobs")
        _only_last(axes, place == len(records) - 1)
        most = max(most, its)
    for axes in figure.axes:
        axes.set_ylim(0, most * 1.05)
    _legend(figure, _classes(records))
    return figure


def summary(records: Sequence[Record], figures: Sequence[Figures], title: str) -> Figure:
    """The answer on one page: slowdowns, utilisation, delays, the queue."""
    bars = 0.3 * len(figures)
    height = 8.9 + bars
    figure = _figure(14, height, "Policies compared" if len(records) > 1 else f"Policy {records[0].policy}", title)
    grid = figure.add_gridspec(
        3, 1, height_ratios=[0.5 + bars, 2.6, 1.5], left=0.075, right=0.98, top=1 - 1.65 / height, bottom=0.6 / height,
        hspace=0.62,
    )  # fmt: skip
    top = grid[0].subgridspec(1, 2, wspace=0.2)
    key: dict[str, Any] = {
        "loc": "lower left", "bbox_to_anchor": (-0.01, 0.99), "handlelength": 0.9, "columnspacing": 1.0,
        "handletextpad": 0.4, "borderaxespad": 0.1, "fontsize": 8.5,
    }  # fmt: skip
    axes = figure.add_subplot(top[0])
    panels.slowdowns(axes, figures)
    axes.set_title("How much longer jobs take than their own work", pad=24)
    axes.legend(handles=_classes(records), ncols=3, **key)
    axes = figure.add_subplot(top[1])
    panels.causes(axes, [(found.policy, found.utilisation) for found in figures])
    axes.set_title("What device time goes to", pad=24)
    axes.legend(ncols=len(axes.get_legend_handles_labels()[0]), **key)
    _waits(figure, grid[1].subgridspec(1, len(_present(records)), wspace=0.12), 0, records, "Delays of {} jobs")
    if len(records) > 1:
        figure.axes[-1].legend(handles=_policies(records), loc="lower left", fontsize=8.5, handlelength=1.6)
    shown = [0, len(records) - 1] if len(records) > 1 else [0]
    row = grid[2].subgridspec(1, len(shown), wspace=0.12)
    pair = [figure.add_subplot(row[place]) for place in range(len(shown))]
    most = max(panels.queue(axes, records[index]) for axes, index in zip(pair, shown, strict=True))
    for axes, index in zip(pair, shown, strict=True):
        axes.set_title(f"Open jobs by class, {records[index].policy}")
        axes.set_ylim(0, max(1.0, most) * 1.05)
    pair[0].set_ylabel("jobs")
    return figure


# -- what the pictures share ----------------------------------------------------------------------------------------


def _figure(width: float, height: float, title: str, subtitle: str) -> Figure:
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.2 / width, 1 - 0.36 / height, title, size=16, weight="bold", va="center")
    figure.text(0.2 / width, 1 - 0.66 / height, subtitle, size=10, color=GREY, va="center")
    return figure


def _grid(
    figure: Figure, rows: int, columns: int, heights: Sequence[float] | None = None, *, below: float = 0.5,
    left: float = 0.09, hspace: float = 0.3, wspace: float = 0.2,
) -> Any:  # fmt: skip
    """A grid below the titles and the legend; `below` is the room under it in inches."""
    height = figure.get_size_inches()[1]
    return figure.add_gridspec(
        rows, columns, height_ratios=heights, left=left, right=0.98, top=1 - 1.5 / height, bottom=below / height,
        hspace=hspace, wspace=wspace,
    )  # fmt: skip


def _legend(figure: Figure, handles: Sequence[Any]) -> None:
    width, height = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0.1 / width, 1 - 0.95 / height), ncols=len(handles),
        handlelength=1.0, handletextpad=0.5, columnspacing=1.3,
    )  # fmt: skip


def _present(records: Sequence[Record]) -> list[str]:
    there = {job.class_ for record in records for job in record.jobs}
    return [name for name in CLASSES if name in there]


def _classes(records: Sequence[Record]) -> list[Patch]:
    return [Patch(color=CLASS_COLOURS[name], label=name) for name in _present(records)]


def _policies(records: Sequence[Record]) -> list[Line2D]:
    lines = [POLICY_LINES[place % len(POLICY_LINES)] for place in range(len(records))]
    return [
        Line2D([], [], color=colour, ls=dashes, linewidth=2, label=record.policy)
        for (colour, dashes), record in zip(lines, records, strict=True)
    ]


def _waits(figure: Figure, grid: Any, row: int, records: Sequence[Record], title: str) -> None:
    first: Axes | None = None
    for place, name in enumerate(_present(records)):
        axes = figure.add_subplot(grid[row, place], sharey=first)
        first = first or axes
        panels.waits(axes, records, name)
        axes.set_title(title.format(name))
        if place:
            axes.tick_params(axis="y", labelleft=False, length=0)
        else:
            axes.set_ylabel("jobs delayed by more")


def _only_last(axes: Axes, last: bool) -> None:
    """Label the time below the last of several panels only."""
    if not last:
        axes.set_xlabel("")
        axes.tick_params(axis="x", labelbottom=False)

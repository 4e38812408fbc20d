"""One picture of the whole job: the graph with its set, the convergence, the pulses, the measured bitstrings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quarterdeck.demo.ansatz import Ansatz
from quarterdeck.demo.solver import Counts, Search

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY, PALE = "#1b2a41", "#8795a8", "#c3cedb"
CORAL, TEAL = "#e4572e", "#17807e"
BARS = 12
"""Bitstrings shown in the histogram."""


def draw(
    path: Path, ansatz: Ansatz, search: Search, before: Counts, after: Counts, *, device: str, emulated: bool
) -> None:
    """Write the picture to `path`; its suffix (.png, .svg, .pdf) chooses the format.

    Args:
        before: Histogram of the untuned pulse.
        after: Histogram of the best pulse.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
        "axes.edgecolor": GREY, "axes.titlesize": 12, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "axes.titlepad": 10, "axes.spines.top": False, "axes.spines.right": False, "xtick.color": INK,
        "ytick.color": INK, "legend.frameon": False, "legend.fontsize": 9, "svg.fonttype": "none",
    }  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(14, 8.4), dpi=130, facecolor="white")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(
            2, 3, width_ratios=[1.35, 1, 1], left=0.03, right=0.975, top=0.84, bottom=0.14, wspace=0.26, hspace=0.48
        )
        _graph(figure.add_subplot(grid[:, 0]), ansatz, search)
        _convergence(figure.add_subplot(grid[0, 1]), ansatz, search)
        _pulses(figure.add_subplot(grid[0, 2]), ansatz, search)
        _histogram(figure.add_subplot(grid[1, 1:]), ansatz, before, after)
        what = "emulated " if emulated else ""
        figure.text(0.03, 0.945, "Maximum independent set on neutral atoms", size=20, weight="bold")
        figure.text(
            0.03,
            0.905,
            f"A hybrid job: {search.rounds} rounds, {len(search.trials)} tasks on the {what}QPU {device}",
            size=12,
            color=GREY,
        )
        if emulated:
            figure.text(
                0.975, 0.945, "EMULATED", size=11, weight="bold", color="white", ha="right",
                bbox={"boxstyle": "round,pad=0.45", "facecolor": CORAL, "edgecolor": "none"},
            )  # fmt: skip
        figure.savefig(path)


def _graph(axes: Axes, ansatz: Ansatz, search: Search) -> None:
    from matplotlib.patches import Circle

    graph, found = ansatz.graph, search.best_set
    points = np.array(graph.points_um)
    inside = [vertex for vertex in range(len(points)) if found[vertex : vertex + 1] == "1"]
    for vertex in inside:
        axes.add_patch(Circle(tuple(points[vertex]), graph.radius_um / 2, facecolor=CORAL, alpha=0.13, linewidth=0))
    for a, b in graph.edges:
        axes.plot(*points[[a, b]].T, color=GREY, linewidth=2.2, zorder=1, solid_capstyle="round")
    for vertex, (x, y) in enumerate(points):
        chosen = vertex in inside
        face, edge, text = (CORAL, CORAL, "white") if chosen else ("white", INK, INK)
        axes.scatter(x, y, s=640 if chosen else 520, facecolor=face, edgecolor=edge, linewidth=2, zorder=2)
        axes.text(x, y, str(vertex), ha="center", va="center", color=text, weight="bold", zorder=3)
    low, high = points.min(axis=0), points.max(axis=0)
    room = graph.radius_um / 2 + 0.4
    low, high = points.min(axis=0) - room - [0, 1.2], points.max(axis=0) + room
    box = axes.get_window_extent()
    half = np.array([box.width, box.height]) / 2 * max((high - low) / [box.width, box.height])
    (left, bottom), (right, top) = (low + high) / 2 - half, (low + high) / 2 + half
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.axis("off")
    axes.plot([left, left + 5], [bottom + 0.3] * 2, color=INK, linewidth=3, solid_capstyle="butt")
    axes.text(left + 5.4, bottom + 0.3, "5 µm", va="center", size=9)
    size = found.count("1")
    verdict = "the optimum" if size == graph.optimum else f"the optimum has {graph.optimum}"
    axes.set_title(f"{len(points)} atoms, {len(graph.edges)} edges: a set of {size}, {verdict}")
    axes.text(
        0.0, -0.02,
        "Orange atoms form the set. Atoms within the blockade radius share an edge:\nno two of the set may.",
        transform=axes.transAxes, va="top", size=9, color=GREY,
    )  # fmt: skip


def _convergence(axes: Axes, ansatz: Ansatz, search: Search) -> None:
    numbers = np.arange(1, search.rounds + 1)
    axes.scatter(
        [trial.round for trial in search.trials], [trial.cost for trial in search.trials],
        s=18, color=GREY, alpha=0.55, linewidth=0, label="each task",
    )  # fmt: skip
    best = np.minimum.accumulate([search.best_of_round(int(number)).cost for number in numbers])
    axes.plot(numbers, best, color=TEAL, linewidth=2.4, label="best so far")
    untuned = search.trials[0].cost
    axes.scatter(1, untuned, s=44, facecolor="white", edgecolor=CORAL, linewidth=2, zorder=3, label="untuned pulse")
    optimum = -ansatz.graph.optimum
    axes.axhline(optimum, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(search.rounds, optimum, "exact optimum ", va="top", ha="right", size=9)
    axes.set(xlabel="round", ylabel="mean cost of a shot", title="Convergence")
    top = max(min(0.0, max(trial.cost for trial in search.trials)), float(best[0])) + 0.25
    axes.set_ylim(optimum - 0.45, top)
    axes.locator_params(axis="x", integer=True)
    axes.legend(loc="upper right")


def _pulses(axes: Axes, ansatz: Ansatz, search: Search) -> None:
    for trial, style, alpha, label in (
        (search.trials[0], (0, (3, 2)), 0.55, "untuned"),
        (search.best, "-", 1.0, "tuned"),
    ):
        times, amplitude, detuning = ansatz.curves(trial.values)
        axes.plot(times, amplitude, color=CORAL, linestyle=style, alpha=alpha, linewidth=2, label=f"amplitude, {label}")
        axes.plot(times, detuning, color=TEAL, linestyle=style, alpha=alpha, linewidth=2, label=f"detuning, {label}")
    axes.axhline(0, color=PALE, linewidth=1, zorder=0)
    axes.set(xlabel="time (µs)", ylabel="rad/µs", title="Pulse", xlim=(0, times[-1]))
    axes.legend(loc="lower right", handlelength=2.2)


def _histogram(axes: Axes, ansatz: Ansatz, before: Counts, after: Counts) -> None:
    graph = ansatz.graph
    shares = [{bits: n / sum(counts.values()) for bits, n in counts.items()} for counts in (before, after)]
    order = sorted(set(before) | set(after), key=lambda bits: -max(shares[0].get(bits, 0), shares[1].get(bits, 0)))
    shown = sorted(order[:BARS], key=lambda bits: (-shares[1].get(bits, 0), -shares[0].get(bits, 0)))
    places = np.arange(len(shown))
    for share, offset, colour, label in (
        (shares[0], -0.2, PALE, "untuned pulse"),
        (shares[1], 0.2, TEAL, "tuned pulse"),
    ):
        heights = [100 * share.get(bits, 0) for bits in shown]
        bars = axes.bar(places + offset, heights, width=0.38, color=colour, label=label)
        axes.bar_label(bars, [f"{h:.1f}" if h >= 0.5 else "" for h in heights], size=8, padding=1.5)
    axes.set_xticks(places, shown, rotation=35, ha="right", family="DejaVu Sans Mono", size=9)
    for tick, bits in zip(axes.get_xticklabels(), shown, strict=True):
        if bits in graph.optima:
            tick.set_color(CORAL)
            tick.set_fontweight("bold")
        elif not graph.independent(bits):
            tick.set_color(GREY)
    axes.margins(y=0.12)
    axes.set(ylabel="% of the shots", title=f"The {len(shown)} most frequent bitstrings")
    axes.legend(loc="upper right", title="orange: a maximum independent set, grey: not independent", title_fontsize=9)

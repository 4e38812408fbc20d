"""What the user sees while it runs, and at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quarterdeck import wire
from quarterdeck.client import TaskHandle
from quarterdeck.demo.ansatz import Ansatz
from quarterdeck.demo.job import Options, Outcome
from quarterdeck.demo.solver import Search
from quarterdeck.errors import QuarterdeckError

COLOURS = {"queued": "grey62", "running": "cyan", "cancelling": "yellow", "done": "green", "failed": "red"}


def members(bits: str) -> str:
    """The vertices of a set, such as `{0, 2, 5}`."""
    return "{" + ", ".join(str(vertex) for vertex, bit in enumerate(bits) if bit == "1") + "}"


class Screen:
    """A live table on a terminal; one line a round anywhere else."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._began_s = time.monotonic()
        self._search = Search()
        self._ansatz: Ansatz | None = None
        self._options = Options(device="")
        self._emulated = True

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def begin(self, ansatz: Ansatz, device: wire.Device, options: Options) -> None:
        self._ansatz, self._options, self._emulated = ansatz, options, device.emulated
        graph = ansatz.graph
        kind = "emulated" if device.emulated else "real"
        self.say(
            f"Largest independent set of a unit-disk graph of {len(graph.points_um)} atoms and {len(graph.edges)} edges"
            f" on [bold]{device.name}[/] ({kind} {device.modality} QPU)"
        )
        self.say(
            f"{options.rounds} rounds of {options.pulses} tasks, {options.shots} shots each; one program, uploaded once"
        )

    def tasks(self, what: str, tasks: Sequence[TaskHandle]) -> None:
        if self._live is not None:
            self._live.update(self._table(what, tasks))

    def round_over(self, search: Search) -> None:
        self._search = search
        if self._live is None and self._ansatz is not None:
            size = search.best_set.count("1")
            self.say(
                f"round {search.rounds:2}/{self._options.rounds}  cost {search.best_of_round(search.rounds).cost:6.3f}"
                f"  best {search.best.cost:6.3f}  set of {size} {members(search.best_set)}"
                f"  {time.monotonic() - self._began_s:5.1f} s"
            )

    def _table(self, what: str, tasks: Sequence[TaskHandle]) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="grey62")
        for name in ("task", "state", "ahead", "slices", "shots", ""):
            right = name in ("ahead", "slices", "shots")
            table.add_column(name, justify="right" if right else "left", min_width=10 if name == "state" else 5)
        for task in tasks:
            info, ahead = task.info, ""
            if info.state == "queued":
                try:
                    why = task.why()
                    ahead = str(why.position) if why.position >= 0 else ""
                    if why.state == "running":  # it began since it was last heard of
                        info = task.refresh()
                except QuarterdeckError:
                    pass  # only decoration
            table.add_row(
                info.id,
                Text(info.state, style=COLOURS.get(info.state, "")),
                ahead,
                str(info.slices),
                f"{info.shots_done}/{info.shots}",
                ProgressBar(total=info.shots, completed=info.shots_done, width=24),
            )
        search = self._search
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(what, style="bold"), ProgressBar(total=self._options.rounds, completed=search.rounds, width=40)
        )
        if search.trials and self._ansatz is not None:
            head.add_row("cost", f"{search.trials[0].cost:.3f} untuned, {search.best.cost:.3f} best so far")
            head.add_row("set", f"{search.best_set.count('1')} vertices {members(search.best_set)}")
        head.add_row("time", f"{time.monotonic() - self._began_s:.0f} s")
        title = f"{self._options.device}{' (emulated)' if self._emulated else ''}"
        return Panel(Group(head, Text(), table), title=title, title_align="left", border_style="grey42", expand=False)

    def finish(self, outcome: Outcome) -> None:
        """The result beside the exact optimum, in plain words."""
        before, after = outcome.before, outcome.after
        table = Table(box=None, pad_edge=False, header_style="grey62")
        for name in ("", "vertices", "set", "bitstring"):
            table.add_column(name, justify="right" if name == "vertices" else "left")
        table.add_row("found", str(outcome.size), members(outcome.found), outcome.found)
        exact = outcome.exact["sets"]
        more = f" (and {len(exact) - 1} more)" if len(exact) > 1 else ""
        shown = outcome.found if outcome.found in exact else exact[0]
        table.add_row("exact optimum", str(outcome.exact["size"]), members(shown) + more, shown)
        self.console.print()
        self.console.print(table)
        self.console.print()
        label = "emulated" if outcome.emulated else "measured"
        self.say(
            f"Shots that are an optimum ({label}): {before['share_of_optima']:.1%} with the untuned pulse,"
            f" {after['share_of_optima']:.1%} with the tuned one ({before['shots']} shots each)."
        )
        self.say(
            f"Mean cost: {before['cost']:.3f} before, {after['cost']:.3f} after; {-outcome.exact['size']} is ideal."
        )
        if not outcome.valid:
            self.say("[red]No independent set was measured.[/]")
        elif outcome.optimal:
            where = f"first seen in round {outcome.found_in_round}" if outcome.found_in_round else "seen at the end"
            self.say(f"[green]The optimum was found[/] ({where}).")
        else:
            short = outcome.exact["size"] - outcome.size
            self.say(f"[yellow]A valid set, but {short} short of the optimum.[/]")
        if after["cost"] >= before["cost"]:
            self.say("[yellow]Tuning did not improve the pulse.[/]")
        seconds = time.monotonic() - self._began_s
        self.say(f"{outcome.tasks} tasks, {outcome.shots} shots in {seconds:.0f} s. Picture: {outcome.picture}")

"""Tables of the benches' pages."""

from __future__ import annotations

__all__ = ["table"]


def table(names: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [names, ["---"] * len(names), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]

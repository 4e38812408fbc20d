"""Editing Slurm's own text files so that it can be taken back: pure functions from text to text.

What we add stands between two marks. A line of the site's that has to give way stays as a comment that begins with
`#quarterdeck# `, and a line that replaces it ends with `# quarterdeck`. `strip` restores the file to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from quarterdeck.errors import Invalid

BEGIN, END = ">>> quarterdeck: written by `qdeck slurm install`", "<<< quarterdeck"
KEPT, OURS = "#quarterdeck# ", " # quarterdeck"
LISTS = ("GresTypes", "JobSubmitPlugins", "AccountingStorageTRES")


def strip(text: str, comment: str = "#") -> str:
    """The file without us."""
    text = re.sub(
        rf"^{re.escape(f'{comment} {BEGIN}')}\n.*?^{re.escape(f'{comment} {END}')}\n", "", text, flags=re.M | re.S
    )
    lines = [line for line in text.splitlines(keepends=True) if not line.rstrip("\n").endswith(OURS)]
    return "".join(line.removeprefix(KEPT) for line in lines)


def block(lines: Sequence[str], comment: str = "#") -> str:
    """Lines between our marks."""
    return "".join(f"{line}\n" for line in (f"{comment} {BEGIN}", *lines, f"{comment} {END}"))


def append(text: str, lines: Sequence[str]) -> str:
    """The file with our block at its end, in place of the one that it has. Without lines: without us."""
    bare = strip(text)
    if not lines:
        return bare
    return (bare if not bare or bare.endswith("\n") else bare + "\n") + block(lines)


def value(text: str, key: str) -> str:
    """The last value of a key in the site's own lines; empty if it has none."""
    found = [match[1].strip() for line in text.splitlines() if (match := _key(key).match(line))]
    return found[-1].partition("#")[0].strip() if found else ""


def slurm_conf(text: str, settings: Mapping[str, str], nodes: Mapping[str, str]) -> str:
    """slurm.conf with these settings, and with this `Gres` added to nodes. A list's values are added to the site's.

    Raises `Invalid` for a node that has no line of its own.
    """
    bare = strip(text)
    lines = bare.splitlines()
    ours = []
    for key, wanted in settings.items():
        if key in LISTS:
            parts = [part for part in value(bare, key).split(",") if part]
            wanted = ",".join([*parts, *(part for part in wanted.split(",") if part not in parts)])
        lines = [KEPT + line if _key(key).match(line) else line for line in lines]
        ours.append(f"{key}={wanted}")
    for node, gres in nodes.items():
        lines = _with_gres(lines, node, gres)
    return "".join(f"{line}\n" for line in lines) + block(ours)


def _with_gres(lines: Sequence[str], node: str, gres: str) -> list[str]:
    changed: list[str] = []
    found = False
    for line in lines:
        match = re.match(r"\s*NodeName=(\S+)", line, re.IGNORECASE)
        if match is None or match[1] != node:
            changed.append(line)
            continue
        if line.rstrip().endswith("\\"):
            raise Invalid(f"NodeName={node}", "is continued on the next line; write it in one line")
        found = True
        bare = line.partition("#")[0].rstrip()
        has = re.search(r"\bGres=(\S+)", bare, re.IGNORECASE)
        new = bare.replace(has[0], f"Gres={has[1]},{gres}") if has else f"{bare} Gres={gres}"
        changed += [KEPT + line, new + OURS]
    if not found:
        raise Invalid(
            f"NodeName={node}", "has no line of its own in slurm.conf; give the node that has the QPUs one, and name "
            "it in --node as it stands there",
        )  # fmt: skip
    return changed


def job_submit(text: str, lines: Sequence[str]) -> str:
    """job_submit.lua with our block before its last `return`, where the site's functions are known."""
    bare = strip(text, "--")
    if not lines:
        return bare
    rows = bare.splitlines(keepends=True)
    last = next((i for i in range(len(rows) - 1, -1, -1) if rows[i].strip()), len(rows))
    at = last if last < len(rows) and re.match(r"return\b", rows[last]) else len(rows)
    if at and not rows[at - 1].endswith("\n"):
        rows[at - 1] += "\n"
    return "".join([*rows[:at], block(lines, "--"), *rows[at:]])


def _key(key: str) -> re.Pattern[str]:
    return re.compile(rf"\s*{key}\s*=\s*(.*)$", re.IGNORECASE)

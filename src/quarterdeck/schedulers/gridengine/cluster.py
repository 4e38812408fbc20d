"""Grid Engine's own commands, each bounded in time: a client of a dead qmaster blocks."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from quarterdeck.errors import Unavailable
from quarterdeck.schedulers.gridengine.request import pairs
from quarterdeck.schedulers.gridengine.site import Site

DEBIAN = Path("/usr/lib/gridengine")
CONTROLS = {code: None for code in range(32) if code not in (9, 10, 13)}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `qstat`. `task` is a number, a range (waiting array tasks), or empty; `queue` is empty if it waits."""

    number: str
    task: str
    owner: str
    state: str
    queue: str
    resources: dict[str, str]

    @property
    def live(self) -> bool:
        """It is at a host: being started, running, suspended, or on its way out."""
        return bool(self.queue) or any(letter in self.state for letter in "rtsST")

    @property
    def waits(self) -> bool:
        return not self.live and "q" in self.state and "E" not in self.state


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What `qstat -j` says of one job. `walltime_s` is None if it asked for none."""

    owner: str
    resources: dict[str, str]
    context: dict[str, str]
    project: str
    walltime_s: float | None


class Cluster:
    """One Grid Engine, as its site's file describes it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        path = os.pathsep.join(filter(None, [site.binaries, "/usr/local/bin:/usr/bin:/bin:/usr/sbin"]))
        told = {"SGE_ROOT": site.root, "SGE_CELL": site.cell, "SGE_QMASTER_PORT": site.qmaster_port,
                "SGE_EXECD_PORT": site.execd_port, "PATH": path, "LC_ALL": "C", "SGE_SINGLE_LINE": "1"}  # fmt: skip
        self._environ = {name: value for name, value in told.items() if value}  # a job's own must not get here

    def run(self, *words: str) -> str:
        """A command's standard output. Raises `Unavailable` with its last words if it fails, blocks or is not there."""
        try:
            done = subprocess.run(
                words, env=self._environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=self._site.client_s,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            why = f"{words[0]} did not answer within {self._site.client_s:g} s; is sge_qmaster running?"
            raise Unavailable("Grid Engine", why, 10.0) from None
        except OSError as error:
            raise Unavailable("Grid Engine", f"{words[0]}: {error.strerror}; set binaries in the file", 0.0) from None
        text = done.stdout.decode(errors="replace")
        if done.returncode:
            said = (done.stderr.decode(errors="replace") + text).strip().replace("\n", " ")
            raise Unavailable("Grid Engine", f"{' '.join(words)}: {said or f'ended with {done.returncode}'}", 0.0)
        return text

    def put(self, option: str, text: str, name: str = "qdeck") -> str:
        """`qconf OPTION FILE` with this text; some options take the object's name from the file's."""
        with tempfile.TemporaryDirectory(prefix="qdeck-") as directory:
            file = Path(directory) / name
            file.write_text(text)
            return self.run("qconf", option, str(file))

    def rows(self) -> list[Row]:
        """Every job, and every running task of an array."""
        rows = []
        for job in _parse(self.run("qstat", "-u", "*", "-r", "-xml")).iter("job_list"):
            wanted = {each.get("name", ""): each.text or "" for each in job.iter("hard_request")}
            rows.append(
                Row(
                    number=_text(job, "JB_job_number"), task=_text(job, "tasks"), owner=_text(job, "JB_owner"),
                    state=_text(job, "state"), queue=_text(job, "queue_name").split("@")[0], resources=wanted,
                )
            )  # fmt: skip
        return rows

    def job(self, number: str) -> Job:
        """One job. Raises `Unavailable` if there is none, too."""
        for told in self._details([number]):
            requests = list(told.iterfind("JB_hard_resource_list/qstat_l_requests"))
            walltime = [_text(each, "CE_doubleval") for each in requests if _text(each, "CE_name") == "h_rt"]
            return Job(
                owner=_text(told, "JB_owner"), project=_text(told, "JB_project"), context=_context(told),
                resources={_text(each, "CE_name"): _text(each, "CE_stringval") for each in requests},
                walltime_s=float(walltime[0]) if walltime else None,
            )  # fmt: skip
        raise Unavailable("Grid Engine", f"there is no job {number} now", 0.0)

    def contexts(self, numbers: list[str]) -> dict[str, dict[str, str]]:
        """The contexts of several jobs."""
        return {_text(told, "JB_job_number"): _context(told) for told in self._details(numbers)}

    def _details(self, numbers: list[str]) -> Iterator[ElementTree.Element]:
        if numbers:
            told = _parse(self.run("qstat", "-j", ",".join(numbers), "-xml"))
            yield from (each for each in told.iterfind("djob_info/element") if each.find("JB_job_number") is not None)

    def values(self, kind: str, name: str) -> dict[str, str]:
        """`complex_values` of a host (`qconf -se`) or a queue (`qconf -sq`)."""
        return values(self.run("qconf", kind, name))

    def set_values(self, kind: str, name: str, values: dict[str, str]) -> None:
        """Set some of the `complex_values` of an exechost or a queue, and leave the others."""
        self.run("qconf", "-mattr", kind, "complex_values", ",".join(f"{k}={v}" for k, v in values.items()), name)

    def drop_values(self, kind: str, name: str, values: dict[str, str]) -> None:
        """Take some away: qconf wants to read their values, too."""
        self.run("qconf", "-dattr", kind, "complex_values", ",".join(f"{k}={v}" for k, v in values.items()), name)

    def tell(self, number: str, name: str, sentence: str) -> None:
        """Put a sentence where the user reads it: the job's context, in `qstat -j`."""
        self.run("qalter", "-ac", f"{name}={plain(sentence)}", number)

    def untell(self, number: str, name: str) -> None:
        """Take it away."""
        self.run("qalter", "-dc", name, number)


def binaries() -> str:
    """The directory of Grid Engine's commands on this host; empty if it is nowhere to be seen.

    Debian's in /usr/bin are shell scripts around these, which take 0.07 s each, and up to ten times that under load.
    """
    if (DEBIAN / "qstat").exists():
        return str(DEBIAN)
    found = shutil.which("qstat")
    return str(Path(found).parent) if found else ""


def plain(sentence: str) -> str:
    """Without what ends a context's value, or a line."""
    return " ".join(sentence.replace(",", ";").split())


def values(text: str) -> dict[str, str]:
    """The `complex_values` of an object that qconf showed."""
    return pairs(fields(text).get("complex_values", "NONE").replace(" ", "").removeprefix("NONE"))


def fields(text: str) -> dict[str, str]:
    """`name value` lines, as qconf shows objects; a backslash at the end of a line continues it."""
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        name, _, value = line.partition(" ")
        if name:
            found[name] = " ".join(value.split())
    return found


def seconds(text: str) -> float | None:
    """A time as in `-l h_rt=1:30:00` or `=90`; None for INFINITY, nothing, and what is none."""
    try:
        parts = [float(part or 0) for part in text.split(":")]
    except ValueError:
        return None
    if not text or len(parts) > 3 or float("inf") in parts:
        return None
    return sum(part * 60.0**place for place, part in enumerate(reversed(parts)))


def _parse(text: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text.translate(CONTROLS))
    except ElementTree.ParseError as error:
        raise Unavailable("Grid Engine", f"qstat's XML cannot be read: {error}", 0.0) from None


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _context(told: ElementTree.Element) -> dict[str, str]:
    return {_text(each, "VA_variable"): _text(each, "VA_value") for each in told.iterfind("JB_context/context_list")}


def words(text: str) -> list[str]:
    """The names that a qconf list command prints, one a line."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def number(text: str | None) -> float | None:
    """A resource's value as a number, however Grid Engine writes it; None for what is none."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None

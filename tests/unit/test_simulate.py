"""`qdeck simulate`: the tables, pictures and QStone rows of runs, and the command itself."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from quarterdeck.simulator import qstone_rows, table
from quarterdeck.simulator.metrics import measure
from quarterdeck.simulator.record import CLASSES, EtaRecord, JobRecord, Record, SliceRecord, Span


def record(policy: str = "fifo", jobs: int = 60, devices: tuple[str, ...] = ("a", "b"), seed: int = 1) -> Record:
    """A run that never was: each device in turn runs one round after the other, with a window in between."""
    draw = random.Random(seed)
    at_s = dict.fromkeys(devices, 0.0)
    done, slices, spans = [], [], []
    for number in range(jobs):
        device, class_ = devices[number % len(devices)], draw.choice(CLASSES)
        begin_s = at_s[device] if number % 20 else at_s[device] + 60.0
        if number % 20 == 0:
            spans.append(Span(device=device, start_s=begin_s - 60.0, end_s=begin_s, cause="calibration"))
        seconds = draw.uniform(3, 40)
        slices.append(
            SliceRecord(
                device=device, job=number, task=f"t{number}", class_=class_, user=f"u{number % 5}", start_s=begin_s,
                end_s=begin_s + seconds, setup_s=1.0, overhead_s=0.1, shots=100,
                state="lost" if number % 17 == 16 else "finished",
            )
        )  # fmt: skip
        at_s[device] = begin_s + seconds
        done.append(
            JobRecord(
                job=number, user=f"u{number % 5}", project="p", class_=class_, arrival_s=max(0.0, begin_s - 200.0),
                end_s=at_s[device] + 5, work_s=seconds + 5, quantum_s=seconds, rounds=1,
            )
        )  # fmt: skip
    end_s = max(at_s.values()) + 5
    busy: dict[str, Any] = {name: {"working": at_s[name], "empty": end_s - at_s[name]} for name in devices}
    etas = [EtaRecord(estimate_s=10, actual_s=12, class_="test")]
    return Record(policy=policy, devices=list(devices), end_s=end_s, jobs=done, slices=slices, busy=busy, spans=spans,
                  etas=etas)  # fmt: skip


def test_tables_have_a_row_for_each_policy_and_class() -> None:
    figures = [measure(record(policy, seed=seed)) for seed, policy in enumerate(["fifo", "deck"])]
    out = StringIO()
    table.show(figures, Console(file=out, width=160), "what was run")
    text = out.getvalue()
    assert "what was run" in text
    for name in (*CLASSES, "fifo", "deck", "p99", "working", "Jain", "ETA off by"):
        assert name in text
    assert "deadlines met" not in text, "no column for what no job has"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0, "0.0 s"), (59, "59.0 s"), (90, "1.5 min"), (5400, "1.5 h"), (172800, "2.0 d")]
)
def test_durations(seconds: float, told: str) -> None:
    assert table.duration(seconds) == told


def test_numbers_have_three_digits() -> None:
    assert [table.number(value) for value in (0.1234, 1.234, 12.34, 123.4, 12345.6)] == [
        "0.12", "1.23", "12.3", "123", "12,346",
    ]  # fmt: skip


@pytest.mark.parametrize("policies", [["fifo"], ["fifo", "deck", "sjf"]], ids=len)
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_pictures_are_made_and_not_blank(policies: list[str], suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    from quarterdeck.simulator import plots

    records = [record(policy, seed=seed) for seed, policy in enumerate(policies)]
    written = plots.write(tmp_path / "made", records, [measure(one) for one in records], "a title", suffix)
    assert [path.name for path in written] == [f"{name}.{suffix}" for name in plots.PICTURES]
    for path in written:
        if suffix == "png":
            pixels = imread(path)[..., :3]
            ink = (pixels < 0.98).any(axis=-1)
            assert 0.03 < ink.mean() < 0.9, f"{path.name} is blank, or black"
            assert len({tuple(colour) for colour in pixels[::3, ::3].reshape(-1, 3).round(2)}) > 8
        else:
            text = path.read_text(encoding="utf-8")
            assert "a title" in text and (path.stem == "queue" or policies[-1] in text)
    assert not [path for path in (tmp_path / "made").iterdir() if path not in written]


def test_no_gantt_without_slices(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from quarterdeck.simulator import plots

    one = record()
    one.slices = one.spans = None
    written = plots.write(tmp_path, [one], [measure(one)], "a title")
    assert "gantt.png" not in [path.name for path in written] and len(written) == 4


def test_the_excerpt_has_a_window_in_it_and_lies_in_the_run() -> None:
    pytest.importorskip("matplotlib")
    from quarterdeck.simulator.panels import excerpt

    long = record(jobs=2000)
    begin_s, end_s = excerpt(long, 50)
    assert 0 <= begin_s < end_s <= long.end_s
    seen = [one for one in long.slices or () if one.end_s > begin_s and one.start_s < end_s]
    assert 60 < len(seen) < 250, "about 50 slices on each of two devices, or what is around a window"
    assert any(one.start_s < end_s and one.end_s > begin_s for one in long.spans or ())
    assert excerpt(record(jobs=10)) == (0.0, record(jobs=10).end_s)


def test_qstone_rows_are_what_its_reader_takes(tmp_path: Path) -> None:
    one = record()
    written = qstone_rows.write(tmp_path, one)
    assert {path.parent.name for path in written} == {"fifo"} and len(written) == 5, "a file for each user"
    rows = [row for path in written for row in json.loads(path.read_text())]
    for row in rows:
        assert {name: type(row[name]) for name in row} == {
            "user": str, "prog_id": str, "job_id": str, "job_type": str, "job_step": str,
            "label": str if row["job_step"] == "QUERY" else type(None), "start": int, "end": int, "success": bool,
        }  # fmt: skip
        assert row["job_step"] in ("PRE", "RUN", "POST", "QUERY") and 0 <= row["start"] <= row["end"]
    by_job = [row for row in rows if row["job_id"] == "16"]
    assert [row["job_step"] for row in by_job] == ["PRE", "RUN", "QUERY", "POST"]
    assert [row["success"] for row in by_job if row["job_step"] == "QUERY"] == [False], "its slice was lost"
    pre, run, _, post = by_job
    assert pre["end"] == run["start"] and run["end"] == post["start"]
    of = one.jobs[16]
    assert post["end"] - pre["start"] == pytest.approx((of.end_s - of.arrival_s) * 1e9, abs=2)
    one.slices = None
    assert {row.job_step for row in qstone_rows.rows(one)} == {"RUN"}


@pytest.mark.parametrize(("gap_s", "shots"), [(3450.0, 34500), (3300.0, 33000), (3000.0, 0)])
def test_a_whole_task_that_fits_into_no_gap_is_cut(gap_s: float, shots: int) -> None:
    """Else a plain queue would wait for it for ever, as it did with tasks estimated at more than an hour."""
    from quarterdeck.core.nouns import Device, Task
    from quarterdeck.core.policy import PolicySettings, slicing

    whole = PolicySettings(slices=False)
    device = Device(id="qpu", slice_shots=0, shot_rate_hz=10.0)
    task = Task(id="t", seq=1, user="u", device="qpu", program="p", shots=40_000, submitted_s=0.0)
    assert slicing.fit(task, device, None, gap_s, whole, longest_s=3450.0) == shots
    short = Task(id="t", seq=1, user="u", device="qpu", program="p", shots=31_000, submitted_s=0.0)
    assert slicing.fit(short, device, None, gap_s, whole, longest_s=3450.0) == (31_000 if gap_s > 3100 else 0)


QDECK = Path(sys.executable).with_name("qdeck")


def qdeck(*words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [QDECK, "simulate", *words], env=os.environ | environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_two_policies_on_the_same_jobs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ours = ("study-sc", "-p", "deck,weight_production=8", "--set", "policy.fair=0", "--days", "0.05", "--json")
    files = ("--plots", tmp_path / "plots", "--qstone-rows", tmp_path / "rows")
    done = qdeck(*ours, "-p", "fifo,slices=false", *files)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["workload"], told["site"], told["seed"]) == ("study-sc", "superconducting", 1)
    deck, fifo = told["policies"]
    assert (fifo["name"], fifo["policy"]) == ("fifo", "fifo, slices=false")
    assert deck["settings"] == {"fair": 0, "weight_production": 8}
    assert fifo["counters"]["tasks"] == deck["counters"]["tasks"] > 500, "the same jobs"
    assert fifo["classes"].keys() == set(CLASSES) and fifo["jobs"] == deck["jobs"]
    assert sum(deck["utilisation"].values()) == pytest.approx(1)
    assert {Path(file).name for file in told["files"]} >= {"summary.png", "gantt.png", "rows_0.json"}
    assert all(Path(file).stat().st_size > 1000 for file in told["files"])
    again = json.loads(qdeck(*ours).stdout)
    assert again["policies"][0]["classes"] == deck["classes"], "the same every time"


def test_the_table_is_for_people(tmp_path: Path) -> None:
    done = qdeck("study-na", "--days", "1", "--load", "0.5", "--seed", "3")
    assert done.returncode == 0 and done.stdout.startswith("study-na on neutral-atom (1 device), seed 3, ")
    assert "tau 60 s" in done.stdout and "production" in done.stdout and done.stderr == ""


def test_a_trace_and_a_site_from_files(tmp_path: Path) -> None:
    trace = tmp_path / "small.swf"
    lines = [f"{n} {n * 50} 0 {40 + n} 1 -1 -1 1 60 -1 1 {n % 3} 1 -1 1 1 -1 -1" for n in range(1, 41)]
    trace.write_text("; a header\n" + "\n".join(lines) + "\n")
    site = tmp_path / "site.toml"
    site.write_text('[[device]]\nid = "one"\nshot_rate_hz = 1000.0\n\n[[device]]\nid = "two"\nshot_rate_hz = 1000.0\n')
    done = qdeck(trace, "--devices", site, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["site"] == "site" and told["policies"][0]["devices"].keys() == {"one", "two"}
    assert told["policies"][0]["counters"]["jobs"] == 40
    shorter = json.loads(qdeck(trace, "--devices", site, "--days", str(1000 / 86400), "--json").stdout)
    assert shorter["policies"][0]["counters"]["jobs"] == 20, "those of the first 1000 s"


def test_the_list_is_complete() -> None:
    from quarterdeck.cli.simulate import WORDS
    from quarterdeck.simulator.catalogue import WORKLOADS
    from quarterdeck.simulator.site import SHIPPED

    assert WORDS.keys() == WORKLOADS.keys(), "every shipped workload is described"
    told = json.loads(qdeck("--list", "--json").stdout)
    assert told["workloads"].keys() == WORKLOADS.keys() and told["sites"].keys() == set(SHIPPED)
    assert "deck" in told["policies"]
    text = qdeck("--list").stdout
    assert all(name in text for name in (*WORKLOADS, *SHIPPED, "fairshare"))


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ((), 2, "--list shows them"),
        (("nothing-like-it",), 1, "neither a file nor one of"),
        (("study-sc", "-p", "lottery"), 1, "'lottery' is unknown; there are deck"),
        (("study-sc", "-p", "deck,wight=3"), 1, "unknown field `wight`"),
        (("study-sc", "--set", "policy.fair"), 2, "no KEY=VALUE"),
        (("study-sc", "--devices", "no-such.toml"), 1, "no-such.toml: cannot be read"),
        (("facility", "--load", "0.5"), 1, "choose another scale"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_errors_say_what_to_do(words: tuple[str, ...], status: int, told: str) -> None:
    done = qdeck(*words)
    assert done.returncode == status and told in done.stderr, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'matplotlib' else find(name, *rest)\n"
        "sys.modules['matplotlib'] = None\n"
        "sys.argv = ['qdeck', 'simulate', 'study-sc', '--days', '0.02', *sys.argv[1:]]\n"
        "from quarterdeck.cli import main; main()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run([*command, "--plots", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pip install 'quarterdeck[plot]'" in done.stderr and done.stdout == ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "p95" in done.stdout, done.stderr

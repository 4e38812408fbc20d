"""What users wait for a job of 0.3 s through QRMI's Pulser connection: `python benchmarks/qrmi_wait.py [--warden URL]`.

The unmodified client (`./run clients`) sends ten jobs, each another program, and waits for each as QRMI does: it asks,
and sleeps for a second if the job has not ended. The same ten in each round: in the first they are new to the daemon.
Against Quarterdeck as it ships, against Quarterdeck without held status calls (`warden.hold_s = 0`: what plain polling
costs), and a Warden that expects its QPU on port 8005. Three rounds, in turn; medians with the least and the most.
Devices are emulated. As root, with a running munged.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import httpx

from quarterdeck.bench.peer import until
from quarterdeck.bench.qpu_process import QpuProcess
from quarterdeck.munge import Munge

ROOT = Path(__file__).resolve().parents[1]
CLIENT = ROOT / ".tools" / "clients" / "pasqal" / "bin" / "python"
SCRIPT = ROOT / "tests" / "clients" / "pulser_qrmi.py"
CONFIG = """\
[daemon]
state = {state}
listen = "127.0.0.1:0"

[warden]
listen = "127.0.0.1:0"
first_uid = 0
hold_s = {hold_s}

[devices.qpu]
driver = "neutral-atom-emulator"
setup_s = 0.1
shot_rate_hz = 1000.0
"""


@contextmanager
def quarterdeck(hold_s: float) -> Iterator[str]:
    """A private daemon with an emulated device on which the client's 300 shots take 0.3 s. Yields its URL."""
    with tempfile.TemporaryDirectory(prefix="qdeck-wait-") as place:
        state, config = Path(place) / "state", Path(place) / "qdeck.toml"
        config.write_text(CONFIG.format(state=json.dumps(str(state)), hold_s=hold_s))
        process = subprocess.Popen(
            [sys.executable, "-m", "quarterdeck", "serve", "--config", str(config)],
            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: _accessible(state), "the private daemon", 60.0, 0.1)
            yield (state / "warden-url").read_text().strip()
        finally:
            process.terminate()
            process.wait(20)


def _accessible(state: Path) -> bool:
    try:
        url = (state / "warden-url").read_text().strip()
        return bool(httpx.get(f"{url}/accessible", trust_env=False).json().get("is_accessible"))
    except (OSError, httpx.HTTPError):
        return False


def seconds(url: str, jobs: int) -> list[float]:
    """Each job's seconds, from submitting to having its result."""
    munge = Munge()
    body = {"user_id": str(os.getuid()), "slurm_job_id": "1"}
    opened = httpx.post(f"{url}/sessions", json=body, headers={"X-Munge-Cred": munge.encode()}, trust_env=False)
    munge.close()
    environ = {
        **os.environ, "QRMI_JOB_UID": str(os.getuid()), "QRMI_JOB_ID": "1", "QRMI_JOB_QPU_RESOURCES": "qpu",
        "QRMI_JOB_QPU_TYPES": "pasqal-local", "qpu_QRMI_WARDEN_URL": url,
        "qpu_QRMI_JOB_ACQUISITION_TOKEN": opened.raise_for_status().json()["id"],
    }  # fmt: skip
    done = subprocess.run([CLIENT, SCRIPT, str(jobs)], env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the client failed against {url}:\n{done.stderr[-2000:]}")
    told: list[float] = json.loads(done.stdout.splitlines()[-1])["seconds"]
    return told


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--warden", default="", help="URL of a running Warden: http://127.0.0.1:8006")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=10)
    given = parser.parse_args()
    if not CLIENT.exists():
        raise SystemExit("the client is not installed: ./run clients")
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        systems = {
            "Quarterdeck": stack.enter_context(quarterdeck(10.0)),
            "Quarterdeck, calls not held": stack.enter_context(quarterdeck(0.0)),
        }
        if given.warden:
            stack.enter_context(QpuProcess(8005, run_s=0.3))
            systems["Warden"] = given.warden.rstrip("/")
        for url in systems.values():
            seconds(url, 1)  # load Pulser
        for number in range(given.rounds):
            for name, url in systems.items():
                print(f"round {number + 1}, {name}", file=sys.stderr)
                found.setdefault(name, []).extend(seconds(url, given.jobs))
    ours = median(found["Quarterdeck"])
    print("| System | median s | least | most | times ours |\n| --- | ---: | ---: | ---: | ---: |")
    for name, values in found.items():
        print(
            f"| {name} | {median(values):.3f} | {min(values):.3f} | {max(values):.3f} | {median(values) / ours:.1f} |"
        )


if __name__ == "__main__":
    main()

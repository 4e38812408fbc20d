"""The job scripts of docs/jobs.md, in a real Slurm, as they stand."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.bench.qpu_process import QpuProcess
from tests.clusters.quantum import CONFIG, Quantum
from tests.clusters.slurm import missing
from tests.integration.munged import CLIENTS

pytestmark = pytest.mark.timeout(180)
JOBS = Path(__file__).resolve().parents[2] / "examples" / "jobs"
QRMI = "pasqal"


@pytest.fixture(scope="module")
def site() -> Iterator[Quantum]:
    if why := missing():
        pytest.skip(why)
    with Quantum() as quantum:
        yield quantum
        assert not quantum.drained()


def submit(site: Quantum, script: str, *options: str, **environ: str | Path) -> int:
    examples = site.dir / "examples"
    places = {"PROGRAMS": examples / "programs", "JOBS": examples / "jobs", "PYTHON": "python", **environ}
    done = site.slurm.run("sbatch", "--parsable", "-o", "%A_%a.out", *options, examples / "jobs" / script, **places)
    return int(done.stdout.strip().partition(";")[0])


def output(site: Quantum, job: int, task: int = 4294967294) -> str:
    assert site.slurm.ended(job, 120) == "COMPLETED", site.slurm.output(f"{job}_{task}")
    return site.slurm.output(f"{job}_{task}")


def shots(text: str) -> int:
    """The sum of the counts that `qdeck submit --wait` printed."""
    return sum(int(count) for count in re.findall(r"^[01]+ +(\d+)$", text, re.MULTILINE))


def test_one_program(site: Quantum) -> None:
    assert shots(output(site, submit(site, "one_program.sh"))) == 200


def test_hybrid_loop(site: Quantum) -> None:
    text = output(site, submit(site, "hybrid_loop.sh"))
    best = re.search(r"best amplitude on fresnel-emulator \(emulated\): (\d\.\d+)", text)
    assert best is not None and float(best[1]) == pytest.approx(3.70, abs=0.5)


def test_scan_array(site: Quantum) -> None:
    job = submit(site, "scan_array.sh")
    site.slurm.until(lambda: not site.slurm.root("squeue", "-h").stdout, 120, "the array does not end")
    for task in range(1, 5):
        text = site.slurm.output(f"{job}_{task}")
        assert f"point {task}: detuning to {5 * task}" in text and shots(text) == 100


def test_release_nodes(site: Quantum) -> None:
    """The classical nodes are free while the job still has its QPU."""
    job = submit(site, "release_nodes.sh")
    text = output(site, job)
    assert text.count("classical part on") == 2 and "classical nodes given back" in text and shots(text) == 200
    assert site.slurm.state(job + 1) == "CANCELLED"


@pytest.mark.skipif(not (CLIENTS / QRMI).exists(), reason=f"{QRMI} is not installed: ./run clients")
def test_qrmi_program(site: Quantum) -> None:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python = site.dir / "bin" / "qrmi-python"
    packages = site.dir / "clients" / QRMI / "lib" / version / "site-packages"
    python.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={packages} PYTHONHOME={site.dir}/py LD_LIBRARY_PATH={site.dir}/py/lib\n"
        f'exec {site.dir}/py/bin/{version} "$@"\n'
    )
    python.chmod(0o755)
    text = output(site, submit(site, "qrmi_program.sh", PYTHON=python))
    share = re.search(r"200 shots, (\d+\.\d)% with one atom excited", text)
    assert share is not None and float(share[1]) > 80


def test_every_script_is_in_the_guide() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "jobs.md").read_text()
    scripts = sorted(path.name for path in JOBS.glob("*.sh"))
    assert len(scripts) >= 5 and all(f"examples/jobs/{name}" in guide for name in scripts)


def test_the_same_script_on_an_emulator_and_on_the_qpu() -> None:
    """The QPU is our scripted double of Pasqal's: emulated hardware behind the driver of the real one."""
    if why := missing():
        pytest.skip(why)
    with QpuProcess() as double:
        table = f'\n[devices.fresnel]\ndriver = "pasqal-qpu"\nuri = "{double.uri}"\n'
        devices = {"fresnel-emulator": 4, "fresnel": 1}
        config = CONFIG.partition("\n[devices.slow]")[0] + table
        with Quantum(config=config, devices=devices) as site:
            told = {name: output(site, submit(site, "one_program.sh", f"--qpu={name}")) for name in devices}
            assert len(double.log("create")) >= 1
            assert not site.drained()
    shapes = []
    for text in told.values():
        head, *rows = text.strip().splitlines()
        shapes.append((head.split(), {len(row.split()[0]) for row in rows}, shots(text)))
    assert shapes[0] == shapes[1] == (["BITS", "COUNT"], {7}, 200)

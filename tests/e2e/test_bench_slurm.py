"""`qdeck bench slurm` on a private cluster."""

from __future__ import annotations

import json

import pytest

from tests.clusters.quantum import BENCH, Quantum
from tests.clusters.slurm import missing


@pytest.mark.timeout(180)
def test_launches_and_hybrid_jobs() -> None:
    if why := missing():
        pytest.skip(why)
    with Quantum(config=BENCH, devices={"bench-emulator": 8}) as site:
        program = site.dir / "examples" / "programs" / "afm_chain.json"
        done = site.slurm.run(
            "qdeck", "bench", "slurm", "--quick", "--qpu", "bench-emulator", "--program", program, "--python", "python",
            "--json", within_s=150, QDECK_URL=site.url, HOME=site.dir / "jobs",
        )  # fmt: skip
        report = json.loads(done.stdout)
        assert not site.drained()
    found = {(row["what"], row["system"]): row for row in report["rows"]}
    assert {system for _, system in found} == {"plain", "--qpu", "shared", "exclusive"}
    launch = "srun of true, to its end"
    plain, ours = (found[launch, who]["figures"]["p50_ms"]["median"] for who in ("plain", "--qpu"))
    assert 0 < plain < ours
    assert [goal["name"] for goal in report["goals"]] == ["shared over exclusive utilisation; 1 + c/q is 3"]
    assert report["goals"][0]["got"] > 1, "sharing wastes less than taking turns"

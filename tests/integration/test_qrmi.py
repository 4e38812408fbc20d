"""The unmodified `qrmi` package from PyPI, with a real munged, against Warden's interface."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import munged as munge_support
from .munged import Munged, client
from .running import Daemon
from .test_warden import AFM, settings

SCRIPTS = Path(__file__).resolve().parents[1] / "clients"
USER = 4001
EMULATOR = {"driver": "neutral-atom-emulator", "time_scale": 100.0}


@pytest.fixture(scope="module")
def munged() -> Iterator[Munged]:
    if why := munge_support.missing():
        pytest.skip(why)
    server = Munged()
    yield server
    server.close()


@pytest.fixture(scope="module")
def site(munged: Munged, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    tables = {"warden": settings(munged)}
    with Daemon(tmp_path_factory.mktemp("qrmi"), "", {"fresnel-emulator": EMULATOR}, tables) as daemon:
        yield daemon


def url(site: Daemon) -> str:
    return (site.state / "warden-url").read_text().strip()


def python(name: str) -> Path:
    """The interpreter with an unmodified client; skips without."""
    path = client(name)
    if not path.exists():
        pytest.skip(f"the client {name} is not installed: ./run clients")
    return path


def run(munged: Munged, name: str, script: str, *args: str, stdin: str = "") -> dict[str, Any]:
    """Run a client's script where it finds this munged. Returns the JSON on its last line."""
    command = munged.seen_by([python(name), SCRIPTS / script, *args])
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize("version", ["0.26.1", "0.26.4"])
def test_the_whole_life_of_a_task(site: Daemon, munged: Munged, version: str) -> None:
    seen = run(munged, f"qrmi-{version}", "lifecycle.py", url(site) + "/", str(USER), stdin=AFM)
    assert seen["accessible"] is True and seen["acquired_again"] is True
    assert seen["device"] == seen["spec"]
    assert "Completed" in seen["ended"] and sum(seen["counts"].values()) == 100
    assert set(map(len, seen["counts"])) == {7}
    assert "finished" in seen["logs"]
    assert "Completed" in seen["after_stop"]
    assert seen["early_result"]
    assert "Cancelled" in seen["stopped"]
    assert "404" in seen["bogus"] and "Job not found" in seen["bogus"]
    assert "422" in seen["bad"]
    assert "403" in seen["after_release"] and "revoked" in seen["after_release"]


@pytest.mark.parametrize("version", ["0.24", "0.25"])
def test_older_wheels_come_as_far_as_they_can(site: Daemon, munged: Munged, version: str) -> None:
    """Wheels before 0.26.1 were built without MUNGE; what they can do without it is tested here and for pasqal-cloud."""
    seen = run(munged, f"qrmi-{version}", "probe.py", url(site))
    assert seen["accessible"] is True
    assert "Munge support is disabled" in seen["acquire"]

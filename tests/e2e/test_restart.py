"""A client and a daemon that restarts under it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import Daemon

JOB = """
import quarterdeck
with quarterdeck.connect() as client:
    client.set_device("fake", "maintenance", "until the daemon is back")
    task = client.submit("x", format="opaque", device="fake", shots=10)
    print("submitted", flush=True)
    input()  # the daemon is gone now
    other = client.submit("x", format="opaque", device="fake", shots=20)
    client.set_device("fake", "online")
    print(sum(task.result().counts.values()), sum(other.result().counts.values()), len(list(client.tasks())))
"""


def test_a_restart_is_waited_out_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.start()
    command = [sys.executable, "-c", JOB]
    with subprocess.Popen(
        command, env=daemon.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as job:  # fmt: skip
        try:
            assert job.stdin is not None and job.stdout is not None
            assert job.stdout.readline() == "submitted\n"
            daemon.stop()
            job.stdin.write("\n")
            job.stdin.flush()
            daemon.start()
            told, _ = job.communicate(timeout=60)
            assert told == "10 20 2\n"
        finally:
            job.kill()
            daemon.stop()

"""The C++ tests of the real-time host, plain and under sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REALTIME = Path(__file__).parents[1]
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("sanitize", ["", "address,undefined", "thread"], ids=["plain", "address", "thread"])
def test_cpp(sanitize: str, tmp_path: Path) -> None:
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler (Debian, Ubuntu: apt-get install g++)")
    if shutil.which("cmake", path=PATH) is None or shutil.which("ninja", path=PATH) is None:
        pytest.skip("no cmake or no ninja: they come with the packages of requirements.lock")
    options = ["-DQDECK_TESTS=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", f"-DQDECK_SANITIZE={sanitize}"]
    for command in (
        ["cmake", "-S", str(REALTIME), "-B", str(tmp_path), "-G", "Ninja", *options],
        ["cmake", "--build", str(tmp_path)],
        ["ctest", "--test-dir", str(tmp_path), "--output-on-failure", "--timeout", "300"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]

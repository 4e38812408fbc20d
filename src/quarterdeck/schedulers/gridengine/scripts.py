"""The programs that Grid Engine calls: a few lines each, so that an update of the package updates them.

Python is started isolated (-I): the prolog runs as root with variables that the job's user chose, such as PYTHONPATH.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import quarterdeck
from quarterdeck.errors import Conflict
from quarterdeck.schedulers.gridengine import hooks
from quarterdeck.schedulers.gridengine.cluster import fields
from quarterdeck.schedulers.gridengine.site import MARKED, Site, dump

SCRIPT = """\
#!{python} -I
# Written by `qdeck gridengine install`.
import os
import sys
from pathlib import Path

{guard}sys.path.insert(0, {source!r})
from quarterdeck.schedulers.gridengine import {module}

sys.exit({module}.main({arguments}Path({file!r})))
"""
GUARDS = {
    "jsv": "",
    "prolog": f"if {MARKED!r} not in os.environ:  # the verifier marks jobs with QPUs\n    sys.exit(0)\n",
    "epilog": f"if not Path(os.environ.get('SGE_JOB_SPOOL_DIR', ''), {hooks.MARKER!r}).exists():\n    sys.exit(0)\n",
}
"""Other jobs pay for the start of Python only (0.02 s), not for a look at Grid Engine (0.1 s)."""


def files(site: Site, file: Path) -> dict[Path, str]:
    """The site's file and the programs that Grid Engine calls, with their text."""
    source = str(Path(quarterdeck.__file__).resolve().parents[1])
    directory = Path(site.hooks)

    def script(name: str, module: str, *arguments: str) -> str:
        told = "".join(f"{argument!r}, " for argument in arguments)
        return SCRIPT.format(
            python=sys.executable, source=source, module=module, arguments=told, file=str(file), guard=GUARDS[name]
        )  # fmt: skip

    return {
        file: dump(site), directory / "jsv": script("jsv", "verifier"),
        directory / "prolog": script("prolog", "hooks", "prolog"),
        directory / "epilog": script("epilog", "hooks", "epilog"),
    }  # fmt: skip


def try_verifier(verifier: str, site: Site) -> None:
    """Start the verifier as the qmaster will: with one that fails, Grid Engine refuses every submission.

    Raises `Conflict`.
    """
    admin = None
    try:
        bootstrap = fields((Path(site.root) / site.cell / "common" / "bootstrap").read_text())
        admin = pwd.getpwnam(bootstrap["admin_user"]) if os.geteuid() == 0 else None
    except (OSError, KeyError):
        pass  # no such user, or `none`: it runs as root
    more: dict[str, Any] = {"user": admin.pw_uid, "group": admin.pw_gid, "extra_groups": []} if admin else {}
    try:
        done = subprocess.run(
            [verifier], input="START\nQUIT\n", capture_output=True, text=True, timeout=30, check=False, **more
        )
        if done.stdout.startswith("STARTED"):
            return
        said = done.stderr.strip()[-200:]
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    who = admin.pw_name if admin else "this user"
    raise Conflict(
        f"{verifier} does not run as {who}, so that Grid Engine would refuse every submission: jsv_url was not set; "
        f"put Quarterdeck and its Python where {who} may run them ({said})"
    )

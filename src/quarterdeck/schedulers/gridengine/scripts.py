"""The programs that Grid Engine calls: a few lines each, so that an update of the package updates them.

Python is started isolated (-I): the prolog runs as root with variables that the job's user chose, such as PYTHONPATH.
"""

from __future__ import annotations

import sys
from pathlib import Path

import quarterdeck
from quarterdeck.schedulers.gridengine import hooks
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

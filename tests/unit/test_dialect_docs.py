"""Every route of every dialect is on its page, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from quarterdeck.daemon.dialects.warden.app import Warden
from quarterdeck.daemon.dialects.warden.settings import WardenSettings

DOCS = Path(__file__).resolve().parents[2] / "docs"


def documented(page: str) -> set[tuple[str, str]]:
    """Method and path of each row of the page's tables that begins with a route."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/\S*)`", text, re.MULTILINE))


def test_wardens_routes() -> None:
    house = cast(Any, SimpleNamespace(store_name="sqlite"))
    assert documented("qrmi.md") == set(Warden(house, WardenSettings()).routes())

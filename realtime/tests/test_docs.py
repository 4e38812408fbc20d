"""docs/realtime.md has every setting, kind of decoder, cause and metric."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from quarterdeck_realtime.decoders import names
from quarterdeck_realtime.profiles import PROFILES
from quarterdeck_realtime.settings import HostSettings, QubitSettings
from quarterdeck_realtime.status import CAUSES, HostStatus, Spread, prometheus

PAGE = (Path(__file__).parents[2] / "docs" / "realtime.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "word", [*HostSettings.__struct_fields__, *QubitSettings.__struct_fields__, *names(), *PROFILES, *CAUSES]
)
def test_it_is_in_the_page(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_every_metric_is_in_the_page() -> None:
    nothing = Spread(0, *np.zeros(6).tolist())
    text = prometheus(HostStatus(1, True, 1.0, 0, False, False, False, 0.0, 0.0, 0.0, 0.0, 0, nothing, []))
    told = set(re.findall(r"# TYPE (\S+)", text))
    assert len(told) == 12 and {name for name in told if f"`{name}" not in PAGE} == set()

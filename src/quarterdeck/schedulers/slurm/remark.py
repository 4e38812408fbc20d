"""What we write into a job's AdminComment: `[qdeck held: SENTENCE]`, beside whatever the site has there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Kind = Literal["asks", "held", "refused", "usage"]
_LONGEST = 400


def read(comment: str, kind: Kind) -> str | None:
    """The text of a remark; None if there is none."""
    found = re.search(rf"\[qdeck {kind}: ([^\]]*)\]", comment)
    return found[1] if found else None


def write(comment: str, kind: Kind, text: str | None) -> str:
    """The comment with a remark set anew, or without it. A job is held or refused, never both."""
    gone = "held|refused" if kind in ("held", "refused") else kind
    rest = re.sub(rf"\s*\[qdeck (?:{gone}): [^\]]*\]", "", comment).strip()
    if text is None:
        return rest
    clean = " ".join(re.sub(r"[\[\]\x00-\x1f]", " ", text).split())[:_LONGEST]
    return f"{rest} [qdeck {kind}: {clean}]".strip()


def fields(text: str | None) -> Mapping[str, str]:
    """A remark of `name=value` words."""
    return dict(word.split("=", 1) for word in (text or "").split() if "=" in word)

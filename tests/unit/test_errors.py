"""The exception tree: drawn truly, one code each, and the same on both sides of HTTP."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from quarterdeck import errors
from quarterdeck.errors import QuarterdeckError, Remote

DRAWN = re.compile(r"^( *)(\w+) +(\d{3}) (\w+) *(.*)$")


def tree(cls: type[QuarterdeckError], depth: int = 0) -> Iterator[tuple[int, type[Any]]]:
    yield depth, cls
    for child in cls.__subclasses__():
        yield from tree(child, depth + 1)


CLASSES = [cls for _, cls in tree(QuarterdeckError)]


def example(cls: type[Any]) -> QuarterdeckError:
    values: dict[str, Any] = {"str": "a word", "int": 7, "float": 1.5}
    made: QuarterdeckError = cls(**{field.name: values[str(field.type)] for field in fields(cls)})
    return made


def test_the_drawing_is_the_tree() -> None:
    drawn = [line for line in (errors.__doc__ or "").splitlines() if DRAWN.match(line)]
    built = []
    for depth, cls in tree(QuarterdeckError):
        names = ", ".join(field.name for field in fields(cls))
        built.append(f"{'  ' * depth + cls.__name__:<30} {cls.status} {cls.code:<21} {names}".rstrip())
    assert drawn == built


def test_codes_are_unique_and_every_class_is_found_by_its_own() -> None:
    assert len({cls.code for cls in CLASSES}) == len(CLASSES)
    assert QuarterdeckError.by_code == {cls.code: cls for cls in CLASSES}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_goes_through_json_and_pickle_unchanged(cls: type[Any]) -> None:
    error = example(cls)
    for back in (
        QuarterdeckError.from_json(json.loads(json.dumps(error.to_json()))),
        pickle.loads(pickle.dumps(error)),
    ):
        assert type(back) is cls
        assert back.to_json() == error.to_json()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_says_what_it_means(cls: type[Any]) -> None:
    assert cls.__doc__
    assert not cls.__doc__.startswith(cls.__name__ + "("), "the docstring that dataclass makes up is not one"
    assert str(example(cls))
    assert 400 <= cls.status < 600


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"error": None},
        {"error": "no"},
        {"error": {}},
        {"error": {"code": "of_tomorrow"}},
        {"error": {"code": ["not", "hashable"]}},
        {"error": {"code": "not_found", "noun": "task"}},
        [],
        "text",
    ],
    ids=json.dumps,
)
def test_an_answer_that_nobody_knows_is_remote(body: Any) -> None:
    assert isinstance(QuarterdeckError.from_json(body, 502), Remote)

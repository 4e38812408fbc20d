"""YAML whose every value knows its line, so that errors can say where the file is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import yaml

__all__ = ["ConfigError", "Located", "parse"]


class ConfigError(ValueError):
    """A configuration file is wrong; the message begins with its name and the line."""


class Located:
    """A value of a YAML file with its place, for checked access."""

    def __init__(self, node: yaml.Node, loader: yaml.SafeLoader, file: str, path: str) -> None:
        self._node = node
        self._loader = loader
        self._file = file
        self.path = path

    def refuse(self, why: str) -> NoReturn:
        """Raise ConfigError for this value."""
        raise ConfigError(f"{self._file}:{self._node.start_mark.line + 1}: {self.path or 'the file'} {why}")

    def _at(self, node: yaml.Node, path: str) -> Located:
        return Located(node, self._loader, self._file, path)

    def fields(self, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Located]:
        """The fields of a mapping; no others may be there."""
        if not isinstance(self._node, yaml.MappingNode):
            self.refuse("is not a mapping")
        known = {*required, *optional}
        found: dict[str, Located] = {}
        for key, value in self._node.value:
            name = str(key.value)
            here = self._at(key, f"{self.path}.{name}".lstrip("."))
            if name not in known:
                here.refuse(f"is not known here: there are {', '.join(sorted(known))}")
            if name in found:
                here.refuse("is there twice")
            found[name] = self._at(value, here.path)
        missing = [name for name in required if name not in found]
        if missing:
            self.refuse(f"lacks {', '.join(missing)}")
        return found

    def items(self) -> list[Located]:
        """The items of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.refuse("is not a list")
        return [self._at(node, f"{self.path}[{index}]") for index, node in enumerate(self._node.value)]

    def value(self) -> Any:
        """The plain value."""
        return self._loader.construct_object(self._node, deep=True)

    def integer(self, least: int = 0) -> int:
        number = self.value()
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            self.refuse(f"is {number!r}, not a whole number from {least} on")
        return number

    def real(self) -> float:
        try:  # YAML 1.1 takes 1e-3 for text
            return float(self.value())
        except (TypeError, ValueError):
            self.refuse(f"is {self.value()!r}, not a number")

    def text(self) -> str:
        value = self.value()
        if not isinstance(value, str):
            self.refuse(f"is {value!r}, not text")
        return value


def parse(text: str, file: str) -> Located:
    """The one document of a YAML file; raises ConfigError if it is none."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{file}:{line}: this is not YAML: {error.problem}") from error
    if node is None:
        raise ConfigError(f"{file}:1: the file is empty")
    return Located(node, loader, file, "")

"""Import every module of the package: the least that a Python version must manage."""

from __future__ import annotations

import importlib
import pkgutil

import quarterdeck

names = [module.name for module in pkgutil.walk_packages(quarterdeck.__path__, "quarterdeck.")]
for name in names:
    if not name.endswith(".__main__"):
        importlib.import_module(name)
print(f"{len(names)} modules")

"""Import every module of the package: the least that a Python version must manage."""

from __future__ import annotations

import importlib
import pkgutil

import quarterdeck

ALONE = (".__main__", ".migrations.env")  # what runs when it is imported
names = [module.name for module in pkgutil.walk_packages(quarterdeck.__path__, "quarterdeck.")]
for name in names:
    if not name.endswith(ALONE):
        importlib.import_module(name)
print(f"{len(names)} modules")

"""Lets `orature.train(...)` be called although `orature.train` is also the package of the training loop.

Example::

    make_callable(__name__)      # in orature/train/__init__.py: orature.train(...) is orature.api.train(...)
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CommandPackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(import_module("orature.api"), self.__name__.rsplit(".", 1)[-1])(*args, **options)


def make_callable(name: str) -> None:
    """Makes the imported package `name` callable: a call goes to the function of the same name in `orature.api`."""
    sys.modules[name].__class__ = _CommandPackage

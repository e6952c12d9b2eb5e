"""Scores, comparisons and the report; called, it is the command `orature evaluate`."""

from orature.core.callable_package import make_callable

make_callable(__name__)

"""The training loop and its parts; called, it is the command `orature train`."""

from orature.core.callable_package import make_callable

make_callable(__name__)

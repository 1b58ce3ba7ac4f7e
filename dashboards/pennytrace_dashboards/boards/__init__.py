"""The boards: each module of this folder is one, as its constant BOARD; its queries lie in `queries/`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from pennytrace_dashboards.board import Board


def discover() -> Mapping[str, Board]:
    """Every board by the name of its module, in the order of the names."""
    names = sorted(module.name for module in iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}").BOARD for name in names}

"""Which packages the demo needs that a light installation leaves out."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from pennytrace_collectors.demo.errors import MissingExtra

_PACKAGES: Final = (
    "chdb",
    "clickhouse_connect",
    "grafanalib",
    "openai",
    "rich",
    "starlette",
    "uvicorn",
    "yaml",
)


def check_packages() -> None:
    """Return when everything is installed.

    Raises:
        MissingExtra: Something is not; the message names it and the extras that bring it.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"the demo needs {', '.join(missing)}, which this Python does not have: pip install 'pennytrace[demo,all]'"
        )

"""What spend can be grouped by: the names that people type, each with its SQL over the view `spend`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pennytrace.errors import ConfigurationError

METER: Final = "meter"
DIMENSIONS: Final[Mapping[str, str]] = {
    "feature": "feature",
    "model": "model",
    "provider": "provider",
    "service": "service",
    "environment": "environment",
    "team": "team",
    "customer": "customer",
    "user": "user",
    "session": "session",
    "operation": "operation",
    "host": "host",
    "tier": "variant",
    "feature_source": "toString(feature_source)",
    "day": "toString(toDate(started_at, 'UTC'))",
    "hour": "formatDateTime(toStartOfHour(started_at), '%Y-%m-%d %H:00', 'UTC')",
    "month": "formatDateTime(started_at, '%Y-%m', 'UTC')",
    METER: "meter",
}


def columns(dimensions: Sequence[str]) -> str:
    """The SQL of the dimensions, each named `by_NAME`.

    Raises:
        ConfigurationError: one is not of `DIMENSIONS`, or stands there twice.
    """
    for name in dimensions:
        if name not in DIMENSIONS:
            raise ConfigurationError(
                f"--by takes some of {', '.join(DIMENSIONS)}, separated by commas; got {name!r}"
            )
    if repeated := {name for name in dimensions if dimensions.count(name) > 1}:
        raise ConfigurationError(f"--by names {', '.join(sorted(repeated))} twice: name it once")
    return ", ".join(f"{DIMENSIONS[name]} AS by_{name}" for name in dimensions)

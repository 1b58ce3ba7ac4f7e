"""Decides which feature a call is counted under, and says how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pennytrace import semconv
from pennytrace._attribution import identity
from pennytrace._attribution.caller import calling_function
from pennytrace._attribution.surroundings import NOWHERE, Surroundings
from pennytrace._attribution.tags import Tags
from pennytrace._attribution.text import clean

_ON_THE_ENCLOSING_SPAN: Final = (
    (semconv.HTTP_ROUTE, semconv.FROM_ROUTE),
    (semconv.MESSAGING_DESTINATION, semconv.FROM_MESSAGING),
    (semconv.CELERY_TASK, semconv.FROM_TASK),
)
_IN_BAGGAGE: Final = (
    semconv.FEATURE,
    semconv.TEAM,
    semconv.CUSTOMER,
    semconv.USER_ID,
    semconv.SESSION_ID,
)


def who_spends(*, tags: Tags, around: Surroundings, defaults: Tags, service: str) -> dict[str, str]:
    """Return the attributes that say who makes a call: feature and its source, team, customer, other tags.

    The user is in them as it may leave the process.

    The feature is the first of: a tag, baggage, the route, destination or task name of the enclosing span,
    the feature given to `init`, the calling function, the service.
    """
    if around is NOWHERE:
        who, feature, source = {**defaults, **tags}, tags.get(semconv.FEATURE), semconv.FROM_TAG
    else:
        who = {**defaults, **_from_baggage(around.baggage), **tags}
        feature, source = _feature(tags, around)
    if feature is None:
        feature, source = _own_feature(defaults, service)
    who[semconv.FEATURE] = feature
    who[semconv.FEATURE_SOURCE] = source
    identity.protect(who)
    return who


def _feature(tags: Tags, around: Surroundings) -> tuple[str | None, str]:
    if semconv.FEATURE in tags:
        return tags[semconv.FEATURE], semconv.FROM_TAG
    carried = clean(around.baggage.get(semconv.FEATURE))
    if carried is not None:
        return carried, semconv.FROM_BAGGAGE
    return _from_enclosing_span(around.attributes)


def _own_feature(defaults: Tags, service: str) -> tuple[str, str]:
    if semconv.FEATURE in defaults:
        return defaults[semconv.FEATURE], semconv.FROM_INIT
    function = calling_function()
    if function is not None:
        return function, semconv.FROM_FUNCTION
    return service, semconv.FROM_SERVICE


def _from_enclosing_span(attributes: Mapping[str, Any]) -> tuple[str | None, str]:
    if attributes:
        for name, source in _ON_THE_ENCLOSING_SPAN:
            value = clean(attributes.get(name))
            if value is not None:
                return value, source
    return None, ""


def _from_baggage(baggage: Mapping[str, object]) -> Tags:
    if not baggage:
        return {}
    found = {name: clean(baggage.get(name)) for name in _IN_BAGGAGE}
    return {name: value for name, value in found.items() if value is not None}

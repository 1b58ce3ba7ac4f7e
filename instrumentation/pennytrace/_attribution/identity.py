"""Decides how users are named in what leaves the process: as they are, by a keyed hash, or not at all."""

from __future__ import annotations

import functools
from typing import Final

from pennytrace import semconv
from pennytrace._guard import never_break_the_host

WITHHOLD: Final = ""
"""The key that stands for one that cannot be used: without a usable key, no user is named."""

_LENGTH: Final = 32  # hexadecimal digits, which is 128 bits

_key: str | None = None


def use(key: str | None) -> None:
    """Hash user ids with `key` from now on; None sends them as they are, `WITHHOLD` not at all."""
    global _key
    _key = key


def protect(who: dict[str, str]) -> None:
    """Put `user.hash` in the place of `user.id`, when there is a key."""
    if _key is None:
        return
    user = who.pop(semconv.USER_ID, None)  # first, so that it is gone whatever happens next
    hashed = _hash(_key, user) if user is not None and _key != WITHHOLD else None
    if hashed is not None:
        who[semconv.USER_HASH] = hashed


@never_break_the_host("hashing a user's id")
def _hash(key: str, user: str) -> str:
    return _digest(key, user)


@functools.lru_cache(maxsize=4096)
def _digest(key: str, user: str) -> str:
    import hmac  # here, because few apps need it and it brings the whole of hashlib

    return hmac.digest(key.encode(), user.encode(), "sha256").hex()[:_LENGTH]

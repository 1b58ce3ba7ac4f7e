"""Makes secrets and recognises them: a long random one needs no slow hash, because nobody can guess it."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Final

SHORTEST: Final = 32
"""Characters that a secret has at least: of the 64 of base64, half of them would be enough."""
_TEXT: Final = re.compile(r"[\x21-\x7e]+")


def new_secret() -> str:
    """Return a secret of 256 random bits, which a scanner of repositories can tell from its beginning."""
    return f"pt_{secrets.token_urlsafe(32)}"


def why_unfit(secret: str) -> str:
    """Return why a secret of somebody else's making cannot be used; '' when it can."""
    if len(secret) < SHORTEST:
        return f"it has {len(secret)} characters; make it {SHORTEST} or more, at random"
    if not _TEXT.fullmatch(secret):
        return "it has spaces or characters that a header cannot hold; use letters, digits, '-' and '_'"
    if len(set(secret)) < SHORTEST // 4:
        return f"it has only {len(set(secret))} different characters; make it at random"
    return ""


def digest(secret: str) -> str:
    """Return what the access file keeps of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def is_among(presented: str, digests: Iterable[str]) -> bool:
    """Whether a digest is one of these, in a time that does not tell how much of it is right."""
    found = False
    for known in digests:
        found |= hmac.compare_digest(presented, known)
    return found

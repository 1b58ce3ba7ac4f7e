"""Estimates the tokens of texts that nobody counted: with the model's tokenizer if it is at hand, else by a rule."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from pennytrace._guard import never_break_the_host

_CHARACTERS_A_TOKEN: Final = 4
"""The rule: a token for every four characters that have begun."""
_RULE: Final = f"characters/{_CHARACTERS_A_TOKEN}"
_LONGEST: Final = 1_000_000  # characters; a tokenizer takes about a second for these
_ENCODINGS_URL: Final = "https://openaipublic.blob.core.windows.net/encodings/"
"""What tiktoken's cache is keyed by; nothing is ever fetched from there by us."""


def estimated(texts: Sequence[str], model: str | None) -> tuple[int, str]:
    """Return the tokens in `texts`, and how they were found: `tiktoken:o200k_base` or `characters/4`.

    tiktoken is used when it is installed and has the model's encoding loaded, or stored on this machine: it
    would fetch it otherwise, and an app's telemetry must not.
    """
    characters = sum(map(len, texts))
    encoding = _encoding(model) if model and characters <= _LONGEST else None
    if encoding is None:
        return math.ceil(characters / _CHARACTERS_A_TOKEN), _RULE
    return sum(len(encoding.encode_ordinary(text)) for text in texts), f"tiktoken:{encoding.name}"


@never_break_the_host("looking for a tokenizer")
def _encoding(model: str) -> Any:
    if "tiktoken" not in sys.modules and not _is_installed("tiktoken"):
        return None
    from tiktoken import get_encoding
    from tiktoken.model import encoding_name_for_model
    from tiktoken.registry import ENCODINGS

    try:
        name = encoding_name_for_model(model)
    except KeyError:  # a model of somebody else, with a tokenizer of its own
        return None
    if name in ENCODINGS:
        return ENCODINGS[name]
    return get_encoding(name) if _is_stored(name) else None


@functools.lru_cache(maxsize=1)
def _is_installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _is_stored(encoding: str) -> bool:
    import hashlib
    import tempfile

    stored_in = (os.environ.get(name) for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"))
    folder = next((path for path in stored_in if path is not None), None)
    if folder == "":  # set to nothing, which switches the cache off
        return False
    folder = folder or os.path.join(tempfile.gettempdir(), "data-gym-cache")
    key = hashlib.sha1(f"{_ENCODINGS_URL}{encoding}.tiktoken".encode()).hexdigest()
    return os.path.exists(os.path.join(folder, key))

"""Estimates say how they were made: by the model's tokenizer when it is at hand, else by the stated rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
import tiktoken
from tiktoken import registry

from pennytrace import semconv
from pennytrace._calls.tokens import estimated
from tests.instrumentation.conftest import Calls
from tests.instrumentation.provider import MODEL, Provider

BYTES = {bytes([number]): number for number in range(256)}


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> tiktoken.Encoding:
    """Stand in for the encoding of gpt-4o, which is not to be had here: one token a letter, `penny` is one."""
    ranks = {**BYTES, b"pe": 256, b"nn": 257, b"penn": 258, b"penny": 259}
    made = tiktoken.Encoding("o200k_base", pat_str=r"\w+|\W", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setitem(registry.ENCODINGS, "o200k_base", made)
    return made


def test_the_rule_is_a_token_for_every_four_characters_begun() -> None:
    assert estimated(["What does a penny weigh?"], "some-model") == (6, "characters/4")
    assert estimated(["a", "bcde"], None) == (2, "characters/4")
    assert estimated([], "gpt-4o-mini") == (0, "characters/4")


def test_a_tokenizer_that_is_loaded_is_used(encoding: tiktoken.Encoding) -> None:
    assert estimated(["penny a"], "gpt-4o-mini") == (3, "tiktoken:o200k_base")


def test_a_tokenizer_that_would_have_to_be_fetched_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.delitem(registry.ENCODINGS, "o200k_base", raising=False)
    assert estimated(["penny"], "gpt-4o-mini") == (2, "characters/4")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    assert estimated(["penny"], "gpt-4o-mini") == (2, "characters/4")


def test_a_stream_that_is_left_is_counted_with_it(
    encoding: tiktoken.Encoding, client: openai.OpenAI, provider: Provider, calls: Calls
) -> None:
    messages: Any = [{"role": "user", "content": "penny penny"}]
    with client.chat.completions.create(model=MODEL, messages=messages, stream=True) as stream:
        next(iter(stream))
    (call,) = calls()
    assert call.attributes[semconv.USAGE_METHOD] == "tiktoken:o200k_base"
    assert call.attributes[semconv.INPUT_TOKENS] == 3
    assert call.attributes[semconv.OUTPUT_TOKENS] == 4  # `A`, ` `, `penny`, ` `

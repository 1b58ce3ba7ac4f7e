"""What the simulated models answer, and how many tokens that is: made up, but it adds up as the real ones do."""

from __future__ import annotations

import hashlib
import random
import string
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_SERVED: Final = {
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "o4-mini": "o4-mini-2025-04-16",
}
_SENTENCES: Final = (
    "It keeps the rain out and the warmth in.",
    "You would have it the day after tomorrow.",
    "Most of those who bought it would buy it again.",
    "That is covered for five years from the day of the order.",
    "Our workshop can mend it, as long as the parts can be had.",
    "Two buyers found it a little heavy.",
)
_CHARACTERS_PER_TOKEN: Final = 4
_TOKENS_PER_MESSAGE: Final = 4
_SMALLEST_CACHED: Final = 1024  # tokens; shorter prompts are not cached, longer ones in steps of 128
_CACHE_STEP: Final = 128
_MOST_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The tokens of one answer."""

    prompt: int
    cached: int
    completion: int
    reasoning: int

    def as_json(self) -> dict[str, Any]:
        """Return it as the API spells it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to one chat request; each word is a token."""

    id: str
    created: int
    requested: str
    served: str
    service_tier: str
    words: Sequence[str]
    finish_reason: str
    usage: Usage

    def completion(self) -> dict[str, Any]:
        """Return it whole."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.words),
            "refusal": None,
            "annotations": [],
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage.as_json()}

    def chunks(self, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """Yield it word by word; its usage comes last, and only to who asked for it."""
        head = self._head("chat.completion.chunk") | ({"usage": None} if include_usage else {})
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
        deltas += [{"content": word} for word in self.words]
        for delta in deltas:
            yield {**head, "choices": [_choice(delta, None)]}
        yield {**head, "choices": [_choice({}, self.finish_reason)]}
        if include_usage:
            yield {**head, "choices": [], "usage": self.usage.as_json()}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.served,
            "service_tier": self.service_tier,
            "system_fingerprint": "fp_simulated",
        }


class Models:
    """The simulated models, and the prompts that they remember."""

    def __init__(self, *, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._remembered: dict[str, str] = {}

    def chat(self, body: Mapping[str, Any]) -> Answer:
        """Answer a chat request."""
        requested = str(body["model"])
        prompt = "\n".join(str(message.get("content")) for message in body["messages"])
        tokens = tokens_of(prompt) + _TOKENS_PER_MESSAGE * len(body["messages"]) + 3
        longest = body.get("max_completion_tokens") or body.get("max_tokens") or 1_000
        reasoning = (
            min(64 * self._chance.randint(1, 5), int(longest) // 2) if requested.startswith("o") else 0
        )
        words = self._words()
        cut = words[: max(int(longest) - reasoning, 1)]
        usage = Usage(
            prompt=tokens,
            cached=self._cached(requested, prompt, tokens),
            completion=len(cut) + reasoning,
            reasoning=reasoning,
        )
        asked_tier = body.get("service_tier") or "auto"
        return Answer(
            id=f"chatcmpl-{new_id()}",
            created=int(time.time()),
            requested=requested,
            served=served(requested),
            service_tier="default" if asked_tier == "auto" else str(asked_tier),
            words=cut,
            finish_reason="stop" if cut == words else "length",
            usage=usage,
        )

    def _words(self) -> list[str]:
        sentences = ["(Simulated.)", *self._chance.choices(_SENTENCES, k=self._chance.randint(2, 7))]
        return [f"{word} " for word in " ".join(sentences).split()]

    def _cached(self, model: str, prompt: str, tokens: int) -> int:
        """Return how many tokens were in the last prompt that began the same, in the steps of the real cache."""
        beginning = prompt[: _SMALLEST_CACHED * _CHARACTERS_PER_TOKEN]
        if tokens_of(beginning) < _SMALLEST_CACHED:
            return 0
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        key = model + hashlib.sha256(beginning.encode()).hexdigest()
        before = self._remembered.get(key, "")
        self._remembered[key] = prompt
        shared = tokens_of(_shared_beginning(before, prompt))
        return min(shared, tokens) // _CACHE_STEP * _CACHE_STEP


def served(requested: str) -> str:
    """Return the dated model that answers for a model name."""
    return _SERVED.get(requested, requested)


def tokens_of(text: str) -> int:
    """Return the tokens of a text, by its length."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def new_id() -> str:
    """Return the random part of an id, as long as the real ones."""
    return "".join(random.choices(string.ascii_letters + string.digits, k=29))


def _shared_beginning(one: str, other: str) -> str:
    longest = min(len(one), len(other))
    return one[: next((n for n in range(longest) if one[n] != other[n]), longest)]


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

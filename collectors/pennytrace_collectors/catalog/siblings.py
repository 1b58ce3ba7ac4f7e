"""Whether a model of the price list really is the one that was named, or a sibling that its loose rules take it for.

genai-prices matches some names by how they begin or by what they contain: `deepseek-r1` is then also the beginning of
`deepseek-r1-distill-llama-70b`, which costs something else. What such a rule leaves over of a name must be no more
than a version, a date, a region or a maker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ModelInfo,
)

_VERSION: Final = re.compile(
    r"v?\d+|latest|preview|exp|experimental|beta|stable|nightly|it|instruct|text|omni|e\d+b|\d+k"
)
_SIZE: Final = re.compile(r"\d+(x\d+)?b")
# What may come before a model's name at Bedrock, Vertex, Azure and in gateways: regions, parts of paths, makers.
_REGIONS: Final = (
    r"us|eu|apac|ap|au|jp|in|ca|sa|af|me|il|uk|gov|global|regional|east|west|north|south|central"
    r"|northeast|southeast|northwest|southwest"
)
_PATHS: Final = (
    r"arn|aws|bedrock|inference|profile|foundation|models?|publishers|accounts|converse|vertex|ai|azure"
)
_MAKERS: Final = (
    r"anthropic|amazon|meta|mistral|deepseek|openai|google|qwen|writer|nvidia|minimax|cohere|c4ai"
    r"|cerebras|moonshotai|zai"
)
_WHERE: Final = re.compile(rf"{_REGIONS}|{_PATHS}|{_MAKERS}|\d+")
_COMPACT_DATE: Final = re.compile(r"-(20\d\d)(\d\d)(\d\d)(?=-|:|$)")
_FINE_TUNED: Final = re.compile(r"^ft:|[.:]ft-|^tunedmodels/|custom-model|imported-model|provisioned-model")


def is_fine_tuned(name: str) -> bool:
    """Whether a name is that of a customer's own fine-tuned model."""
    return bool(_FINE_TUNED.search(name.lower()))


def is_itself(model: ModelInfo, name: str) -> bool:
    """Whether the list means this model when it is asked for the name, and not only one that is named alike."""
    name = name.lower()
    if is_fine_tuned(name):
        return is_fine_tuned(model.id)
    if name == model.id.lower():
        return True
    dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", name)  # as genai-prices does with 20251211
    return any(_means(model.match, text) for text in (name, dashed))


def _means(clause: object, name: str) -> bool:
    if isinstance(clause, ClauseOr):
        return any(_means(one, name) for one in clause.or_)
    if isinstance(clause, ClauseAnd):
        return clause.is_match(name) and any(_means(one, name) for one in clause.and_)
    if isinstance(clause, ClauseEquals):
        return clause.is_match(name)
    return any(
        _is_version(after, rule) and _is_place(before) for before, rule, after in _splits(clause, name)
    )


def _splits(clause: object, name: str) -> Iterator[tuple[str, str, str]]:
    """A name in three: what is before the part that a rule knows, that part, and what is after it."""
    if isinstance(clause, ClauseRegex):
        found = re.search(clause.regex, name)
        if found and found[0]:
            yield name[: found.start()], found[0], name[found.end() :]
        return
    rule = ""
    if isinstance(clause, ClauseStartsWith) and clause.is_match(name):
        rule = clause.starts_with.lower()
    elif isinstance(clause, ClauseEndsWith) and clause.is_match(name):
        yield name[: -len(clause.ends_with)], clause.ends_with.lower(), ""
    elif isinstance(clause, ClauseContains) and clause.is_match(name):
        rule = clause.contains.lower()
    if rule:
        before, _, after = name.partition(rule)
        yield before, rule, after


def _is_version(text: str, rule: str) -> bool:
    number = re.search(r"\d+$", rule)
    more = re.match(r"\d+", text)
    if number and more and len(number[0] + more[0]) < len("001"):  # r1 and r10
        return False
    if text[:1].isalpha() and rule[-1:].isalnum():
        return False
    words = [word for word in re.split(r"[-_.:@/]", text) if word]
    sizes = rule.endswith("-")  # the rule of a family
    return all(_VERSION.fullmatch(word) or (sizes and _SIZE.fullmatch(word)) for word in words)


def _is_place(text: str) -> bool:
    words = [word for word in re.split(r"[-_.:@/]", text) if word]
    return all(_WHERE.fullmatch(word) or _VERSION.fullmatch(word) for word in words)

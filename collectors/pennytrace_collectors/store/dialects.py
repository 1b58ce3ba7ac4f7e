"""Which attribute of which dialect means which field of a call: rows of sql/dialects/*.csv, put into SQL."""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Final

from pennytrace_collectors.catalog.meters import DETAIL_METERS, METERS, REQUESTS, TOKEN_METERS, Meter

_KINDS: Final = {"string": "strings", "int": "ints", "double": "doubles", "bool": "bools"}
# What must not stand in a panel's SQL, a file's name or a terminal, control characters and backslashes, becomes '_'.
_UNSAFE: Final = "".join(f"\\x{code:02x}" for code in (*range(0x20), 0x5C, 0x7F))
_NAME: Final = f"translate({{value}}, '{_UNSAFE}', '{'_' * 34}')"
# The dialect of a span that no sign tells: the conventions that all others started from.
_CONVENTIONS: Final = "otel_genai"
_ANY: Final = "*"
# The meters that every rate card may price; few price any of the others.
_DENSE: Final = (*TOKEN_METERS, REQUESTS)
# (operation, quantity) where the quantity is another measure of what the call's tokens are: one of the two is billed.
_SAME_MEASURES: Final = (
    "(('image_generation', 'images'), ('video_generation', 'video_seconds'), ('speech', 'characters'), "
    "('speech', 'audio_seconds'), ('transcription', 'audio_seconds'), ('translation', 'audio_seconds'), "
    "('ocr', 'pages'), ('ocr', 'annotated_pages'), ('rerank', 'searches'))"
)


def parameters() -> dict[str, str]:
    """The `$names` that the SQL files use: `$string_FIELD`, `$int_FIELD`, ... and the lists behind them."""
    aliases = _aliases()
    codes = dict(_codes(aliases))
    found = {
        **_recognised(),
        **_rules(),
        **_usage_in_text(),
        "attribute_names": _strings(codes),
        "attribute_codes": f"CAST({list(codes.values())} AS Array(UInt16))",
        "operations_as_told": _strings(row["told_as"] for row in _rows("operations.csv")),
        "operations": _strings(row["operation"] for row in _rows("operations.csv")),
        "meter_enum": meter_enum(),
        "token_meters": _meters(TOKEN_METERS),
        "dense_count": str(len(_DENSE)),
        "dense_meters": _meters(_DENSE),
        "dense_meter_names": _strings(meter.name for meter in _DENSE),
        "detail_meter_names": _among(meter.name for meter in DETAIL_METERS),
        "no_prices": f"unhex('{(-(10**18)).to_bytes(16, 'little', signed=True).hex() * len(_DENSE)}')",
        "same_measures": _SAME_MEASURES,
        "clean": f"value -> {_NAME.format(value='value')}",
        "scope": _NAME.format(value="scope_spans.scope.name"),
        "tag_name": _NAME.format(value="substring(names[place], 16)"),
        "tag_value": _NAME.format(value="strings[place]"),
        "detail_name": _NAME.format(value="substring(names[place], 18)"),
        "parts_of_tokens": _among(row["name"] for row in _rows("quantities.csv") if row["billed"] == "no"),
    }
    for field, names in aliases.items():
        found |= _field(field, [codes[name] for name in names])
    return found


def attribute_names(field: str) -> tuple[str, ...]:
    """The names of the attributes that say a field of a call, in every dialect."""
    return tuple(_aliases()[field])


def meter_enum() -> str:
    """The store's enumeration of the meters."""
    return "Enum8(" + ", ".join(f"'{meter.name}' = {meter.number}" for meter in METERS) + ")"


def _recognised() -> dict[str, str]:
    """Whose span it is: by its scope, the longest name first; else by an attribute that only one dialect has."""
    scopes, signs = {}, []
    for row in _rows("dialects.csv"):
        if row["sign"] == "scope":
            whole = not row["name"].endswith("*")
            scopes[row["name"] + "|" if whole else row["name"][:-1]] = row["dialect"]
        else:
            signs.append(f"has(names, '{row['name']}'), '{row['dialect']}'")
    return {
        "dialect_by_scope": _first_beginning(scopes, "concat(scope, '|')"),
        "dialect_by_attribute": f"multiIf({', '.join(signs)}, '{_CONVENTIONS}')",
        "provider_by_model": _first_beginning(
            {row["model"]: row["provider"] for row in _rows("makers.csv")}, "request_model"
        ),
    }


def _first_beginning(meant: Mapping[str, str], value: str) -> str:
    """What the longest beginning of a value means; '' where it begins otherwise."""
    beginnings = sorted(meant, key=len, reverse=True)
    found = f"arrayFirstIndex(beginning -> startsWith({value}, beginning), {_strings(beginnings)})"
    return f"{_strings(meant[beginning] for beginning in beginnings)}[{found}]"


def _rules() -> dict[str, str]:
    """For each rule a condition on the dialect and the provider of a call."""
    rules: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in _rows("rules.csv"):
        rules[row["rule"]].append((row["dialect"], row["provider"]))
    return {name: _condition(which) for name, which in rules.items()} | {
        "dialects_on_servers": _among(dialect for dialect, _ in rules["call_of_kind_server"])
    }


def _condition(which: Sequence[tuple[str, str]]) -> str:
    always = [dialect for dialect, provider in which if provider == _ANY]
    pairs = [pair for pair in which if pair[1] != _ANY]
    parts = [f"dialect IN {_among(always)}"] if always else []
    if pairs:
        # The first half spares nearly every call the second.
        some = _among(sorted({dialect for dialect, _ in pairs}))
        parts.append(f"dialect IN {some} AND (dialect, provider) IN ({', '.join(map(str, pairs))})")
    return f"({' OR '.join(parts)})"


def _usage_in_text() -> dict[str, str]:
    """Which numbers of a usage in JSON, by their paths, make up each quantity: the first sum that is not 0 counts."""
    sums: dict[str, list[list[tuple[str, str]]]] = defaultdict(list)
    for row in _rows("usage_texts.csv"):
        sums[row["quantity"]].append([_path(name) for name in row["sum_of"].split(" + ")])
    places = {f"text_{quantity}": f"text[{place}]" for place, quantity in enumerate(sums, 1)}
    return {"usage_paths": str(list(sums.values())), **places}


def _path(name: str) -> tuple[str, str]:
    outer, _, inner = name.partition(".")
    return outer, inner


def _meters(meters: Sequence[Meter]) -> str:
    return f"CAST({_strings(meter.name for meter in meters)} AS Array({meter_enum()}))"


def _field(field: str, codes: Sequence[int]) -> dict[str, str]:
    position = _position(codes)
    found = {f"{kind}_{field}": f"{values}[{position}]" for kind, values in _KINDS.items()}
    found[f"name_{field}"] = _NAME.format(value=f"strings[{position}]")
    found[f"has_{field}"] = f"({position} != 0)"
    return found


def _position(codes: Sequence[int]) -> str:
    """Where in a span's attributes a field stands, by its preferred name or any other; 0 reads as a default."""
    preferred, *others = dict.fromkeys(codes)
    place = f"indexOf(codes, {preferred})"
    return f"if(has(codes, {preferred}), {place}, indexOf(codes, {others[0]}))" if others else place


def _aliases() -> dict[str, list[str]]:
    """The attribute names of each field, the preferred one first."""
    aliases: dict[str, list[str]] = defaultdict(list)
    for row in _rows("attributes.csv"):
        aliases[row["field"]].append(row["attribute"])
    return dict(aliases)


def _codes(aliases: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, int]]:
    """A number for each attribute: one for the preferred name of a field, and one for all its others."""
    numbers = itertools.count(1)
    for preferred, *others in aliases.values():
        yield preferred, next(numbers)
        other = next(numbers)
        yield from ((name, other) for name in others)


def _rows(name: str) -> list[dict[str, str]]:
    text = files("pennytrace_collectors.store").joinpath("sql", "dialects", name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _strings(values: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"


def _among(values: Iterable[str]) -> str:
    """What stands on the right of IN."""
    return f"({_strings(values)[1:-1]})"

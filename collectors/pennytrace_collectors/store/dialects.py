"""Which attribute of which dialect means which field of a call: rows of sql/dialects/*.csv, put into SQL."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Final

from pennytrace_collectors.catalog.meters import DETAIL_METERS, METERS, REQUESTS, TOKEN_METERS, Meter

_KINDS: Final = {"string": "strings", "int": "ints", "double": "doubles", "bool": "bools"}
# What must not stand in a panel's SQL, a file's name or a terminal, control characters and backslashes, becomes '_'.
_UNSAFE: Final = "".join(f"\\x{code:02x}" for code in (*range(0x20), 0x5C, 0x7F))
_NAME: Final = f"translate({{value}}, '{_UNSAFE}', '{'_' * 34}')"
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
    codes = {name: number for number, name in enumerate(_attributes(aliases), 1)}
    found = {
        "attribute_names": _strings(codes),
        "attribute_codes": f"CAST({list(codes.values())} AS Array(UInt16))",
        "inference_operations": _among(row["operation"] for row in _rows("operations.csv")),
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


def _meters(meters: Sequence[Meter]) -> str:
    return f"CAST({_strings(meter.name for meter in meters)} AS Array({meter_enum()}))"


def _field(field: str, codes: Sequence[int]) -> dict[str, str]:
    position = _position(codes)
    found = {f"{kind}_{field}": f"{values}[{position}]" for kind, values in _KINDS.items()}
    found[f"name_{field}"] = _NAME.format(value=f"strings[{position}]")
    found[f"has_{field}"] = f"({position} != 0)"
    return found


def _position(codes: Sequence[int]) -> str:
    """Where in a span's attributes the first known name of a field stands; 0, which reads as a default, if nowhere."""
    places = [f"indexOf(codes, {code})" for code in codes]
    if len(places) == 1:
        return places[0]
    pairs = ", ".join(f"{place} != 0, {place}" for place in places[:-1])
    return f"multiIf({pairs}, {places[-1]})"


def _aliases() -> dict[str, list[str]]:
    """The attribute names of each field, the preferred one first."""
    aliases: dict[str, list[str]] = defaultdict(list)
    for row in _rows("attributes.csv"):
        aliases[row["field"]].append(row["attribute"])
    return dict(aliases)


def _attributes(aliases: dict[str, list[str]]) -> Iterator[str]:
    for names in aliases.values():
        yield from names


def _rows(name: str) -> list[dict[str, str]]:
    text = files("pennytrace_collectors.store").joinpath("sql", "dialects", name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def _strings(values: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"


def _among(values: Iterable[str]) -> str:
    """What stands on the right of IN."""
    return f"({_strings(values)[1:-1]})"

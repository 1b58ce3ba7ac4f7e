"""Writes the reference pages from the code, so that they cannot say something else than it does."""

from __future__ import annotations

import argparse
import csv
import inspect
import itertools
import re
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Final

from pennytrace._setup import lifecycle as _lifecycle
from pennytrace._setup import settings as _settings
from pennytrace.command import Command
from pennytrace_collectors.catalog import METERS
from pennytrace_collectors.catalog.pricefile import Amounts, OwnPrice, Surcharge, read_price_file

DOCS: Final = Path(__file__).parents[2] / "docs"
_WITHOUT_ARGUMENT: Final = {
    "resource": "(more resource attributes)",
    "ca": "(TLS: whose certificates to trust)",
    "certificate": "(TLS: the app's own certificate)",
    "key": "(and its key)",
    "hash_key": "(a secret: the environment only)",
    "metrics_endpoint": "(what is said of GPUs: the endpoint)",
    "metrics_headers": "(and its headers)",
}
_MADE: Final = "<!-- Made from the code by `make golden`; edit the code instead. -->\n"


def pages() -> dict[Path, str]:
    """The text of every generated page by its path."""
    folder = DOCS / "reference"
    return {
        folder / "cli.md": _MADE + cli(),
        folder / "settings.md": _MADE + settings(),
        folder / "libraries.md": _MADE + libraries(),
        folder / "attributes.md": _MADE + attributes(),
        folder / "dialects.md": _MADE + dialects(),
        folder / "schema.md": _MADE + schema(),
        folder / "supplement.md": _MADE + supplement(),
    }


def commands() -> list[Command]:
    """Every sub-command that this project has, by name."""
    found = entry_points(group="pennytrace.commands")
    return [point.load() for point in sorted(found, key=lambda point: point.name)]


def parser_of(command: Command) -> argparse.ArgumentParser:
    """The parser of a command, with its arguments."""
    parser = argparse.ArgumentParser(prog=f"pennytrace {command.name}", description=command.help)
    command.add_arguments(parser)
    return parser


def cli() -> str:
    """The command line."""
    parts = ["\n# The command line\n"]
    for command in commands():
        for parser in _with_actions(parser_of(command)):
            parts.append(
                f"\n## {parser.prog}\n\n{_sentence(parser.description)}\n\n| argument | what |\n|---|---|\n"
            )
            parts += [f"| {_names(action)} | {_cell(_help(action))} |\n" for action in _arguments(parser)]
    return "".join(parts)


def _with_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield parser
    for action in nested:
        yield from action.choices.values()


def _arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {"default": action.default}


def _names(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(
        f"`{name}`" if action.nargs == 0 else f"`{name} {value}`" for name in action.option_strings
    )


def settings() -> str:
    """The settings of `pennytrace.init` and where each is looked for."""
    lines = [
        "\n# Settings of the app side\n\n",
        "Each is an argument of `pennytrace.init`; without it, the first variable ",
        "that is set counts.\n\n| argument | variables |\n|---|---|\n",
    ]
    for setting, variables in _settings.VARIABLES.items():
        argument = f"`{setting}`" if setting in _settings.ARGUMENTS else _WITHOUT_ARGUMENT[setting]
        lines.append(f"| {argument} | {', '.join(f'`{name}`' for name in variables)} |\n")
    lines.append(
        f"\nSwitches that turn everything off when `true`: {', '.join(f'`{s}`' for s in _settings.SWITCHES)}.\n"
    )
    return "".join(lines)


def libraries() -> str:
    """The client libraries: what is wrapped in each, and which of its requests are calls."""
    parts = [
        "\n# Client libraries\n\nWhat is recorded of each library, and where its provider documents the usage. ",
        "Requests that are not listed cost nothing, and pass.\n",
    ]
    for provider in _lifecycle.discover():
        module = sys.modules[f"pennytrace.providers.{provider.id}"]
        hooks = ", ".join(f"`{hook.module}.{hook.name}`" for hook in provider.shape.hooks(provider))
        parts.append(
            f"\n## {provider.id}\n\n{inspect.getdoc(module)}\n\nUsage: <{provider.docs}>. Wrapped: {hooks}.\n"
        )
        parts.append("\n| request | operation | charged |\n|---|---|---|\n")
        parts += [
            f"| `{request}` | {operation.name} | {'once for its job' if operation.later else 'at once'} |\n"
            for request, operation in provider.operations.items()
        ]
    return "".join(parts)


def attributes() -> str:
    """The span attributes that the collector reads, by field."""
    text = (
        files("pennytrace_collectors.store").joinpath("sql", "dialects", "attributes.csv").read_text("utf-8")
    )
    lines = [
        "\n# Span attributes\n\nWhat the collector reads of a span, whoever made it. Where a field has several names, ",
        "the first one on the span counts.\n\n| field | attribute | dialect |\n|---|---|---|\n",
    ]
    lines += [
        f"| {row['field']} | `{row['attribute']}` | {row['dialect']} |\n"
        for row in csv.DictReader(text.splitlines())
    ]
    lines.append("\nAttributes that start with `pennytrace.tag.` become entries of the column `tags`.\n")
    lines += _quantities()
    return "".join(lines)


def _quantities() -> Iterator[str]:
    """The quantities that are kept under their own names."""
    text = (
        files("pennytrace_collectors.store").joinpath("sql", "dialects", "quantities.csv").read_text("utf-8")
    )
    yield "\n## Other quantities\n\nAttributes that start with `pennytrace.usage.` become entries of the column "
    yield "`details`. What is billed apart from tokens, and what this table does not know, keeps a call from being "
    yield "`priced` as long as no meter counts it.\n\n"
    yield "| name | unit | billed apart from tokens | what |\n|---|---|---|---|\n"
    for row in csv.DictReader(text.splitlines()):
        yield f"| `{row['name']}` | {row['unit']} | {row['billed']} | {row['description']} |\n"


def dialects() -> str:
    """How the dialects of instrumentations are told apart, and what differs between them."""
    lines = [
        "\n# Dialects\n\nWhose span it is shows by the name of its scope (a `*` stands for any end; the longest name ",
        "wins), else by an attribute\nthat only one dialect has; all others are taken for `otel_genai`. ",
        "The column `dialect` of `spend` has it.\n\n| dialect | scopes | attribute |\n|---|---|---|\n",
    ]
    signs: dict[str, dict[str, list[str]]] = {}
    for row in _dialect_rows("dialects.csv"):
        signs.setdefault(row["dialect"], {}).setdefault(row["sign"], []).append(f"`{row['name']}`")
    lines += [
        f"| `{dialect}` | {', '.join(found.get('scope', []))} | {', '.join(found.get('attribute', []))} |\n"
        for dialect, found in signs.items()
    ]
    return "".join((*lines, *_operations(), *_rules()))


def _operations() -> Iterator[str]:
    """What makes a span a call."""
    yield "\n## Calls\n\nA span is a call when the field `operation` ([names](attributes.md)) is one of these. "
    yield "All other spans (agents, workflows,\ntools, the outer spans of the AI SDK) hold calls or sum them up, "
    yield "and cost nothing; nor do spans of kind SERVER, but for LiteLLM's proxy.\n\n"
    yield "| told as | operation | dialect |\n|---|---|---|\n"
    for row in _dialect_rows("operations.csv"):
        yield f"| `{row['told_as']}` | {row['operation']} | {row['dialect']} |\n"


def _rules() -> Iterator[str]:
    """What a dialect does otherwise than the conventions say."""
    yield "\n## Differences\n\nThe conventions' totals include what was read from and written to the cache, and the "
    yield "reasoning. `*` is any provider.\n\n| rule | dialect | provider | because |\n|---|---|---|---|\n"
    for row in _dialect_rows("rules.csv"):
        yield f"| {row['rule'].replace('_', ' ')} | {row['dialect']} | {row['provider']} | {row['because']} |\n"
    yield "\nWhere a dialect tells the usage in a text (JSON, or Python that means the same), the first sum "
    yield "that is not 0 counts:\n\n| quantity | sum of |\n|---|---|\n"
    for row in _dialect_rows("usage_texts.csv"):
        yield f"| {row['quantity']} | `{row['sum_of']}` |\n"
    yield "\nWhere the maker of a model is taken for its provider, the model's name begins like this:\n\n"
    yield "| model | provider |\n|---|---|\n"
    for row in _dialect_rows("makers.csv"):
        yield f"| `{row['model']}` | {row['provider'] or 'not known'} |\n"


def _dialect_rows(name: str) -> list[dict[str, str]]:
    text = files("pennytrace_collectors.store").joinpath("sql", "dialects", name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def schema() -> str:
    """The columns of the view that everyone reads, and the meters."""
    folder = files("pennytrace_collectors.store").joinpath("sql")
    view = folder.joinpath("views", "50_spend.sql").read_text("utf-8")
    types = dict(_column_types())
    body = re.sub(r" *--.*", "", view[view.index("SELECT") + 6 : view.index("FROM $database.calls")])
    columns = [re.split(r" AS ", part.strip())[-1] for part in re.split(r",\n", body)]
    special = {
        "trace_id": "String, hexadecimal",
        "span_id": "String, hexadecimal",
        "model": "LowCardinality(String)",
        "cost": "Nullable(Decimal(38, 18))",
        "meters": "Array(Enum8), see below",
    }
    lines = ["\n# The view `spend`\n\nOne row a call.\n\n| column | type |\n|---|---|\n"]
    lines += [f"| `{name}` | {special.get(name) or types[name]} |\n" for name in columns]
    lines.append(
        "\n## Meters\n\nDisjoint kinds of quantity; `meters`, `quantities` and `costs` of a row belong together.\n\n"
    )
    lines.append("| meter | counts | priced as (genai-prices unit) |\n|---|---|---|\n")
    lines += [
        f"| `{meter.name}` | {meter.of} | {f'`{meter.unit}`' if meter.unit else 'by no unit of its own'} |\n"
        for meter in METERS
    ]
    return "".join(lines)


def _column_types() -> Iterator[tuple[str, str]]:
    """The columns of the table `calls`, as its migrations have left them."""
    folder = files("pennytrace_collectors.store").joinpath("sql", "migrations")
    made = folder.joinpath("0002_calls.sql").read_text("utf-8").split("ENGINE")[0]
    altered = [
        folder.joinpath(name).read_text("utf-8").split("ALTER TABLE $database.calls")[1].split("SETTINGS")[0]
        for name in ("0003_evidence.sql", "0004_prices.sql", "0007_gpu_records.sql", "0008_dialects.sql")
    ]
    for line in "\n".join((made, *altered)).splitlines():
        if found := re.match(r"    (?:ADD COLUMN IF NOT EXISTS |MODIFY COLUMN )?(\w+) +(.+)", line):
            kind = re.split(r" +(?:CODEC|ALIAS|DEFAULT|AFTER|--)", found[2])[0].rstrip(", ")
            yield found[1], kind.replace("$meter_enum", "Enum8")


def supplement() -> str:
    """What the project's own prices say, seller by seller, and where each is written."""
    parts = [
        "\n# The supplement\n\nPrices that genai-prices lacks, or lacks for the days when old calls were made. ",
        "A price file of yours wins over them.\nDays are of UTC, both included. Amounts are for a million tokens ",
        "(`_mtok`) or characters (`mchars`), a minute\n(`audio_minute`) or one of what the key names.\n",
    ]
    folder = files("pennytrace_collectors.catalog").joinpath("supplement")
    for path in sorted(Path(str(folder)).glob("*.toml")):
        file = read_price_file(path, supplement=True)
        parts.append(f"\n## {path.stem}\n\n{_headline(path)}\n\n")
        parts.append("| model | variant | from | to | price | written at |\n|---|---|---|---|---|---|\n")
        entries: list[Amounts | Surcharge] = [*file.prices, *file.corrections, *file.surcharges]
        parts += map(_row, entries)
    return "".join(parts)


def _headline(path: Path) -> str:
    """The first paragraph of the comment that a file begins with."""
    lines = itertools.takewhile(lambda line: line not in ("#", ""), path.read_text("utf-8").splitlines())
    return "\n".join(line.removeprefix("# ") for line in lines)


def _row(entry: Amounts | Surcharge) -> str:
    models = "<br>".join(f"`{model}`" for model in entry.model)
    days = (str(day or "") for day in (entry.valid_from, entry.valid_to))
    written = f"[{entry.checked}]({entry.source})"
    cells = (models, f"`{entry.variant}`" if entry.variant else "", *days, _charged(entry), written)
    return f"| {' | '.join(cells)} |\n"


def _charged(entry: Amounts | Surcharge) -> str:
    if isinstance(entry, Surcharge):
        return f"{entry.factor} times `{entry.of or 'standard'}`"
    currency = f"{entry.currency} " if isinstance(entry, OwnPrice) else ""
    amounts = "<br>".join(f"`{key}` {currency}{amount:f}" for key, amount in entry.amounts.items())
    above = entry.above_input_tokens
    return amounts if above is None else f"above {above:,} tokens of input:<br>{amounts}"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _sentence(text: str | None) -> str:
    made = (text or "").strip().rstrip(".")
    return f"{made[:1].upper()}{made[1:]}."

"""The provider's page about itself: that it is simulated, and what it has billed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from string import Template
from typing import Final

from pennytrace_collectors.demo.provider.books import Line

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>Simulated provider</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 3rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right}
td:first-child { text-align: left }
strong { background: #ffe08a; padding: 0 .3rem }
</style>
<h1>Simulated provider</h1>
<p><strong>Everything here is simulated</strong>: the models, their answers, their tokens and their prices. It speaks
OpenAI's language under <code>/v1</code>, so that the real SDK can be tried without a key. These are its own books:</p>
<table>
<tr><th>model</th><th>calls</th><th>input tokens</th><th>of these cached</th><th>output tokens</th><th>USD</th></tr>
$rows
</table>
<p>Answered with an error, which the SDK tries again: $errors.</p>
</html>
""")


def page(lines: Mapping[str, Line], turned_away: Mapping[int, int]) -> str:
    """Return the page as HTML."""
    rows = "\n".join(_row(model, line) for model, line in sorted(lines.items()))
    errors = (
        ", ".join(f"{count} with {status}" for status, count in sorted(turned_away.items())) or "none yet"
    )
    return _PAGE.substitute(rows=rows, errors=errors)


def _row(model: str, line: Line) -> str:
    cost = "no price" if line.cost is None else f"{line.cost:.6f}"
    cells = (line.calls, line.input_tokens, line.cached_tokens, line.output_tokens)
    numbers = "".join(f"<td>{number:,}</td>" for number in cells)
    return f"<tr><td>{escape(model)}</td>{numbers}<td>{cost}</td></tr>"

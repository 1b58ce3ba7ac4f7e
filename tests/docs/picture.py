"""Draws the README's picture: the report of a demo, as a terminal shows it. `python tests/docs/picture.py STATE`."""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from pennytrace_collectors.reports import Period, open_reader, read_spend, shown

PICTURE = Path(__file__).parents[2] / "docs" / "report.svg"


def main(state: Path) -> None:
    """Write the picture from what a demo has left in its state folder."""
    now = datetime.now(UTC)
    reader = open_reader(None, state=state)
    spend = read_spend(
        reader, ["feature", "model"], Period(now - timedelta(hours=1), now + timedelta(minutes=1))
    )
    reader.close()
    console = Console(record=True, width=118, file=io.StringIO(), highlight=False)
    console.print(
        "[bold]$ pennytrace report --by feature,model[/]   [dim](pennytrace demo: simulated calls)[/]\n"
    )
    console.print(shown.page(spend, now=now))
    drawing = console.export_svg(title="pennytrace report")
    # The reader's own monospaced font will do: a picture must not fetch anything.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

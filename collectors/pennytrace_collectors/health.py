"""What `/health` says: whether bodies are taken, and what is wrong besides."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pennytrace_collectors.journal import JournalState
from pennytrace_collectors.load import LoaderState
from pennytrace_collectors.metrics import lag_s
from pennytrace_collectors.receive.http import JSON, Reply


def health(journal: JournalState, loader: LoaderState, refused: int, more: Sequence[str] = ()) -> Reply:
    """Answer 200 while bodies are taken and 503 while they are not, with the reasons.

    A store that is away is a warning, not a reason: bodies are still taken, and wait in the journal. `more` are
    warnings of other parts.
    """
    reasons = [journal.refusing] if journal.refusing else []
    warnings = [f"loading fails: {loader.failure}"] if loader.failure else []
    if refused:
        warnings.append(
            f"{refused} bodies that the store refused are set aside: see `pennytrace refused list`"
        )
    warnings += more
    document = {
        "status": "refusing" if reasons else "accepting",
        "reasons": reasons,
        "warnings": warnings,
        "journal_bytes": journal.bytes,
        "journal_segments": journal.segments,
        "lag_seconds": round(lag_s(journal), 3),
    }
    return Reply(503 if reasons else 200, JSON, json.dumps(document).encode() + b"\n")

"""A plugin of vLLM's that writes down, inside the engine core, which trace headers each request has.

It is a JSON line for each, in the file that LISTENER names.
"""

from __future__ import annotations

import functools
import json
import os
from typing import Any


def listen() -> None:
    """Write down every request that comes to an engine core of this process; vLLM calls it more than once."""
    from vllm.v1.engine.core import EngineCore  # type: ignore[import-not-found, unused-ignore]

    heard = EngineCore.add_request
    if hasattr(heard, "listens"):
        return

    @functools.wraps(heard)
    def add_request(core: Any, request: Any, *args: Any) -> Any:
        headers = request.trace_headers
        line = {"id": request.request_id, "headers": None if headers is None else dict(headers)}
        with open(os.environ["LISTENER"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return heard(core, request, *args)

    add_request.listens = True  # type: ignore[attr-defined]
    EngineCore.add_request = add_request

"""Small apps for tests that are about processes, not about client libraries."""

from __future__ import annotations

from typing import Final

APP: Final = """
import os, sys, time
import pennytrace
from pennytrace._calls import active as _active
from pennytrace._delivery.otlp import Span, encode_span

def call(times=1, name="chat m"):
    for _ in range(times):
        ids = os.urandom(24)
        span = Span(ids[8:], ids[:8], None, name, 1, 2, {}, False)
        _active.recorder.delivery.put(lambda span=span: encode_span(span))

pennytrace.init(endpoint=os.environ["TEST_ENDPOINT"], service="app")
"""
"""Makes calls without a client library: those take long to import."""

"""Takes OTLP over HTTP and gRPC, checks it, and acknowledges it once it is in the journal."""

from __future__ import annotations

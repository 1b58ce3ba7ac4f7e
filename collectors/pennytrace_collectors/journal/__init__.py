"""The collector's only state: bodies are on disk before they are acknowledged, until the store has them."""

from __future__ import annotations

from .carried import carried, carries_metrics, opened
from .disk import Disk, LocalDisk
from .journal import Journal, JournalState, Limits
from .segment import Content, Segment

__all__ = [
    "Content",
    "Disk",
    "Journal",
    "JournalState",
    "Limits",
    "LocalDisk",
    "Segment",
    "carried",
    "carries_metrics",
    "opened",
]

"""The files that `pennytrace grafana build` makes: their names, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from pennytrace_dashboards._grafana import render
from pennytrace_dashboards.board import Board
from pennytrace_dashboards.boards import discover
from pennytrace_dashboards.provisioning import ClickHouse, dashboards, datasource

MARK: Final = "Written by pennytrace grafana build; the next build overwrites what is changed here."
"""Stands in every file, so that the next build knows them for its own."""

DASHBOARDS: Final = "dashboards"


def contents(clickhouse: ClickHouse, dashboards_path: PurePath) -> Mapping[str, str]:
    """Each file's text by its path inside the output folder; the same input gives the same bytes.

    Args:
        clickhouse: How Grafana reaches the store.
        dashboards_path: Where Grafana's machine finds the folder `dashboards`.
    """
    boards = {f"{DASHBOARDS}/{name}.json": board_json(board) for name, board in discover().items()}
    comment = f"# {MARK}\n"
    return {
        **boards,
        "provisioning/dashboards/pennytrace.yaml": comment + dashboards(dashboards_path),
        "provisioning/datasources/pennytrace.yaml": comment + datasource(clickhouse),
    }


def board_json(board: Board) -> str:
    """The file of one board."""
    rendered = render(board)
    rendered["description"] = f"{board.description} {MARK}"
    return json.dumps(rendered, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

"""The two YAML files by which Grafana finds the store and the boards at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

import yaml

from pennytrace_dashboards.board import DATASOURCE_TYPE, DATASOURCE_UID, Json

PASSWORD_VARIABLE: Final = "PENNYTRACE_GRAFANA_PASSWORD"
"""Grafana's own environment holds the password under this name, so that no file does."""
FOLDER: Final = "LLM costs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickHouse:
    """Where Grafana reaches the store, over ClickHouse's HTTP interface."""

    host: str = "127.0.0.1"
    port: int = 8123
    database: str = "pennytrace"
    username: str = "default"
    secure: bool = False


def datasource(clickhouse: ClickHouse) -> str:
    """The datasource that every board names, as YAML."""
    entry = {
        "name": "pennytrace",
        "uid": DATASOURCE_UID,
        "type": DATASOURCE_TYPE,
        "access": "proxy",
        "editable": False,
        "jsonData": {
            "protocol": "http",
            "host": _literal(clickhouse.host),
            "port": clickhouse.port,
            "secure": clickhouse.secure,
            "username": _literal(clickhouse.username),
            "defaultDatabase": _literal(clickhouse.database),
            # Seconds; the plugin reads them as text.
            "dialTimeout": "10",
            "queryTimeout": "60",
        },
        "secureJsonData": {"password": f"${PASSWORD_VARIABLE}"},
    }
    return _yaml({"apiVersion": 1, "datasources": [entry]})


def dashboards(folder: PurePath) -> str:
    """The provider that loads every board of a folder, as Grafana's machine sees it, as YAML."""
    entry = {
        "name": "pennytrace",
        "orgId": 1,
        "type": "file",
        "folder": FOLDER,
        "disableDeletion": True,
        # The next build would undo what was saved in the browser.
        "allowUiUpdates": False,
        "updateIntervalSeconds": 30,
        "options": {"path": _literal(str(folder))},
    }
    return _yaml({"apiVersion": 1, "providers": [entry]})


def _literal(value: str) -> str:
    """Escaped, because Grafana replaces `$NAME` in every string of these files by the environment's value."""
    return value.replace("$", "$$")


def _yaml(document: Json) -> str:
    written: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)
    return written

"""What the collector asks of a store: load a segment, settle, count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from typing import Final

from clickhouse_connect.driver.client import Client

from pennytrace_collectors.catalog import Catalog
from pennytrace_collectors.journal import carries_metrics
from pennytrace_collectors.store.client import Address, translated
from pennytrace_collectors.store.scripts import ANY_MONTHS
from pennytrace_collectors.store.settle import settle

_MESSAGE: Final = "ExportTraceServiceRequest"
_SCHEMA: Final = files("pennytrace_collectors.store").joinpath("sql", "otlp_traces.proto")


@dataclass(frozen=True)
class Store:
    """An open store. Its methods are called from one thread at a time; reading has clients of its own."""

    client: Client
    address: Address
    catalog: Catalog

    def load(self, messages: bytes) -> None:
        """Insert length-delimited ExportTraceServiceRequest messages; ClickHouse decodes, normalises and prices them.

        Loading the same spans, or the same metrics that a message carries, again replaces them.

        Raises:
            StoreRefused: the messages cannot be read as OTLP.
            StoreUnavailable: the store is away, busy or full; none, some or all of the messages may be stored.
        """
        with translated(self.address):
            self._insert("otel_traces", messages)
            if carries_metrics(messages):
                self._insert("otel_metrics", messages)

    def settle(self) -> None:
        """Price the calls whose model was not known when they were loaded. Safe to run at any time, twice, or late.

        Raises:
            StoreUnavailable: the store is away; the next settle does what this one did not.
        """
        with translated(self.address):
            settle(self.client, self.address, self.catalog)

    def figures(self) -> Mapping[str, int]:
        """Counts for metrics.

        `unpriced_calls`: those of the last hour that settled without any price. `lost_calls`: all that apps ever
        said they could not keep.

        Raises:
            StoreUnavailable: the store is away.
        """
        with translated(self.address):
            unpriced, lost = self.client.query(
                f"SELECT (SELECT count() FROM {self.address.database}.calls "
                "WHERE started_at > now() - INTERVAL 1 HOUR AND status = 'unpriced' "
                "AND reason != 'unresolved' AND left_out = ''), "
                f"(SELECT sum(calls) FROM {self.address.database}.losses FINAL)"
            ).result_rows[0]
        return {"unpriced_calls": unpriced, "lost_calls": lost}

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def _insert(self, table: str, messages: bytes) -> None:
        self.client.raw_insert(
            f"{self.address.database}.{table}", insert_block=messages, settings=self._reading, fmt="Protobuf"
        )

    @cached_property
    def _reading(self) -> dict[str, str | int]:
        return {
            **(_schema_file() if self.address.folder else _schema_text()),
            "input_format_parallel_parsing": 0,
            # Threads of their own cost more than they bring to a load that runs beside the receivers.
            "max_threads": 1,
            "max_insert_threads": 1,
            # Equal spans in one load are rare; readers and merges keep the newest of them anyway.
            "optimize_on_insert": 0,
            # A load reads no table, so nothing is gained; looking for what to gain takes 40 ms a load.
            "query_plan_enable_optimizations": 0,
            **ANY_MONTHS,
        }


def _schema_file() -> dict[str, str]:
    """For an embedded store: a schema given as text would be cached in whatever directory the process is in."""
    with as_file(_SCHEMA) as path:
        return {"format_schema": f"{path}:{_MESSAGE}"}


def _schema_text() -> dict[str, str]:
    """For a server, which cannot read our files."""
    return {
        "format_schema_source": "string",
        "format_schema": _SCHEMA.read_text("utf-8"),
        "format_schema_message_name": _MESSAGE,
    }

"""`pennytrace grafana build`: writes the boards and the files by which Grafana finds them."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from pennytrace.command import Command
from pennytrace.errors import ConfigurationError

if TYPE_CHECKING:
    from pennytrace_dashboards.provisioning import ClickHouse


@dataclass(frozen=True, slots=True)
class _Grafana:
    name: str = "grafana"
    help: str = "write the Grafana dashboards and their provisioning"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare `build` and its options."""
        actions = parser.add_subparsers(dest="action", metavar="action", required=True)
        build = actions.add_parser(
            "build", help=self.help, description="Write the dashboards and their provisioning."
        )
        build.add_argument(
            "out", metavar="OUT", type=Path, help="the folder to write to; made if it is not there"
        )
        build.add_argument(
            "--clickhouse-host", metavar="HOST", default="127.0.0.1", help="default: %(default)s"
        )
        build.add_argument(
            "--clickhouse-port",
            metavar="PORT",
            type=_port,
            default=8123,
            help="HTTP port; default: %(default)s",
        )
        build.add_argument("--database", default="pennytrace", help="default: %(default)s")
        build.add_argument(
            "--username", default="default", help="an account that may only read; default: %(default)s"
        )
        build.add_argument("--secure", action="store_true", help="reach ClickHouse by TLS")
        build.add_argument(
            "--dashboards-path",
            metavar="PATH",
            help="where Grafana will find the folder OUT/dashboards, if not there; for a container",
        )
        build.add_argument(
            "--force", action="store_true", help="overwrite files that this command did not write"
        )
        build.add_argument("--json", action="store_true", help="list the written files as JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Write the files, and say how Grafana comes to use them."""
        # grafanalib and PyYAML are an extra: only who builds needs them.
        from pennytrace_dashboards.files import DASHBOARDS, MARK, contents
        from pennytrace_dashboards.writing import write

        out = Path(args.out).absolute()
        path = PurePath(args.dashboards_path) if args.dashboards_path else out / DASHBOARDS
        if not path.is_absolute():
            raise ConfigurationError(f"--dashboards-path must be absolute, got {args.dashboards_path!r}")
        files = write(out, contents(_clickhouse(args), path), mark=MARK, force=args.force)
        if args.json:
            print(json.dumps({"files": [str(file) for file in files]}, indent=2))
        else:
            print("\n".join(_for_people(out, files)))
        return 0


COMMAND: Final[Command] = _Grafana()


def _clickhouse(args: argparse.Namespace) -> ClickHouse:
    from pennytrace_dashboards.provisioning import ClickHouse

    given = {
        "--clickhouse-host": args.clickhouse_host,
        "--database": args.database,
        "--username": args.username,
    }
    for option, value in given.items():
        if not value.strip():
            raise ConfigurationError(f"{option} is empty; leave it out for its default")
    return ClickHouse(
        host=args.clickhouse_host,
        port=args.clickhouse_port,
        database=args.database,
        username=args.username,
        secure=args.secure,
    )


def _for_people(out: Path, files: Sequence[Path]) -> list[str]:
    from pennytrace_dashboards.boards import discover
    from pennytrace_dashboards.provisioning import FOLDER, PASSWORD_VARIABLE

    provisioning = shlex.quote(str(out / "provisioning"))
    titles = ", ".join(f'"{board.title}"' for board in discover().values())
    return [
        *(f"wrote {file}" for file in files),
        "",
        "To use it in Grafana 11.6 or newer:",
        "  1. install the plugin:   grafana cli plugins install grafana-clickhouse-datasource",
        f"  2. start Grafana with:   GF_PATHS_PROVISIONING={provisioning}   "
        f"(and {PASSWORD_VARIABLE}, if the store wants a password)",
        f'  3. open the folder "{FOLDER}", dashboard {titles}',
    ]


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"not a port number: {text!r}")

"""`pennytrace grafana build`: what it writes, refuses and says; its YAML keeps the rules of Grafana."""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pennytrace.errors import ConfigurationError
from pennytrace_dashboards.commands.grafana import COMMAND
from pennytrace_dashboards.writing import CannotWrite, ForeignFile


def build(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    COMMAND.add_arguments(parser)
    return COMMAND.run(parser.parse_args(["build", *map(str, arguments)]))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def document(folder: Path, kind: str) -> Any:
    return yaml.safe_load((folder / "provisioning" / kind / "pennytrace.yaml").read_text("utf-8"))


def test_it_writes_the_boards_and_their_provisioning_and_nothing_else(tmp_path: Path) -> None:
    assert build(tmp_path / "new" / "out") == 0
    assert set(files(tmp_path / "new" / "out")) == {
        "dashboards/spend.json",
        "provisioning/dashboards/pennytrace.yaml",
        "provisioning/datasources/pennytrace.yaml",
    }


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    build(tmp_path)
    first = files(tmp_path)
    assert build(tmp_path) == 0
    assert files(tmp_path) == first


def test_it_says_what_was_written_and_how_to_use_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(tmp_path)
    said = capsys.readouterr().out
    assert said.count("wrote ") == 3
    assert f"GF_PATHS_PROVISIONING={tmp_path / 'provisioning'}" in said
    assert "grafana-clickhouse-datasource" in said
    assert re.findall(r"^  (\d)\.", said, re.MULTILINE) == ["1", "2", "3"]


def test_as_json_it_lists_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path, "--json")
    listed = json.loads(capsys.readouterr().out)["files"]
    assert listed == sorted(str(tmp_path / name) for name in files(tmp_path))


def test_it_is_found_by_the_command_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pennytrace.cli",
        "grafana",
        "build",
        str(tmp_path),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["files"]) == 3


def test_the_help_does_not_load_grafanalib() -> None:
    code = (
        "import sys, pennytrace_dashboards.commands.grafana;"
        "print([name for name in ('grafanalib', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", ["dashboards/spend.json", "provisioning/datasources/pennytrace.yaml"])
def test_a_file_of_somebody_else_is_left_alone_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("mine", "utf-8")
    with pytest.raises(ForeignFile, match=re.escape(name)):
        build(tmp_path)
    assert files(tmp_path) == {name: b"mine"}


def test_force_overwrites_a_file_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "dashboards").mkdir()
    (tmp_path / "dashboards" / "spend.json").write_text("mine", "utf-8")
    assert build(tmp_path, "--force") == 0
    assert json.loads((tmp_path / "dashboards" / "spend.json").read_text("utf-8"))["title"] == "Spend"


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "dashboards").mkdir()
    (tmp_path / "dashboards" / "mine.json").write_text("{}", "utf-8")
    build(tmp_path)
    assert (tmp_path / "dashboards" / "mine.json").read_text("utf-8") == "{}"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(CannotWrite, match="file"):
        build(tmp_path / "file")


def test_grafana_may_read_the_files_as_another_user(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        build(tmp_path)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o644}


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "²"])
def test_a_port_that_is_none_is_refused(
    tmp_path: Path, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        build(tmp_path, f"--clickhouse-port={port}")
    assert port in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--clickhouse-host", "--database", "--username"])
def test_an_empty_setting_is_refused_by_name(tmp_path: Path, option: str) -> None:
    with pytest.raises(ConfigurationError, match=option):
        build(tmp_path, f"{option}= ")
    assert files(tmp_path) == {}


def test_a_relative_dashboards_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absolute"):
        build(tmp_path, "--dashboards-path=boards")


def test_the_datasource_is_as_the_plugin_reads_it(tmp_path: Path) -> None:
    build(tmp_path, "--clickhouse-host=ch.internal", "--clickhouse-port=8443", "--database=costs", "--secure")
    provisioned = document(tmp_path, "datasources")
    assert provisioned["apiVersion"] == 1
    (source,) = provisioned["datasources"]
    assert (source["type"], source["uid"]) == ("grafana-clickhouse-datasource", "pennytrace-clickhouse")
    assert (source["access"], source["editable"]) == ("proxy", False)
    settings = source["jsonData"]
    assert (settings["host"], settings["port"], settings["protocol"]) == ("ch.internal", 8443, "http")
    assert (settings["secure"], settings["defaultDatabase"]) == (True, "costs")
    assert (settings["dialTimeout"], settings["queryTimeout"]) == ("10", "60")
    assert "enableRowLimit" not in settings


def test_the_password_comes_from_grafanas_environment_only(tmp_path: Path) -> None:
    build(tmp_path)
    (source,) = document(tmp_path, "datasources")["datasources"]
    assert source["secureJsonData"] == {"password": "$PENNYTRACE_GRAFANA_PASSWORD"}
    assert "password" not in source["jsonData"]


def test_a_dollar_in_a_setting_is_no_variable_to_grafana(tmp_path: Path) -> None:
    build(tmp_path, "--username=pay$roll", "--dashboards-path=/srv/$boards")
    (source,) = document(tmp_path, "datasources")["datasources"]
    (provider,) = document(tmp_path, "dashboards")["providers"]
    assert source["jsonData"]["username"] == "pay$$roll"
    assert provider["options"]["path"] == "/srv/$$boards"


def test_the_provider_loads_the_folder_of_the_boards(tmp_path: Path) -> None:
    build(tmp_path)
    provisioned = document(tmp_path, "dashboards")
    assert provisioned["apiVersion"] == 1
    (provider,) = provisioned["providers"]
    assert (provider["orgId"], provider["type"]) == (1, "file")
    assert (provider["disableDeletion"], provider["allowUiUpdates"]) == (True, False)
    assert provider["folder"]
    assert "folderUid" not in provider
    assert list(Path(provider["options"]["path"]).glob("*.json"))

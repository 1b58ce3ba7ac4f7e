"""The command line: finds its commands by entry point, loads the one that is typed, and explains itself."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, version
from socket import socket
from types import SimpleNamespace
from typing import Any

import pytest

from pennytrace import __version__, cli
from pennytrace.commands import doctor
from pennytrace.errors import ConfigurationError, PennytraceError
from pennytrace.finding import Finding
from tests.instrumentation.processes import BIN, python, run
from tests.instrumentation.sink import Sink


class Said:
    """A command that does what a test says."""

    name = "say"
    help = "says it"

    def __init__(self, do: Callable[[], int]) -> None:
        self._do = do

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--loud", action="store_true")

    def run(self, args: argparse.Namespace) -> int:
        return self._do()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install entry points: a command, or the exception that loading it raises."""

    def installed(**commands: object) -> None:
        entries = {name: _entry(name, thing) for name, thing in commands.items()}
        monkeypatch.setattr(cli, "_discover", lambda: entries)

    return installed


def _entry(name: str, thing: Any) -> Any:
    def load() -> Any:
        if isinstance(thing, BaseException):
            raise thing
        return thing

    return SimpleNamespace(name=name, module=f"pennytrace_collectors.commands.{name}", load=load)


Install = Callable[..., None]
Output = pytest.CaptureFixture[str]


class TestCommands:
    def test_are_run_and_their_status_is_ours(self, install: Install) -> None:
        install(say=Said(lambda: 7))
        assert cli.main(["say", "--loud"]) == 7

    def test_are_all_in_the_help(self, install: Install, capsys: Output) -> None:
        install(say=Said(lambda: 0), other=ModuleNotFoundError("No module named 'chdb'", name="chdb"))
        with pytest.raises(SystemExit) as stopped:
            cli.main(["--help"])
        assert stopped.value.code == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "say says it" in shown
        assert "other needs: pip install 'pennytrace[collector]'" in shown

    def test_that_are_not_typed_are_not_loaded(self, install: Install) -> None:
        install(say=Said(lambda: 0), broken=RuntimeError("loaded"))
        assert cli.main(["say"]) == 0

    def test_without_their_extra_say_what_to_install(self, install: Install, capsys: Output) -> None:
        install(collect=ModuleNotFoundError("No module named 'chdb'", name="chdb"))
        assert cli.main(["collect", "--any", "option"]) == 2
        assert capsys.readouterr().err == (
            "pennytrace: 'collect' needs: pip install 'pennytrace[collector]'\n"
        )

    def test_that_miss_their_extra_only_when_they_run_say_the_same(
        self, install: Install, capsys: Output
    ) -> None:
        def fails() -> int:
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")

        install(say=Said(fails))
        assert cli.main(["say"]) == 2
        assert "pip install 'pennytrace[collector]'" in capsys.readouterr().err

    def test_that_are_broken_do_not_blame_an_extra(self, install: Install, capsys: Output) -> None:
        missing = "pennytrace_collectors.nothing"
        install(say=ModuleNotFoundError(f"No module named '{missing}'", name=missing))
        assert cli.main(["say"]) == 2
        assert f"cannot be loaded: No module named '{missing}'" in capsys.readouterr().err

    def test_that_do_not_exist_are_refused(self, install: Install, capsys: Output) -> None:
        install(say=Said(lambda: 0))
        with pytest.raises(SystemExit) as stopped:
            cli.main(["sing"])
        assert stopped.value.code == 2
        assert "invalid choice: 'sing'" in capsys.readouterr().err


class TestTrouble:
    @pytest.mark.parametrize("kind", [PennytraceError, ConfigurationError])
    def test_that_people_can_put_right_is_one_line(
        self, install: Install, capsys: Output, kind: type[PennytraceError]
    ) -> None:
        def fails() -> int:
            raise kind("no such folder: '/x'; make it")

        install(say=Said(fails))
        assert cli.main(["say"]) == 1
        assert capsys.readouterr().err == "pennytrace: error: no such folder: '/x'; make it\n"

    def test_that_is_a_bug_shows_itself(self, install: Install) -> None:
        def fails() -> int:
            raise ZeroDivisionError

        install(say=Said(fails))
        with pytest.raises(ZeroDivisionError):
            cli.main(["say"])

    def test_ctrl_c_is_status_130(self, install: Install) -> None:
        def interrupted() -> int:
            raise KeyboardInterrupt

        install(say=Said(interrupted))
        assert cli.main(["say"]) == 130

    def test_a_closed_pipe_is_quiet(self) -> None:
        program = (
            "import os, sys; from pennytrace import cli\n"
            "r, w = os.pipe(); os.close(r); os.dup2(w, 1)\n"
            "sys.exit(cli.main(['doctor']))"
        )
        done = python(program, PENNYTRACE_ENDPOINT="http://127.0.0.1:9")
        assert (done.returncode, done.stderr) == (141, "")


def test_the_version_is_shown() -> None:
    done = run([BIN / "pennytrace", "--version"])
    assert (done.returncode, done.stdout) == (0, f"pennytrace {__version__}\n")


def test_no_command_shows_the_help() -> None:
    done = run([BIN / "pennytrace"])
    assert done.returncode == 2
    assert "pennytrace" in done.stdout


def test_running_an_app_loads_no_collector() -> None:
    program = (
        "import sys; from pennytrace import cli; cli.main(['run'])\n"
        "print(*[name for name in sys.modules if name.startswith(('pennytrace_', 'chdb', 'openai'))])"
    )
    assert python(program).stdout.strip() == ""


class TestDoctor:
    def test_is_content_when_all_is_well(self, sink: Sink) -> None:
        done = run([BIN / "pennytrace", "doctor", "--json"], environment={"PENNYTRACE_ENDPOINT": sink.url})
        found = [Finding(**fields) for fields in json.loads(done.stdout)]
        ours = [
            finding for finding in found if finding.area in ("versions", "settings", "openai", "endpoint")
        ]
        assert [finding.state for finding in ours] == ["ok"] * 4
        assert any("every call will be seen" in finding.what for finding in ours)

    def test_names_every_library_by_what_is_installed(self, sink: Sink) -> None:
        done = run([BIN / "pennytrace", "doctor", "--json"], environment={"PENNYTRACE_ENDPOINT": sink.url})
        said = {finding["area"]: finding["what"] for finding in json.loads(done.stdout)}
        for library in ("anthropic", "botocore", "google-genai", "huggingface_hub", "ollama", "openai"):
            assert said[library] == f"{library} {version(library)}: every call will be seen"
        assert said["litellm"] == "not installed: nothing to record"

    def test_names_a_method_that_is_not_where_it_was(self, sink: Sink) -> None:
        program = (
            "import sys; from pennytrace import cli; from ollama._client import Client\n"
            "del Client._request\n"
            "sys.exit(cli.main(['doctor']))"
        )
        done = python(program, PENNYTRACE_ENDPOINT=sink.url)
        assert done.returncode == 1
        assert "has no ollama._client.Client._request: its calls cannot be seen" in done.stdout

    def test_says_what_to_do_when_nobody_listens(self) -> None:
        done = run([BIN / "pennytrace", "doctor"], environment={"PENNYTRACE_ENDPOINT": "http://127.0.0.1:9"})
        assert done.returncode == 1
        assert "FAIL  endpoint" in done.stdout
        assert "start one with `pennytrace collect`" in done.stdout

    def test_knows_the_port_of_the_other_protocol(self) -> None:
        with socket() as trying:
            if trying.connect_ex(("127.0.0.1", 4317)) == 0:
                pytest.skip("something listens on port 4317 of this machine")
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}
        done = run([BIN / "pennytrace", "doctor"], environment=environment)
        assert done.returncode == 1
        assert "port 4317 is OTLP over gRPC" in done.stdout

    def test_names_settings_that_cannot_be_used(self, sink: Sink) -> None:
        environment = {"PENNYTRACE_ENDPOINT": sink.url, "OTEL_EXPORTER_OTLP_HEADERS": "nonsense"}
        done = run([BIN / "pennytrace", "doctor"], environment=environment)
        assert done.returncode == 1
        assert "OTEL_EXPORTER_OTLP_HEADERS: expected key=value, such as" in done.stdout
        assert done.stderr == ""

    def test_asks_every_package_that_has_checks(
        self, monkeypatch: pytest.MonkeyPatch, capsys: Output, sink: Sink
    ) -> None:
        def check() -> Sequence[Finding]:
            return [Finding(area="prices", state="failure", what="a year old", advice="update them")]

        monkeypatch.setenv("PENNYTRACE_ENDPOINT", sink.url)
        monkeypatch.setattr(sys.modules[__name__], "check", check, raising=False)
        entry = EntryPoint("prices", f"{__name__}:check", doctor.GROUP)
        monkeypatch.setattr(doctor, "entry_points", lambda group: [entry])
        assert doctor.COMMAND.run(argparse.Namespace(json=False)) == 1
        shown = capsys.readouterr().out
        assert "FAIL  prices" in shown
        assert "-> update them" in shown

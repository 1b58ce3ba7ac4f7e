"""Apps that do not know of pennytrace: `pennytrace run` and `opentelemetry-instrument`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pennytrace.commands.run import with_pennytrace
from tests.instrumentation.processes import BIN, clean_environment, run
from tests.instrumentation.provider import Provider
from tests.instrumentation.sink import Sink

APP = """
import sys, openai
with openai.OpenAI(api_key="none", base_url=sys.argv[1]) as client:
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])
print(answer.choices[0].message.content)
sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "webshop.py"
    path.write_text(APP)
    return path


class TestRun:
    def test_records_a_script_and_keeps_its_exit_status(
        self, app: Path, provider: Provider, sink: Sink
    ) -> None:
        options = ["--endpoint", sink.url, "--team", "core", "--"]
        done = run([BIN / "pennytrace", "run", *options, sys.executable, app, provider.url, "3"])
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout == "A penny weighs 3.56 g.\n"
        (call,) = sink.spans
        assert call.resource["service.name"] == "webshop"
        assert call.attributes["pennytrace.team"] == "core"
        assert call.attributes["pennytrace.feature"] == "webshop"

    def test_records_a_module(self, app: Path, provider: Provider, sink: Sink) -> None:
        command = [BIN / "pennytrace", "run", "--", sys.executable, "-m", "webshop", provider.url, "0"]
        done = run(command, environment={"PENNYTRACE_ENDPOINT": sink.url}, cwd=app.parent)
        assert (done.returncode, done.stderr) == (0, "")
        assert sink.spans[0].resource["service.name"] == "webshop"

    def test_records_a_console_script(self, app: Path, provider: Provider, sink: Sink) -> None:
        script = app.with_name("webshop")
        script.write_text(f"#!{sys.executable}\n{APP}")
        script.chmod(0o755)
        done = run([BIN / "pennytrace", "run", "--endpoint", sink.url, "--", script, provider.url, "0"])
        assert (done.returncode, done.stderr) == (0, "")
        assert len(sink.spans) == 1

    def test_leaves_signals_to_the_program(self) -> None:
        program = "import signal, sys; print('ready', flush=True); signal.pause()"
        with subprocess.Popen(
            [BIN / "pennytrace", "run", sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            env=clean_environment(),
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == -signal.SIGTERM

    def test_lets_the_machines_own_sitecustomize_run(self, tmp_path: Path) -> None:
        (tmp_path / "sitecustomize.py").write_text("print('mine')")
        command = [BIN / "pennytrace", "run", "--", sys.executable, "-c", "import sys; print('app')"]
        done = run(command, environment={"PYTHONPATH": str(tmp_path)})
        assert (done.returncode, done.stdout, done.stderr) == (0, "mine\napp\n", "")

    def test_keeps_an_app_alive_that_has_no_pennytrace(self) -> None:
        options = ["-S", "-c", "import sitecustomize; print('app')"]
        done = run([BIN / "pennytrace", "run", "--", sys.executable, *options])
        assert (done.returncode, done.stdout) == (0, "app\n")
        assert "has no pennytrace: nothing is recorded" in done.stderr

    def test_keeps_an_app_alive_whose_environment_is_wrong(self, app: Path, provider: Provider) -> None:
        command = [BIN / "pennytrace", "run", "--", sys.executable, "-c", "print('app')"]
        done = run(command, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"})
        assert (done.returncode, done.stdout) == (0, "app\n")
        assert "OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL" in done.stderr

    def test_does_nothing_to_an_app_that_is_switched_off(
        self, app: Path, provider: Provider, sink: Sink
    ) -> None:
        command = [BIN / "pennytrace", "run", "--", sys.executable, app, provider.url, "0"]
        switches = {"PENNYTRACE_DISABLED": "1", "PENNYTRACE_ENDPOINT": sink.url}
        assert run(command, environment=switches).returncode == 0
        assert sink.requests == []

    def test_without_a_program_says_what_to_do(self) -> None:
        done = run([BIN / "pennytrace", "run"])
        assert done.returncode == 1
        assert (
            "pennytrace: error: no program to run; give one: pennytrace run -- python app.py" in done.stderr
        )

    def test_of_a_program_that_is_not_there_says_so(self) -> None:
        done = run([BIN / "pennytrace", "run", "--", "no-such-program"])
        assert done.returncode == 1
        assert "cannot run 'no-such-program': No such file or directory" in done.stderr

    def test_keeps_what_was_on_the_path(self) -> None:
        made = with_pennytrace({"PYTHONPATH": "/a", "X": "1"}, {"team": "t", "feature": None})
        assert made["PYTHONPATH"].split(os.pathsep)[1:] == ["/a"]
        assert (made["X"], made["PENNYTRACE_TEAM"]) == ("1", "t")
        assert "PENNYTRACE_FEATURE" not in made


def test_opentelemetry_instrument_finds_us(app: Path, provider: Provider, sink: Sink) -> None:
    command = [BIN / "opentelemetry-instrument", sys.executable, app, provider.url, "0"]
    environment = {
        "PENNYTRACE_ENDPOINT": sink.url,
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    done = run(command, environment=environment)
    assert done.returncode == 0, done.stderr
    (call,) = sink.spans
    assert call.resource["service.name"] == "shop"


def test_the_instrumentor_starts_and_stops(sink: Sink) -> None:
    from opentelemetry.trace import NoOpTracerProvider

    from pennytrace._calls import active as _active
    from pennytrace.instrumentor import PennytraceInstrumentor

    instrumentor = PennytraceInstrumentor()
    instrumentor.instrument(endpoint=sink.url, tracer_provider=NoOpTracerProvider(), skip_dep_check=True)
    assert _active.recorder is not None
    instrumentor.uninstrument()
    assert _active.recorder is None

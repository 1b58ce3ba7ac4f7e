"""The public functions: what they promise, what they refuse, and what they cost at import."""

from __future__ import annotations

import logging
from typing import Any

import openai
import pytest

import pennytrace
from pennytrace import semconv
from pennytrace._setup import settings as _settings
from pennytrace.errors import ConfigurationError
from tests.instrumentation import sink as sinks
from tests.instrumentation.conftest import Calls
from tests.instrumentation.processes import python
from tests.instrumentation.provider import MODEL, Provider
from tests.instrumentation.sink import Sink

MESSAGES: Any = [{"role": "user", "content": "?"}]


def ask(client: openai.OpenAI) -> None:
    client.chat.completions.create(model=MODEL, messages=MESSAGES)


def test_the_public_names_are_these() -> None:
    assert pennytrace.__all__ == [
        "__version__",
        "carry",
        "flush",
        "init",
        "outgoing_headers",
        "received",
        "shutdown",
        "tag",
    ]
    assert all(hasattr(pennytrace, name) for name in pennytrace.__all__)


class TestInit:
    def test_twice_with_the_same_settings_does_nothing(
        self, client: openai.OpenAI, recording: None, sink: Sink
    ) -> None:
        method = openai._base_client.SyncAPIClient.__dict__["request"]
        pennytrace.init(endpoint=sink.url, service="shop")
        assert openai._base_client.SyncAPIClient.__dict__["request"] is method
        ask(client)
        assert pennytrace.flush()
        assert len(sink.spans) == 1

    def test_with_other_settings_moves_on_and_loses_nothing(
        self, client: openai.OpenAI, recording: None, sink: Sink
    ) -> None:
        ask(client)
        with sinks.running() as other:
            pennytrace.init(endpoint=other.url, service="other")
            ask(client)
            assert pennytrace.flush()
            sink.wait_for(spans=1)
            assert [span.resource["service.name"] for span in sink.spans] == ["shop"]
            assert [span.resource["service.name"] for span in other.spans] == ["other"]
            pennytrace.shutdown()

    def test_after_shutdown_starts_again(self, client: openai.OpenAI, recording: None, sink: Sink) -> None:
        pennytrace.shutdown()
        ask(client)
        pennytrace.init(endpoint=sink.url)
        ask(client)
        assert pennytrace.flush()
        assert len(sink.spans) == 1

    @pytest.mark.parametrize("order", ["init first", "import first", "client first"])
    def test_comes_before_or_after_everything_else(self, provider: Provider, sink: Sink, order: str) -> None:
        steps = {
            "init": f"import pennytrace; pennytrace.init(endpoint={sink.url!r})",
            "import": "import openai",
            "client": f"import openai; client = openai.OpenAI(api_key='none', base_url={provider.url!r})",
        }
        sequence = sorted(steps, key=lambda step: (step != order.split()[0], list(steps).index(step)))
        call = f"client.chat.completions.create(model='m', messages={MESSAGES!r})"
        done = python("\n".join([*(steps[step] for step in sequence), call, "client.close()"]))
        assert done.returncode == 0, done.stderr
        assert len(sink.spans) == 1

    def test_says_where_the_calls_come_from(self, client: openai.OpenAI, sink: Sink) -> None:
        pennytrace.init(
            endpoint=sink.url,
            service="shop",
            environment="production",
            team="core",
            customer="acme",
            tags={"region": "eu"},
        )
        ask(client)
        assert pennytrace.flush()
        (call,) = sink.spans
        assert call.resource == {
            "service.name": "shop",
            "deployment.environment.name": "production",
            "telemetry.sdk.name": "pennytrace",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": pennytrace.__version__,
        }
        assert call.attributes[semconv.TEAM] == "core"
        assert call.attributes[semconv.CUSTOMER] == "acme"
        assert call.attributes["pennytrace.tag.region"] == "eu"

    @pytest.mark.parametrize("switch", ["PENNYTRACE_DISABLED", "OTEL_SDK_DISABLED"])
    def test_does_nothing_when_switched_off(
        self, client: openai.OpenAI, sink: Sink, monkeypatch: pytest.MonkeyPatch, switch: str
    ) -> None:
        monkeypatch.setenv(switch, "true")
        pennytrace.init(endpoint=sink.url)
        ask(client)
        assert pennytrace.flush()
        assert sink.requests == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"endpoint": "localhost:4318"}, "endpoint: expected a URL with http:// or https:// and a host"),
            ({"endpoint": "http://"}, "endpoint: expected a URL"),
            ({"endpoint": "http://host:99999"}, "got 'http://host:99999'"),
            ({"endpoint": "grpc://host:4317"}, "'grpc://host:4317'"),
            ({"endpoint": 4318}, "got 4318"),
            ({"headers": {"bad name": "x"}}, "headers: 'bad name' cannot be a header's name"),
            ({"headers": {"x": "a\r\nb"}}, "the value of 'x'"),
            ({"headers": "x"}, "expected key=value, such as"),
            ({"service": ""}, "service: expected a name, got ''"),
            ({"service": 3}, "service: expected a name, got 3"),
            ({"tags": "gold"}, "tags: expected a mapping, got 'gold'"),
            ({"queue_size": -1}, "queue_size: expected a whole number of at least 1, got -1"),
        ],
    )
    def test_says_what_is_wrong_with_an_argument(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            pennytrace.init(**arguments)
        assert message in str(caught.value)

    def test_never_repeats_the_value_of_a_header(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            pennytrace.init(headers={"authorization": "Bearer s3cret\n"})
        assert "s3cret" not in str(caught.value)


class TestEnvironment:
    @pytest.mark.parametrize(
        ("variables", "url"),
        [
            ({}, "http://127.0.0.1:4318/v1/traces"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}, "http://c:1/v1/traces"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/base/"}, "http://c:1/base/v1/traces"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/v1/traces"}, "http://c:1/v1/traces"),
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/own"}, "http://c:1/own"),
            (
                {
                    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/own",
                    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d:1",
                    "PENNYTRACE_ENDPOINT": "http://p:1",
                },
                "http://p:1/v1/traces",
            ),
        ],
    )
    def test_names_the_collector(self, variables: dict[str, str], url: str) -> None:
        assert _settings.resolve({}, variables).url == url

    def test_names_everything_else(self) -> None:
        settings = _settings.resolve(
            {},
            {
                "OTEL_SERVICE_NAME": "shop",
                "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,deployment.environment.name=staging,k=a%20b",
                "OTEL_EXPORTER_OTLP_HEADERS": "api-key=abc%3D,x=1",
                "PENNYTRACE_FEATURE": "whole app",
                "PENNYTRACE_TEAM": "core",
                "PENNYTRACE_CUSTOMER": "acme",
                "PENNYTRACE_TAGS": "region=eu",
                "PENNYTRACE_QUEUE_SIZE": "7",
            },
        )
        assert settings.service == "shop"
        assert settings.environment == "staging"
        assert settings.resource == (("k", "a b"),)
        assert settings.headers == (("api-key", "abc="), ("x", "1"))
        assert dict(settings.defaults) == {
            semconv.FEATURE: "whole app",
            semconv.TEAM: "core",
            semconv.CUSTOMER: "acme",
            "pennytrace.tag.region": "eu",
        }
        assert settings.queue_size == 7

    def test_gives_way_to_arguments(self) -> None:
        variables = {"PENNYTRACE_SERVICE": "a", "OTEL_SERVICE_NAME": "b", "PENNYTRACE_TEAM": "c"}
        settings = _settings.resolve({"service": "mine", "team": "ours"}, variables)
        assert settings.service == "mine"
        assert dict(settings.defaults) == {semconv.TEAM: "ours"}

    def test_that_is_wrong_is_logged_and_does_not_stop_the_app(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "nonsense")
        monkeypatch.setenv("PENNYTRACE_QUEUE_SIZE", "many")
        with caplog.at_level(logging.ERROR, logger="pennytrace"):
            pennytrace.init()
        assert "OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL" in caplog.text
        assert "OTEL_EXPORTER_OTLP_HEADERS: expected key=value" in caplog.text
        assert "PENNYTRACE_QUEUE_SIZE: expected a whole number" in caplog.text

    def test_need_not_name_the_service(self, provider: Provider, sink: Sink, tmp_path: Any) -> None:
        from tests.instrumentation.processes import BIN, run

        app = tmp_path / "webshop.py"
        app.write_text(
            f"import pennytrace, openai; pennytrace.init(endpoint={sink.url!r})\n"
            f"with openai.OpenAI(api_key='none', base_url={provider.url!r}) as client:\n"
            f"    client.embeddings.create(model='m', input='x', encoding_format='float')\n"
        )
        done = run([BIN / "python", app])
        assert done.returncode == 0, done.stderr
        assert sink.spans[0].resource["service.name"] == "webshop"
        assert sink.spans[0].attributes[semconv.FEATURE] == "webshop"


class TestShutdown:
    def test_puts_everything_back(self, client: openai.OpenAI, sink: Sink) -> None:
        sync = openai._base_client.SyncAPIClient.__dict__["request"]
        both = openai._base_client.AsyncAPIClient.__dict__["request"]
        pennytrace.init(endpoint=sink.url)
        assert openai._base_client.SyncAPIClient.__dict__["request"] is not sync
        assert pennytrace.shutdown()
        assert openai._base_client.SyncAPIClient.__dict__["request"] is sync
        assert openai._base_client.AsyncAPIClient.__dict__["request"] is both

    def test_delivers_what_was_recorded(self, client: openai.OpenAI, recording: None, sink: Sink) -> None:
        ask(client)
        assert pennytrace.shutdown()
        assert len(sink.spans) == 1

    def test_leaves_a_wrapper_around_ours_working(
        self, client: openai.OpenAI, recording: None, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours = openai._base_client.SyncAPIClient.__dict__["request"]
        seen = []

        def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(1)
            return ours.__get__(self, type(self))(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(openai._base_client.SyncAPIClient, "request", theirs)
            pennytrace.shutdown()
            ask(client)
            pennytrace.init(endpoint=sink.url, service="again")
            ask(client)
            assert pennytrace.flush()
            assert len(seen) == 2
            assert len(sink.spans) == 1, "and wrapped once, not twice"
        pennytrace.shutdown()

    def test_of_a_client_in_use_lets_an_open_stream_finish(
        self, client: openai.OpenAI, recording: None, sink: Sink
    ) -> None:
        stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        next(stream)
        pennytrace.shutdown()
        assert len(list(stream)) == 3
        sink.wait_for(spans=1)

    def test_without_init_is_fine(self) -> None:
        assert pennytrace.shutdown()
        assert pennytrace.flush()


@pytest.mark.parametrize("timeout", [-1, "1", None, True, float("nan")])
def test_a_timeout_must_be_seconds(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout: expected seconds"):
        pennytrace.flush(timeout)


def test_an_app_that_makes_no_call_sends_nothing(calls: Calls, sink: Sink) -> None:
    assert calls() == []
    assert sink.requests == []


HEAVY = (
    "asyncio",
    "email",
    "http.client",
    "importlib.metadata",
    "openai",
    "opentelemetry",
    "pydantic",
    "requests",
    "ssl",
    "wrapt",
)


def test_starting_loads_nothing_heavy() -> None:
    done = python(
        "import sys; before = set(sys.modules)\n"
        "import pennytrace; pennytrace.init()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint(HEAVY)
    assert "pennytrace.providers.openai" in loaded

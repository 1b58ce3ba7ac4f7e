"""Who spends is known inside vLLM's engine core: of a client's requests, and of those made in the engine's process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from pennytrace import semconv
from pennytrace._attribution.tracestate import read
from tests.collectors.waiting import eventually
from tests.engines import environment
from tests.engines.beside import install
from tests.instrumentation import sink as sinks
from tests.instrumentation.processes import run
from tests.instrumentation.sink import Sink
from tests.integration.engine import Engine, make_model, serving, surroundings

pytestmark = pytest.mark.engines

APPS: Final = Path(__file__).parent / "apps"
LISTENER: Final = "vllm_tags_listener"
PARENT: Final = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
"""Of the trace that the app says itself that it is in."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listener:
    """What is installed beside vLLM, and what is heard inside its engine core."""

    variables: Mapping[str, str]
    file: Path

    def heard(self) -> list[Record]:
        """The requests that came to the engine core, first to last."""
        return [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]

    def headers_of(self, id: str) -> list[dict[str, str] | None]:
        """The trace headers of the requests that were made for a response."""
        return [request["headers"] for request in self.heard() if id in request["id"]]


@dataclass(frozen=True, slots=True)
class Scene:
    """An app has asked vLLM's server."""

    calls: Mapping[str, str]
    """The ids of responses by what was asked."""
    listener: Listener
    sink: Sink
    engine: Engine

    def headers(self, call: str, *, requests: int = 1) -> dict[str, str]:
        """The trace headers that a call's requests have, which are the same for each."""
        found = self.listener.headers_of(self.calls[call])
        assert len(found) == requests, (call, self.calls, self.listener.heard())
        (headers,) = {json.dumps(one) for one in found}
        return dict(json.loads(headers))


def installed(folder: Path) -> Listener:
    """Install pennytrace beside vLLM, and a plugin that listens."""
    found = install(folder)
    plugin = folder / "listener"
    about = plugin / f"{LISTENER}-1.dist-info"
    about.mkdir(parents=True)
    shutil.copy(APPS / f"{LISTENER}.py", plugin)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {LISTENER}\nVersion: 1\n", "utf-8")
    (about / "entry_points.txt").write_text(
        f"[vllm.general_plugins]\n{LISTENER} = {LISTENER}:listen\n", "utf-8"
    )
    path = os.pathsep.join([found["PYTHONPATH"], str(plugin)])
    file = folder / "heard.jsonl"
    return Listener({**found, "PYTHONPATH": path, "LISTENER": str(file)}, file)


def served(folder: Path, *, options: Sequence[str] = (), arguments: Sequence[str] = ()) -> Iterator[Scene]:
    """Let the app ask a server, and end both."""
    listener = installed(folder)
    with sinks.running() as sink:
        settings = {**listener.variables, "PENNYTRACE_ENDPOINT": sink.url, "PENNYTRACE_SPOOL": "off"}
        with serving(folder, variables=settings, options=options) as engine:
            variables = {
                "OPENAI_BASE_URL": engine.url,
                "OPENAI_API_KEY": "none",
                "PENNYTRACE_ENDPOINT": sink.url,
                "PENNYTRACE_SPOOL": "off",
            }
            done = run(
                [sys.executable, APPS / "vllm_tags.py", *arguments], environment=variables, seconds=180
            )
            assert done.returncode == 0, f"{done.stderr}\n{engine.last_words()}"
            calls = {told["call"]: told["id"] for told in map(json.loads, done.stdout.splitlines())}
            yield Scene(calls, listener, sink, engine)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from served(tmp_path_factory.mktemp("tags"))


def tags(feature: str) -> dict[str, str]:
    """What the client says of a call under a feature: not the user, and no tag of the app's own."""
    return {
        semconv.FEATURE: f"{feature}, ä=b",
        semconv.FEATURE_SOURCE: semconv.FROM_TAG,
        semconv.TEAM: "shop",
        semconv.CUSTOMER: "acme",
        semconv.SESSION_ID: "s-1",
    }


class TestVllmServe:
    @pytest.mark.parametrize(
        ("call", "requests"),
        [("chat", 1), ("stream", 1), ("asynchronous", 1), ("completion", 2), ("drafts", 2), ("response", 1)],
    )
    def test_the_engine_core_knows_who_asks(self, scene: Scene, call: str, requests: int) -> None:
        assert read(scene.headers(call, requests=requests)["tracestate"]) == tags(call)

    def test_it_knows_the_function_where_nobody_has_tagged(self, scene: Scene) -> None:
        assert read(scene.headers("untagged")["tracestate"]) == {
            semconv.FEATURE: "vllm_tags.chat",
            semconv.FEATURE_SOURCE: semconv.FROM_FUNCTION,
            semconv.TEAM: "shop",
        }

    def test_the_parent_is_the_clients_call(self, scene: Scene) -> None:
        (call,) = [
            span
            for span in scene.sink.spans
            if span.attributes.get(semconv.RESPONSE_ID) == scene.calls["chat"]
            and span.attributes.get(semconv.SERVER_ADDRESS) == "127.0.0.1"
        ]
        parent = scene.headers("chat")["traceparent"]
        assert parent == f"00-{call.trace_id.hex()}-{call.span_id.hex()}-01"

    def test_the_engines_own_record_says_it_too(self, scene: Scene) -> None:
        def records() -> list[dict[str, Any]]:
            found = [span.attributes for span in scene.sink.spans]
            engines = [record for record in found if record.get(semconv.GPU_SOURCE) == semconv.FROM_ENGINE]
            return [one for one in engines if one.get(semconv.RESPONSE_ID) == scene.calls["stream"]]

        (record,) = eventually(records, within_s=30, what="the engine's record")
        assert tags("stream").items() <= record.items()

    def test_what_the_app_says_itself_stays(self, scene: Scene) -> None:
        headers = scene.headers("traced")
        assert headers["traceparent"] == f"00-{PARENT}"
        assert headers["tracestate"].endswith(",congo=t61rcWkgMzE")
        assert read(headers["tracestate"]) == tags("traced")

    def test_who_says_nothing_is_nobody(self, scene: Scene) -> None:
        import openai

        with openai.OpenAI(base_url=scene.engine.url, api_key="none", max_retries=0) as client:
            answer = client.completions.create(model="tiny-llama", prompt="one", max_tokens=2)
        assert scene.listener.headers_of(answer.id) == [None]

    def test_vllm_itself_does_not_trace(self, scene: Scene) -> None:
        log = scene.engine.log.read_text("utf-8")
        assert "pennytrace failed" not in log
        assert "Traceback" not in log


def test_a_model_that_embeds_knows_who_asks(tmp_path: Path) -> None:
    pooling = ("--runner", "pooling", "--convert", "embed")
    for scene in served(tmp_path, options=pooling, arguments=["embeddings"]):
        assert read(scene.headers("embeddings", requests=2)["tracestate"]) == tags("embeddings")


@dataclass(frozen=True, slots=True)
class Offline:
    """An app has run vLLM in its own process."""

    told: Sequence[Record]
    heard: Sequence[Record]

    def __iter__(self) -> Iterator[tuple[str, dict[str, str] | None]]:
        """The feature that the app was in, and the headers of its requests, first to last."""
        features = [told["feature"] for told in self.told for _ in range(told["requests"])]
        assert len(features) == len(self.heard)
        by_time = zip(features, self.heard, strict=True)
        return iter([(feature, request["headers"]) for feature, request in by_time])


def ran(folder: Path, kind: str) -> Offline:
    """Run the app to its end."""
    listener, model = installed(folder), make_model(folder)
    app = APPS / "vllm_tags_offline.py"
    with sinks.running() as sink:
        settings = {**listener.variables, "MODEL": str(model), "PENNYTRACE_ENDPOINT": sink.url}
        done = subprocess.run(
            [environment.program("python"), app, kind],
            env=surroundings(folder, settings),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "pennytrace failed" not in done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"feature"')]
    return Offline(told, listener.heard())


def test_offline_every_request_is_of_who_asks_for_it(tmp_path: Path) -> None:
    offline = ran(tmp_path, "LLM")
    found: dict[str, list[dict[str, str] | None]] = {}
    for feature, headers in offline:
        found.setdefault(feature, []).append(headers)
    assert found.pop("") == [None], "nobody records any more"
    who = {
        feature: [read((one or {})["tracestate"]) for one in headers] for feature, headers in found.items()
    }

    def tagged(feature: str, **more: str) -> dict[str, str]:
        source = {semconv.FEATURE_SOURCE: semconv.FROM_TAG, semconv.TEAM: "shop"}
        return {semconv.FEATURE: feature, **source, **more}

    everything = {
        semconv.CUSTOMER: "acme",
        semconv.USER_ID: "u-1",
        f"{semconv.TAG_PREFIX}experiment": "short",
    }
    function = "vllm_tags_offline.recommend"
    assert who == {
        "summaries": [tagged("summaries", **everything)] * 2,
        "chats": [tagged("chats")] * 2,
        "drafts": [tagged("drafts")] * 2,
        "queued": [tagged("queued")] * 2,
        function: [{**tagged(function), semconv.FEATURE_SOURCE: semconv.FROM_FUNCTION}],
        "traced": [tagged("traced")],
    }
    (trace,) = [told for told in offline.told if told["feature"] == "traced"]
    parents = {feature: (headers[0] or {}).get("traceparent") for feature, headers in found.items()}
    assert parents.pop("traced") == f"00-{trace['trace']}-{trace['span']}-00"
    assert set(parents.values()) == {None}


def test_an_app_with_the_asynchronous_engine_too(tmp_path: Path) -> None:
    offline = ran(tmp_path, "AsyncLLM")
    headers = [(feature, (given or {})["tracestate"]) for feature, given in offline]
    # Three tasks ask at once, and may come in any order.
    asked, knows = [feature for feature, _ in headers], [read(state)[semconv.FEATURE] for _, state in headers]
    assert sorted(knows) == sorted(asked)
    assert knows[3:] == asked[3:] == ["drafts", "drafts", "merged", "theirs"]
    assert headers[5][1].endswith(",congo=t61rcWkgMzE")
    assert headers[6][1] == "pennytrace=feature:theirs"

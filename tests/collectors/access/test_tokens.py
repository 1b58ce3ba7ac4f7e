"""Tokens on both protocols, with the exporters that apps really use: who is let in, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from pennytrace._delivery.http import HttpTransport
from pennytrace._setup.settings import resolve
from pennytrace_collectors.access import Gate, WatchedAccess
from pennytrace_collectors.access.secret import new_secret
from pennytrace_collectors.errors import OverAllowance
from pennytrace_collectors.receive.bearer import Allowance
from tests.collectors import capacity, otlp
from tests.collectors.receive.receiver import Receiver, receiving

from .files import entry, written

SHOP, BATCH, OLD = new_secret(), new_secret(), new_secret()
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


class Guarded:
    """A receiver and the access file that it is guarded by."""

    def __init__(self, receiver: Receiver, path: Path, watched: WatchedAccess) -> None:
        self.receiver = receiver
        self.path = path
        self.watched = watched

    def write(self, *parts: str) -> None:
        written(self.path, *parts)
        self.watched.refresh()

    def post(self, authorization: str = "", body: bytes = b"", path: str = "/v1/traces") -> tuple[int, str]:
        headers = {"Authorization": authorization} if authorization else {}
        answer = self.receiver.post(body or otlp.body(), path=path, headers=headers)
        return answer.status, Status.FromString(answer.body).message if answer.status != 200 else ""

    def export(
        self, authorization: str = "", body: bytes = b"", method: str = TRACES
    ) -> tuple[grpc.StatusCode, str, Status]:
        with grpc.insecure_channel(f"127.0.0.1:{self.receiver.grpc_port}") as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            metadata = (("authorization", authorization),) if authorization else ()
            future = call.future(body or otlp.body(), timeout=30, metadata=metadata)
            details = dict(future.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            return future.code(), future.details() or "", Status.FromString(details)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    path = written(
        tmp_path / "access.toml",
        entry("token", "shop", SHOP),
        entry("token", "batch", BATCH),
        entry("token", "old", OLD) + "valid_to = 2026-01-01\n",
    )
    watched = WatchedAccess(path)
    with receiving(doors=Gate(lambda: watched.in_force)) as receiver:
        yield Guarded(receiver, path, watched)


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        ("", "a token is needed: send the header 'Authorization: Bearer TOKEN'"),
        ("Bearer " + "x" * 43, "the token is none that this collector knows"),
        ("Bearer " + SHOP[:-1], "the token is none that this collector knows"),
        ("Basic c2hvcDpzZWNyZXQ=", "not of the form 'Bearer TOKEN'"),
        ("Bearer ", "not of the form 'Bearer TOKEN'"),
        ("Bearer " + OLD, "the token 'old' was valid to 2026-01-01"),
    ],
    ids=["none", "unknown", "cut", "basic", "empty", "old"],
)
@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_who_has_no_token_is_told_so_and_nothing_is_taken(
    guarded: Guarded, authorization: str, words: str, signal: str
) -> None:
    status, said = guarded.post(authorization, path=f"/v1/{signal}")
    code, details, status_message = guarded.export(
        authorization, method=TRACES if signal == "traces" else METRICS
    )

    assert (status, code) == (401, grpc.StatusCode.UNAUTHENTICATED)
    assert words in said
    assert said == details == status_message.message
    assert authorization.removeprefix("Bearer ") not in said or not authorization.removeprefix("Bearer ")
    assert guarded.receiver.memory.bodies == []


def test_the_answer_over_http_names_the_scheme(guarded: Guarded) -> None:
    assert guarded.receiver.post(otlp.body()).headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("secret", [SHOP, BATCH], ids=["shop", "batch"])
def test_each_token_lets_in_traces_and_metrics_on_both_protocols(guarded: Guarded, secret: str) -> None:
    points = capacity.request([capacity.held(0, 60)]).SerializeToString()

    assert guarded.post(f"Bearer {secret}")[0] == 200
    assert guarded.post(f"bearer {secret}", points, "/v1/metrics")[0] == 200
    assert guarded.export(f"Bearer {secret}")[0] is grpc.StatusCode.OK
    assert guarded.export(f"Bearer {secret}", points, METRICS)[0] is grpc.StatusCode.OK
    assert len(guarded.receiver.memory.bodies) == 4


def test_a_token_is_rotated_without_a_restart(guarded: Guarded) -> None:
    new = new_secret()
    both = entry("token", "shop", SHOP).replace("\nsha256 = ", "\nsha256 = [") + "]"
    both = both.replace('"\n]', f'", "{entry("token", "x", new).split(chr(34))[3]}"]')

    guarded.write(both)
    assert [guarded.post(f"Bearer {one}")[0] for one in (SHOP, new, BATCH)] == [200, 200, 401]

    guarded.write(entry("token", "shop", new))
    assert [guarded.post(f"Bearer {one}")[0] for one in (SHOP, new)] == [401, 200]


def test_a_large_body_without_a_token_is_answered_over_grpc(guarded: Guarded) -> None:
    code, _, _ = guarded.export(body=bytes(32 * 1024**2))
    assert code is grpc.StatusCode.UNAUTHENTICATED


def over_http(receiver: Receiver) -> SpanExporter:
    return HttpExporter(endpoint=f"http://127.0.0.1:{receiver.http_port}/v1/traces")


def over_grpc(receiver: Receiver) -> SpanExporter:
    return GrpcExporter(endpoint=f"127.0.0.1:{receiver.grpc_port}", insecure=True)


@pytest.mark.parametrize("exporter", [over_http, over_grpc])
def test_otels_exporters_take_the_token_from_their_variable(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, exporter: object
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"Authorization=Bearer%20{SHOP}")
    provider = TracerProvider()
    made = over_http(guarded.receiver) if exporter is over_http else over_grpc(guarded.receiver)
    provider.add_span_processor(SimpleSpanProcessor(made))
    with provider.get_tracer("shop").start_as_current_span("chat gpt-4o", attributes=dict(otlp.CALL)):
        pass
    provider.shutdown()
    assert guarded.receiver.memory.spans == 1


@pytest.mark.parametrize("variable", ["PENNYTRACE_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"])
@pytest.mark.parametrize("space", [" ", "%20"])
def test_pennytraces_own_delivery_takes_it_too_and_keeps_what_is_refused(
    guarded: Guarded, variable: str, space: str
) -> None:
    def transport(secret: str) -> HttpTransport:
        told = resolve({}, {variable: f"Authorization=Bearer{space}{secret}"})
        url = f"http://127.0.0.1:{guarded.receiver.http_port}/v1/traces"
        return HttpTransport(url, headers=dict(told.headers), compress=False)

    wrong, right = transport(new_secret()), transport(SHOP)
    refused, taken = wrong.send(otlp.body()), right.send(otlp.body())
    wrong.close()
    right.close()

    assert (refused.accepted, refused.again) == (False, True)
    assert "401" in refused.reason
    assert taken.accepted


def test_over_its_limit_a_token_is_told_when_to_come_back_and_others_are_not_held_up(
    guarded: Guarded,
) -> None:
    guarded.write(
        entry("token", "shop", SHOP, bytes_per_s=100, spans_per_body=100), entry("token", "batch", BATCH)
    )
    assert guarded.post(f"Bearer {SHOP}", otlp.body(50))[0] == 200  # larger than the limit, but the first

    answer = guarded.receiver.post(otlp.body(), headers={"Authorization": f"Bearer {SHOP}"})
    code, _, details = guarded.export(f"Bearer {SHOP}")

    retry = RetryInfo()
    assert (answer.status, code) == (429, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert details.details[0].Unpack(retry)
    assert 1 <= retry.retry_delay.seconds <= int(answer.headers["retry-after"]) < 1000
    assert guarded.post(f"Bearer {BATCH}")[0] == 200


def test_a_body_with_too_many_spans_for_its_token_is_too_large(guarded: Guarded) -> None:
    guarded.write(entry("token", "shop", SHOP, spans_per_body=2))
    assert guarded.post(f"Bearer {SHOP}", otlp.body(2))[0] == 200
    status, said = guarded.post(f"Bearer {SHOP}", otlp.body(3))
    assert (status, said.partition(";")[0]) == (
        413,
        "the body has 3 spans, and this token may send 2 in one",
    )


def test_an_allowance_is_an_average_that_one_body_may_exceed() -> None:
    clock = [0.0]
    allowance = Allowance(100, now=lambda: clock[0])
    allowance.require()
    allowance.spend(1500)  # ten seconds' worth, and five more
    with pytest.raises(OverAllowance) as caught:
        allowance.require()
    assert caught.value.retry_after_s == 5
    clock[0] = 5.1
    allowance.require()

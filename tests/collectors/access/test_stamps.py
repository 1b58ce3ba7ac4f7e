"""What a token makes calls say: stamped over what they say themselves, or refused; nobody else can stamp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pennytrace_collectors.access import Gate, WatchedAccess
from pennytrace_collectors.access.secret import new_secret
from pennytrace_collectors.journal.record import frame, varint
from pennytrace_collectors.store import Store
from tests.collectors import capacity, otlp
from tests.collectors.calls import spend
from tests.collectors.receive.receiver import Receiver, receiving

from .files import entry, written

STAMP, RESTRICT, PLAIN, HALF = (new_secret() for _ in range(4))
PROD = {"team": "checkout", "environment": "prod"}


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    path = written(
        tmp_path / "access.toml",
        entry("token", "stamping", STAMP, **PROD),
        entry("token", "restricting", RESTRICT, mode="restrict", **PROD),
        entry("token", "plain", PLAIN),
        entry("token", "half", HALF, team="ßearch"),
    )
    watched = WatchedAccess(path)
    with receiving(doors=Gate(lambda: watched.in_force)) as receiver:
        yield receiver


def post(
    receiver: Receiver, secret: str, body: bytes, path: str = "/v1/traces", **more: str
) -> tuple[int, str]:
    answer = receiver.post(body, path=path, headers={"Authorization": f"Bearer {secret}"}, **more)
    return answer.status, Status.FromString(answer.body).message if answer.status >= 400 else ""


def call(team: str = "", **more: str) -> Span:
    return otlp.span({**otlp.CALL, **({"pennytrace.team": team} if team else {}), **more})


def said(spans: list[Span], environment: str = "") -> bytes:
    request = otlp.request(spans)
    if environment:
        request.resource_spans[0].resource.attributes.append(
            KeyValue(key="deployment.environment.name", value=AnyValue(string_value=environment))
        )
    return request.SerializeToString()


def load(store: Store, receiver: Receiver) -> None:
    """Load what was received as the journal frames it."""
    stream = bytearray()
    for body in receiver.memory.bodies:
        framing = frame(body, 1)
        stream += framing.prefix + body + framing.trailer
    store.load(bytes(stream))
    store.settle()


def owners(store: Store) -> list[tuple[str, str]]:
    rows = spend(store, "team, environment")
    return sorted((row["team"], row["environment"]) for row in rows)


def test_a_stamp_goes_over_what_calls_say_and_touches_no_other_body(
    receiver: Receiver,
    store: Store,
) -> None:
    spans = [call("ads"), call(), call("checkout")]
    assert post(receiver, PLAIN, said([call("ads"), call()], "dev"))[0] == 200
    assert post(receiver, STAMP, said(spans, "dev"))[0] == 200
    assert post(receiver, HALF, said([call("ads"), call()], "dev"))[0] == 200
    assert post(receiver, PLAIN, said([call("late")]))[0] == 200

    load(store, receiver)

    assert owners(store) == sorted(
        [("ads", "dev"), ("", "dev"), *[("checkout", "prod")] * 3, *[("ßearch", "dev")] * 2, ("late", "")]
    )
    assert all(row["cost"] is not None for row in spend(store, "cost"))


def test_json_is_stamped_too(receiver: Receiver, store: Store) -> None:
    body = otlp.json_body(otlp.request([call("ads")]))
    assert post(receiver, STAMP, body, content_type="application/json")[0] == 200
    load(store, receiver)
    assert owners(store) == [("checkout", "prod")]


def test_a_restricted_token_fills_in_what_is_missing_and_refuses_what_is_another(
    receiver: Receiver,
    store: Store,
) -> None:
    assert post(receiver, RESTRICT, said([call(), call("checkout")], "prod"))[0] == 200
    assert post(receiver, RESTRICT, said([call()]))[0] == 200

    status, words = post(receiver, RESTRICT, said([call("checkout"), call("ads")]))
    assert status == 403
    assert words.startswith("the token 'restricting' may send pennytrace.team 'checkout' only")
    assert post(receiver, RESTRICT, said([call()], "dev"))[0] == 403

    load(store, receiver)
    assert owners(store) == [("checkout", "prod")] * 3


def points(environment: str = "") -> bytes:
    made = capacity.request([capacity.held(0, 60)])
    kept = [pair for pair in made.resource_metrics[0].resource.attributes if "environment" not in pair.key]
    del made.resource_metrics[0].resource.attributes[:]
    made.resource_metrics[0].resource.attributes.extend(kept)
    if environment:
        said = AnyValue(string_value=environment)
        made.resource_metrics[0].resource.attributes.append(
            KeyValue(key="deployment.environment.name", value=said)
        )
    return made.SerializeToString()


def test_gpu_points_get_the_environment_of_their_token(receiver: Receiver, store: Store) -> None:
    for secret, environment, status in (
        (STAMP, "dev", 200), (STAMP, "", 200), (RESTRICT, "", 200), (RESTRICT, "prod", 200), (RESTRICT, "dev", 403),
    ):  # fmt: skip
        assert post(receiver, secret, points(environment), "/v1/metrics")[0] == status

    load(store, receiver)

    rows = store.client.query("SELECT DISTINCT environment FROM pennytrace.gpu_points").result_rows
    assert list(rows) == [("prod",)]


def smuggled(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


FORGED_STAMP = smuggled(150_020_002, b"\x0a\x05other\x12\x03dev")
FORGED_METRICS = smuggled(150_020_001, b"metrics are carried here..") + smuggled(
    150_020_000, capacity.request([capacity.held(0, 60)]).SerializeToString()
)


@pytest.mark.parametrize("where", ["before", "after", "beside a span without ids"])
@pytest.mark.parametrize("secret", [PLAIN, STAMP], ids=["plain", "stamp"])
def test_a_client_can_smuggle_neither_a_stamp_nor_metrics(
    receiver: Receiver,
    store: Store,
    where: str,
    secret: str,
) -> None:
    spans = [call("ads")] if where != "beside a span without ids" else [call("ads"), Span(span_id=b"1")]
    body, forged = said(spans, "test"), FORGED_STAMP + FORGED_METRICS

    assert post(receiver, secret, forged + body if where == "before" else body + forged)[0] == 200

    load(store, receiver)
    assert owners(store) == [("ads", "test") if secret == PLAIN else ("checkout", "prod")]
    assert store.client.command("SELECT count() FROM pennytrace.gpu_points") == 0

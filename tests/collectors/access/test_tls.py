"""TLS and mutual TLS on every port, with real certificates and the clients that are really used."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import trustme
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from pennytrace._delivery.http import HttpTransport
from pennytrace._setup.settings import resolve
from pennytrace_collectors.access.entries import TlsFiles
from pennytrace_collectors.errors import AccessFileError
from pennytrace_collectors.receive.tls import Tls
from tests.collectors import otlp
from tests.collectors.receive.receiver import Receiver, receiving

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True)
class Papers:
    """The authority of a server, another that nobody trusts, and the files of the server."""

    ours: trustme.CA
    others: trustme.CA
    folder: Path

    def issue(self, ca: trustme.CA | None = None) -> None:
        issued = (ca or self.ours).issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(self.folder / "server.key")
        (self.folder / "server.pem").unlink(missing_ok=True)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(self.folder / "server.pem", append=True)

    def files(self, *, mutual: bool = False) -> TlsFiles:
        client_ca = self.folder / "clients.pem" if mutual else None
        return TlsFiles(
            certificate=self.folder / "server.pem", key=self.folder / "server.key", client_ca=client_ca
        )


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    made = Papers(trustme.CA(key_type=trustme.KeyType.ECDSA), trustme.CA(), tmp_path)
    made.issue()
    made.ours.cert_pem.write_to_path(tmp_path / "clients.pem")
    made.ours.cert_pem.write_to_path(tmp_path / "ours.pem")
    made.others.cert_pem.write_to_path(tmp_path / "others.pem")
    return made


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
def mutual(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def tls(papers: Papers, mutual: bool) -> Tls:
    return Tls(papers.files(mutual=mutual))


@pytest.fixture
def receiver(tls: Tls) -> Iterator[Receiver]:
    with receiving(tls=tls) as receiver:
        yield receiver


@dataclass(frozen=True)
class Client:
    """Whom a client trusts, and the certificate that it has."""

    trusts: trustme.CA
    own: trustme.LeafCert | None = None


Send = Callable[[Receiver, Client], bool]


def over_http(receiver: Receiver, client: Client) -> bool:
    """Post over TLS, and say whether that was possible."""
    context = ssl.create_default_context()
    client.trusts.configure_trust(context)
    if client.own is not None:
        client.own.configure_cert(context)
    connection = http.client.HTTPSConnection("localhost", receiver.http_port, timeout=20, context=context)
    try:
        connection.request("POST", "/v1/traces", otlp.body(), {"Content-Type": "application/x-protobuf"})
        return connection.getresponse().status == 200
    except (ssl.SSLError, ConnectionError):
        return False
    finally:
        connection.close()


def over_grpc(receiver: Receiver, client: Client) -> bool:
    own = client.own
    credentials = grpc.ssl_channel_credentials(
        client.trusts.cert_pem.bytes(),
        own.private_key_pem.bytes() if own else None,
        b"".join(blob.bytes() for blob in own.cert_chain_pems) if own else None,
    )
    with grpc.secure_channel(f"localhost:{receiver.grpc_port}", credentials) as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(TRACES)
        return export.future(otlp.body(), timeout=5).code() is grpc.StatusCode.OK


@pytest.fixture(params=[over_http, over_grpc], ids=["http", "grpc"])
def send(request: pytest.FixtureRequest) -> Send:
    chosen: Send = request.param
    return chosen


def test_who_trusts_the_right_authority_and_is_trusted_gets_in(
    receiver: Receiver, papers: Papers, mutual: bool, send: Send
) -> None:
    own = papers.ours.issue_cert("shop") if mutual else None
    assert send(receiver, Client(papers.ours, own))
    assert receiver.memory.spans == 1


def test_a_client_that_trusts_another_authority_does_not_send(
    receiver: Receiver, papers: Papers, send: Send
) -> None:
    assert not send(receiver, Client(papers.others, papers.ours.issue_cert("shop")))
    assert receiver.memory.spans == 0


@pytest.mark.parametrize("which", ["none", "of another authority"])
@pytest.mark.parametrize("mutual", [True], indirect=True)
def test_with_mutual_tls_a_client_without_the_right_certificate_is_not_answered(
    receiver: Receiver, papers: Papers, send: Send, which: str
) -> None:
    own = None if which == "none" else papers.others.issue_cert("shop")
    assert not send(receiver, Client(papers.ours, own))
    assert receiver.memory.spans == 0


def test_plain_text_is_not_answered(receiver: Receiver, send: Send) -> None:
    if send is over_http:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            receiver.post(otlp.body())
    else:
        with grpc.insecure_channel(f"localhost:{receiver.grpc_port}") as channel:
            export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(TRACES)
            assert export.future(otlp.body(), timeout=5).code() is not grpc.StatusCode.OK
    assert receiver.memory.spans == 0


def test_tls_older_than_1_2_is_not_spoken(receiver: Receiver, tls: Tls, papers: Papers) -> None:
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2
    old = ssl.create_default_context()
    papers.ours.configure_trust(old)
    papers.ours.issue_cert("shop").configure_cert(old)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    connection = http.client.HTTPSConnection("localhost", receiver.http_port, timeout=20, context=old)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connection.request("GET", "/health")
    connection.close()


def test_new_certificates_are_taken_without_a_restart_and_broken_ones_are_not(
    receiver: Receiver, tls: Tls, papers: Papers, mutual: bool, send: Send
) -> None:
    own = papers.ours.issue_cert("shop") if mutual else None
    papers.issue(papers.others)
    tls.refresh()
    assert send(receiver, Client(papers.others, own))
    assert not send(receiver, Client(papers.ours, own))

    (papers.folder / "server.key").write_bytes(papers.ours.issue_cert("x").private_key_pem.bytes())
    tls.refresh()
    assert "the key is of another certificate" in tls.fault
    assert send(receiver, Client(papers.others, own))

    papers.issue()
    tls.refresh()
    assert tls.fault == ""
    assert send(receiver, Client(papers.ours, own))


def through_http(receiver: Receiver, folder: Path, own: bool) -> SpanExporter:
    return HttpExporter(
        endpoint=f"https://localhost:{receiver.http_port}/v1/traces",
        certificate_file=str(folder / "ours.pem"),
        client_certificate_file=str(folder / "shop.pem") if own else None,
        client_key_file=str(folder / "shop.key") if own else None,
    )


def through_grpc(receiver: Receiver, folder: Path, own: bool) -> SpanExporter:
    credentials = grpc.ssl_channel_credentials(
        (folder / "ours.pem").read_bytes(),
        (folder / "shop.key").read_bytes() if own else None,
        (folder / "shop.pem").read_bytes() if own else None,
    )
    return GrpcExporter(endpoint=f"https://localhost:{receiver.grpc_port}", credentials=credentials)


@pytest.mark.parametrize("exporter", [through_http, through_grpc])
def test_otels_exporters_speak_it(
    receiver: Receiver,
    papers: Papers,
    mutual: bool,
    exporter: Callable[[Receiver, Path, bool], SpanExporter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # which go before what the exporter is told
        monkeypatch.delenv(variable, raising=False)
    issued = papers.ours.issue_cert("shop")
    issued.private_key_pem.write_to_path(papers.folder / "shop.key")
    issued.cert_chain_pems[0].write_to_path(papers.folder / "shop.pem")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter(receiver, papers.folder, mutual)))
    with provider.get_tracer("shop").start_as_current_span("chat gpt-4o", attributes=dict(otlp.CALL)):
        pass
    provider.shutdown()
    assert receiver.memory.spans == 1


def test_pennytraces_own_delivery_speaks_it(receiver: Receiver, papers: Papers, mutual: bool) -> None:
    issued, folder = papers.ours.issue_cert("shop"), papers.folder
    issued.private_key_pem.write_to_path(folder / "shop.key")
    issued.cert_chain_pems[0].write_to_path(folder / "shop.pem")
    own = {
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(folder / "shop.pem"),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(folder / "shop.key"),
    }
    for ca, more, right in (("ours", own, True), ("others", own, False), ("ours", {}, not mutual)):
        told = resolve({}, {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(folder / f"{ca}.pem"), **more})
        url = f"https://localhost:{receiver.http_port}/v1/traces"
        transport = HttpTransport(url, headers={}, compress=False, papers=told.papers)
        answer = transport.send(otlp.body())
        transport.close()
        assert (answer.accepted, answer.again) == (right, not right), answer


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "server.key").unlink(), "No such file"),
        (lambda folder: (folder / "server.pem").write_text("SECRET"), "no PEM"),
        (lambda folder: (folder / "server.key").write_text("SECRET"), "no PEM, or its key has a passphrase"),
        (lambda folder: (folder / "clients.pem").write_text("SECRET"), "there is no certificate in it"),
    ],
)
def test_files_that_cannot_be_used_are_named_and_not_shown(
    papers: Papers, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(papers.folder)
    with pytest.raises(AccessFileError) as caught:
        Tls(papers.files(mutual=True))
    assert words in str(caught.value)
    assert str(papers.folder) in str(caught.value)
    assert "SECRET" not in str(caught.value)

"""A data file is read whole from where it is, or the command says why not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pennytrace_collectors.errors import PriceDataError
from pennytrace_collectors.pricelist import fetch

from .data import body, dripping, serving, status


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_bytes(b"[1]")

    assert fetch.read(str(tmp_path / "data.json")) == b"[1]"


def test_a_url_is_read() -> None:
    with serving(body(b"[2]" * 100_000)) as url:
        assert fetch.read(f"{url}/data.json") == b"[2]" * 100_000


def test_a_redirect_is_followed() -> None:
    with serving(body(b"[3]")) as target, serving(status(302, Location=f"{target}/there")) as url:
        assert fetch.read(f"{url}/here") == b"[3]"


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_redirect_to_something_else_is_not(target: str) -> None:
    with serving(status(302, Location=target)) as url, pytest.raises(PriceDataError, match=r"redirects|302"):
        fetch.read(url)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/no/such/file.json", "no such file: '/no/such/file.json'; give a file or an http"),
        ("/tmp", "no such file: '/tmp'"),
        ("file:///etc/passwd", "give a file or an http"),
        ("ftp://example.org/data.json", "give a file or an http"),
        ("http://", "give a file or an http"),
        ("http://127.0.0.1:1/data.json", "cannot read http://127.0.0.1:1/data.json: .*refused"),
        ("http://[bad/data.json", "give a file or an http"),
        ("https://nowhere.invalid/data.json", "cannot read https://nowhere.invalid"),
    ],
)
def test_what_is_not_there_is_told(source: str, said: str) -> None:
    with pytest.raises(PriceDataError, match=said):
        fetch.read(source)


def test_an_error_of_the_server_is_told_with_its_status() -> None:
    with serving(status(404)) as url, pytest.raises(PriceDataError, match="answers 404"):
        fetch.read(url)


def test_a_user_and_a_password_are_never_shown() -> None:
    with serving(status(403)) as url, pytest.raises(PriceDataError) as told:
        fetch.read(url.replace("http://", "http://me:secret@") + "/data.json?token=secret")

    assert "secret" not in str(told.value)


@pytest.mark.parametrize("announced", [None, 10**12])
def test_more_than_the_limit_is_refused(announced: int | None, tmp_path: Path) -> None:
    big = b"x" * 3000
    (tmp_path / "big").write_bytes(big)
    with (
        serving(body(big, announced=announced)) as url,
        pytest.raises(PriceDataError, match="larger than 2,000 bytes"),
    ):
        fetch.read(url, limit=2000)
    with pytest.raises(PriceDataError, match="larger than 2,000 bytes"):
        fetch.read(str(tmp_path / "big"), limit=2000)


def test_half_an_answer_is_none() -> None:
    def broken_off(handler: object) -> None:
        body(b"x" * 500, announced=1000)(handler)  # type: ignore[arg-type]

    with (
        serving(broken_off) as url,
        pytest.raises(PriceDataError, match="broke off after 500 of 1,000 bytes"),
    ):
        fetch.read(url)


def test_a_server_that_drips_is_left() -> None:
    began = time.monotonic()
    with serving(dripping) as url, pytest.raises(PriceDataError, match=r"takes longer than 0\.5 s"):
        fetch.read(url, within_s=0.5)

    assert time.monotonic() - began < 5

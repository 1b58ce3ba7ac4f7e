"""Addresses as people write them."""

from __future__ import annotations

import pytest

from pennytrace.errors import ConfigurationError
from pennytrace_collectors.errors import ListenError
from pennytrace_collectors.receive.address import Address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:4318", "http://127.0.0.1:4318"),
        ("localhost:0", "http://localhost:0"),
        ("[::1]:4318", "http://[::1]:4318"),
        ("0.0.0.0:4318", "http://127.0.0.1:4318"),
        ("[::]:4318", "http://[::1]:4318"),
    ],
)
def test_an_address_becomes_the_url_that_this_machine_uses(text: str, url: str) -> None:
    address = Address.parse(text, option="--http")
    assert address.url(address.port) == url


@pytest.mark.parametrize(
    "text", ["4318", "", "localhost", ":4318", "::1:4318", "a:b", "a:-1", "a:65536", "a:²"]
)
def test_what_is_not_an_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--http must be HOST:PORT, such as .* got ") as caught:
        Address.parse(text, option="--http")
    assert repr(text) in str(caught.value)


def test_a_host_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:0: .*--sql off"):
        Address.parse("192.0.2.1:0", option="--sql").bind()


def test_a_host_that_does_not_exist_cannot_be_listened_on() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on no\.such\.invalid:0"):
        Address.parse("no.such.invalid:0", option="--http").bind()

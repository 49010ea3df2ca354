"""Credentials and addresses: accepted where they work, refused with words, never shown."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from watchdog.settings.access import Access, Address


def test_nothing_is_sent_unless_it_is_written() -> None:
    access = Access.model_validate({})
    assert access.request_headers() == {}
    assert access.secrets() == ()


def test_a_bearer_token_and_headers_are_sent() -> None:
    access = Access.model_validate(
        {"bearer_token": SecretStr("tok"), "headers": {"X-Scope-OrgID": "team", "X-Key": SecretStr("key")}}
    )
    assert access.request_headers() == {
        "X-Scope-OrgID": "team",
        "X-Key": "key",
        "Authorization": "Bearer tok",
    }
    assert set(access.secrets()) == {"tok", "key"}
    assert "'tok'" not in repr(access)
    assert "'key'" not in repr(access)


def test_a_user_name_and_password_are_sent_as_rfc_7617_says() -> None:
    access = Access.model_validate(
        {"basic_auth": {"username": "Aladdin", "password": SecretStr("open sesame")}}
    )
    assert access.request_headers() == {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}
    assert set(access.secrets()) == {"open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bearer_token": "plain"}, "!env NAME"),
        ({"basic_auth": {"username": "me", "password": "plain"}}, "!env NAME"),
        (
            {"bearer_token": SecretStr("a"), "basic_auth": {"username": "me", "password": SecretStr("b")}},
            "exclude each other",
        ),
        ({"bearer_token": SecretStr("a"), "headers": {"authorization": "b"}}, "given twice"),
        ({"headers": {"X": 1}}, "not a text"),
        ({"headers": {"X": "a\nb"}}, "line breaks"),
        ({"headers": {"X": SecretStr("hush\r\n")}}, "line breaks"),
        ({"bearer_token": SecretStr("hush\n")}, "line breaks"),
        ({"headers": {"X Y": "a"}}, "not the name of a header"),
        ({"token": SecretStr("a")}, "token"),
    ],
)
def test_what_cannot_work_is_refused_with_one_message(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        Access.model_validate(settings)
    assert caught.value.error_count() == 1
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["ftp://a", "a", "http://", "http://a:99999", "http://[::1", "http://u:p@a", "http://u@a", "http://a b"],
)
def test_an_address_without_a_host_or_with_a_password_is_refused(address: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Address).validate_python(address)
    assert caught.value.error_count() == 1


@pytest.mark.parametrize(
    "address", ["http://a", "https://a.b:1/c?d=e", "http://[::1]:80/", "http://10.0.0.1"]
)
def test_an_address_stays_as_it_is_written(address: str) -> None:
    assert TypeAdapter(Address).validate_python(address) == address

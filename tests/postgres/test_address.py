"""What a PostgreSQL URL says, and that it never says the password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from watchdog.postgres.address import Host, Parts, PostgresAddress, Tls, address_of, parse


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("postgresql://w@db/x", Parts((Host("db", 5432),), "x", "w")),
        ("postgres://w@db:6432/x", Parts((Host("db", 6432),), "x", "w")),
        ("postgresql://w@a,b:1,[::1],[fe80::1]:2/x", Parts(
            (Host("a"), Host("b", 1), Host("::1"), Host("fe80::1", 2)), "x", "w")),
        ("postgresql://w@/x?host=/run/postgresql", Parts((Host("/run/postgresql"),), "x", "w")),
        ("postgresql://w@%2Frun%2Fpostgresql:5433/x", Parts((Host("/run/postgresql", 5433),), "x", "w")),
        ("postgresql://w%40corp:p%3Aq%2F@db/a%20b", Parts((Host("db"),), "a b", "w@corp", "p:q/", "p%3Aq%2F")),
        ("postgresql://w:a:b@db/x?sslmode=disable", Parts((Host("db"),), "x", "w", "a:b", "a:b", Tls.DISABLE)),
    ],
)  # fmt: skip
def test_every_part_of_a_url_is_understood(url: str, parts: Parts) -> None:
    assert parse(url) == parts


def test_a_url_with_a_password_becomes_an_address_that_hides_it() -> None:
    address = address_of("postgres://w:hunter2@db/x?sslmode=require")
    assert address.password == SecretStr("hunter2")
    assert address.tls is Tls.REQUIRE
    assert str(address) == "postgresql://w@db/x"
    assert "hunter2" not in f"{address} {address!r}"


@given(
    user=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1),
    database=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1),
    hosts=st.lists(
        st.builds(Host, st.sampled_from(["db", "10.0.0.1", "::1", "/run/postgresql"]), st.integers(1, 65535)),
        min_size=1,
        max_size=3,
    ),
)
def test_the_text_of_an_address_is_the_same_address(user: str, database: str, hosts: list[Host]) -> None:
    address = PostgresAddress(hosts=tuple(hosts), database=database, user=user)
    assert address_of(str(address)) == address


@given(st.text())
def test_any_text_is_an_address_or_a_mistake_without_the_password(text: str) -> None:
    for url in (text, f"postgresql://w:hunter2@{text}", f"postgresql://w:hunter2@db/x{text}"):
        said = ""
        try:
            parse(url)
        except ValueError as fault:
            said = str(fault)
        assert "hunter2" not in said

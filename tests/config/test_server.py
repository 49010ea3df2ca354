from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import Draft
from watchdog.config.loaded import Server


def test_without_a_server_block_only_this_host_can_reach_it(draft: Draft) -> None:
    assert draft.load().server == Server(host="127.0.0.1", port=9911, metrics="open", tokens=())


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:9911", "::1", 9911),
        ("127.8.8.8:80", "127.8.8.8", 80),
    ],
)
def test_an_address_on_this_host_needs_no_tokens(draft: Draft, listen: str, host: str, port: int) -> None:
    draft.insert(f'server: {{listen: "{listen}"}}\n')

    server = draft.load().server

    assert (server.host, server.port) == (host, port)
    assert draft.notes() == []


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "watchdog.example.com"])
def test_an_address_that_others_reach_without_tokens_is_worth_a_note(draft: Draft, host: str) -> None:
    draft.insert(f'server: {{listen: "{host}:9911"}}\n')

    assert draft.notes() == [
        (
            f"watchdog.yaml:18:18: {host.strip('[]')} can be reached from elsewhere, and no tokens are given: "
            "nobody may read or write"
        )
    ]


@pytest.mark.parametrize(
    "listen", ["9911", ":9911", "127.0.0.1", "127.0.0.1:65536", "::1:9911", "[x]:1", "a b:1", ""]
)
def test_what_is_no_address_is_refused(draft: Draft, listen: str) -> None:
    draft.insert(f'server: {{listen: "{listen}"}}\n')

    assert draft.problems() == [
        f"watchdog.yaml:18:18: {listen!r} is not HOST:PORT, such as 127.0.0.1:9911 or [::1]:9911"
    ]


def test_tokens_arrive_and_do_not_show(draft: Draft) -> None:
    draft.environ["CI"] = "0123456789abcdef"
    draft.insert("server: {metrics: token, tokens: [{name: ci, role: operator, token: !env CI}]}\n")

    server = draft.load().server

    (token,) = server.tokens
    assert (server.metrics, token.name, token.role) == ("token", "ci", "operator")
    assert token.token.get_secret_value() == "0123456789abcdef"
    assert "0123456789abcdef" not in repr(server)


@pytest.mark.parametrize("token", ["sixteen or more words", "пароль-пароль-пароль", "tab\tin the middle"])
def test_a_token_that_no_header_carries_is_refused(draft: Draft, token: str) -> None:
    draft.environ["CI"] = token
    draft.insert("server: {tokens: [{name: ci, role: operator, token: !env CI}]}\n")

    assert draft.problems() == ["watchdog.yaml:18:53: the token has characters that no HTTP header can carry"]


def test_metrics_for_tokens_without_tokens_are_worth_a_note(draft: Draft) -> None:
    draft.insert("server: {metrics: token}\n")

    assert draft.notes() == [
        "watchdog.yaml:18:19: `metrics: token` without tokens: only readers on this machine can read the metrics"
    ]


def test_a_short_token_is_worth_a_note(draft: Draft) -> None:
    draft.environ["CI"] = "fifteen-letters"
    draft.insert("server: {tokens: [{name: ci, role: operator, token: !env CI}]}\n")

    assert draft.notes() == ["watchdog.yaml:18:53: a token of fewer than 16 characters can be guessed"]
    assert draft.load(environ={"CI": "sixteen--letters"}).notes == ()


def test_an_empty_token_is_refused(draft: Draft) -> None:
    (draft.folder / "token").write_text("\n")
    draft.insert("server: {tokens: [{name: ci, role: operator, token: !file token}]}\n")

    assert draft.problems() == [f"watchdog.yaml:18:53: {draft.folder / 'token'} is empty"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('""', "the path is empty; leave `pause_file` out for /var/lib/watchdog/pause"),
        (".", "is a folder, which would mean paused for ever; name a file in it"),
        ("stops", "is a folder, which would mean paused for ever; name a file in it"),
    ],
)
def test_a_pause_file_that_would_pause_for_ever_is_refused(draft: Draft, written: str, said: str) -> None:
    (draft.folder / "stops").mkdir()
    draft.insert(f"pause_file: {written}\n")

    (problem,) = draft.problems()

    assert problem.startswith("watchdog.yaml:18:13: ")
    assert problem.endswith(said)


def test_the_store_and_the_pause_file_have_their_places(draft: Draft) -> None:
    loaded = draft.load()

    assert loaded.store_url == "sqlite:////var/lib/watchdog/watchdog.db"
    assert loaded.pause_file == Path("/var/lib/watchdog/pause")

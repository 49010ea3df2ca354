from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.config.conftest import Draft
from watchdog.config.secrets import Secrets
from watchdog.telemetry.redact import redact

HOOK = 'channels:\n  hook: {kind: webhook, url: "http://127.0.0.1/", secret: SECRET}\n'


def _hook(draft: Draft, secret: str) -> Draft:
    return draft.replace("channels:\n", HOOK.replace("SECRET", secret)).replace("[log]", "[log, hook]")


def _secret(draft: Draft) -> str:
    settings: object = draft.load().channels["hook"].settings
    value = getattr(settings, "secret").get_secret_value()  # noqa: B009 - settings of a provider made for tests
    assert isinstance(value, str)
    return value


def test_a_secret_comes_from_the_environment(draft: Draft) -> None:
    draft.environ["HOOK"] = "hunter2 "

    assert _secret(_hook(draft, "!env HOOK")) == "hunter2 "


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"a\nb\n\n", "a\nb\n"),
    ],
)
def test_a_secret_comes_from_a_file_beside_the_configuration_without_its_last_newline(
    draft: Draft, content: bytes, secret: str
) -> None:
    (draft.folder / "hook.txt").write_bytes(content)

    assert _secret(_hook(draft, "!file hook.txt")) == secret


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("!file missing.txt", "missing.txt cannot be read: No such file or directory"),
        ("!file .", " is not a regular file"),
        ("!file pipe", "pipe is not a regular file"),
        ("!file empty.txt", "empty.txt is empty"),
        ("!file binary.txt", "binary.txt is not text in UTF-8"),
        ("!file zero.txt", "is not text in UTF-8"),
        ("!file large.txt", "large.txt is larger than 64 KiB"),
        ("!file ''", "!file needs a path"),
        ("!env ''", "!env needs the name of an environment variable"),
        ("!env BROKEN", "!env BROKEN is not text in UTF-8"),
        ("!env EMPTY", "environment variable EMPTY is empty"),
        ("!env MISSING", "environment variable MISSING is not set"),
    ],
)
def test_a_secret_that_is_not_there_is_told_at_its_place(draft: Draft, secret: str, said: str) -> None:
    os.mkfifo(draft.folder / "pipe")
    (draft.folder / "empty.txt").write_bytes(b"\n")
    (draft.folder / "binary.txt").write_bytes(b"\xff\xfe")
    (draft.folder / "zero.txt").write_bytes(b"a\0b")
    (draft.folder / "large.txt").write_bytes(b"x" * 70_000)
    draft.environ.update(EMPTY="", BROKEN="\udcff")

    (problem,) = _hook(draft, secret).problems()

    assert problem.startswith("watchdog.yaml:15:59: ")
    assert problem.endswith(said)


def test_a_place_for_plain_text_takes_a_looked_up_value_too(draft: Draft) -> None:
    draft.environ.update(PROMETHEUS="http://127.0.0.1:1", TEAM="booking", STORE="sqlite:///here.db")
    draft.replace('"http://127.0.0.1:9090"', "!env PROMETHEUS").replace(
        "{team: booking}", "{team: !env TEAM}"
    )
    draft.insert("store: {url: !env STORE}\n")

    loaded = draft.load()

    assert loaded.sources["prometheus"].settings.model_dump()["url"] == "http://127.0.0.1:1"
    assert loaded.services["trips"].service.labels == {"team": "booking"}
    assert loaded.store_url == f"sqlite:///{draft.folder}/here.db"


@pytest.mark.parametrize("secret", ["correct horse battery", "q'uo\"te\\d\nlines", "x" * 200, "läng/é://?#"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"http://127.0.0.1:9090"', "!env S"),
        ('"http://127.0.0.1:9090"}', '"http://127.0.0.1:9090", timeout: !env S}'),
        ("kind: prometheus", "kind: !env S"),
        ("name: trips", "name: !env S"),
        ("[error-rate, healthy]", "[error-rate, !env S]"),
        ("[error-rate, healthy]", "!env S"),
        ("[error-rate, healthy]", "[{tag: !env S}]"),
        ("    traffic:\n", "    mode: !env S\n    traffic:\n"),
        ("    traffic:\n", "    environment: !env S\n    traffic:\n"),
        ("    traffic:\n", "    rollback: {confirm: !env S}\n    traffic:\n"),
        ("    traffic:\n", "    rollback: {min_ready: !env S}\n    traffic:\n"),
        ("[green1, green2]", "[!env S, !env S]"),
        ("backend: trips", "!env S : trips"),
        ("  - {to: [log]}", "  - {match: {service: !env S}, to: [log]}\n  - {to: [log]}"),
        ("  - {to: [log]}", "  - {match: {severity: !env S}, to: [log]}\n  - {to: [log]}"),
        ("  - {to: [log]}", "  - {to: [!env S]}"),
        ("  - {to: [log]}", "  - {to: !env S}"),
        ("channels:\n", "store: {url: !env S}\nchannels:\n"),
        ("channels:\n", "server: {listen: !env S}\nchannels:\n"),
        ("channels:\n", "server: {tokens: [{name: !env S, role: viewer, token: !env S}]}\nchannels:\n"),
        ("channels:\n", "server: {tokens: [{name: a, role: !env S, token: !env S}]}\nchannels:\n"),
        ("channels:\n", "limits: {max_rollbacks: !env S}\nchannels:\n"),
        ("channels:\n", "unknown: !env S\nchannels:\n"),
        ("channels:\n", "leader: {kind: !env S}\nchannels:\n"),
        ("[rules.yaml]", "[!env S]"),
        ("version: 1\nrules: [", "version: !env S\nrules: ["),
    ],
)
def test_no_mistake_anywhere_lets_a_secret_into_a_message(
    draft: Draft, old: str, new: str, secret: str
) -> None:
    draft.environ["S"] = secret
    draft.main = draft.main.replace(old, new)

    said = "\n".join(draft.problems())

    assert said
    for shown in (secret, repr(secret)[1:-1], secret[:30], secret[-30:], secret.split("\n", maxsplit=1)[0]):
        assert shown not in said


def test_not_even_a_secret_of_three_letters_is_quoted_where_it_does_not_fit(draft: Draft) -> None:
    draft.environ["S"] = "zqy"
    draft.replace('"http://127.0.0.1:9090"}', '"http://127.0.0.1:9090", timeout: !env S}')

    assert draft.problems() == ["watchdog.yaml:4:73: the value of !env S cannot be used here"]


def test_a_secret_of_any_provider_is_masked_everywhere_from_loading_on(draft: Draft) -> None:
    draft.environ.update(HOOK="wisteria-hook", READY="wisteria-ready", ADDRESS="http://127.0.0.1:1")
    draft.replace(
        "  log: {kind: log}",
        "  log: {kind: log}\n  hook: {kind: webhook, url: !env ADDRESS, secret: !env HOOK}",
    ).replace("{to: [log]}", "{to: [log, hook]}")
    draft.replace(
        "      socket:",
        '      ready: {kind: http, url: "http://{address}/", headers: {Authorization: !env READY}}\n'
        "      socket:",
    )

    loaded = draft.load()

    assert "wisteria" not in repr(loaded)
    for secret in ("wisteria-hook", "wisteria-ready"):
        assert redact(f"status 401: {secret} is wrong") == "status 401: *** is wrong"
    assert redact("http://127.0.0.1:1") == "http://127.0.0.1:1"


def test_asking_for_a_secret_never_shows_one() -> None:
    secrets = Secrets({"NAME": "hunter2"}, Path())

    assert "hunter2" not in repr(secrets.look_up("!env", "NAME"))

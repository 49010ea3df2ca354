"""The `store` block: a file, or a PostgreSQL database whose password stands nowhere."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.config.conftest import Draft
from tests.servers.certificates import Certificate
from watchdog.postgres.address import Host, PostgresAddress, Tls
from watchdog.telemetry.redact import redact


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///a/b.db", "{folder}/a/b.db"),
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:///b", "{folder}/b"),
    ],
)
def test_a_relative_store_starts_from_the_configuration(draft: Draft, url: str, path: str) -> None:
    draft.insert(f'store: {{url: "{url}"}}\npause_file: stop\n')

    loaded = draft.load()

    assert loaded.store_url == "sqlite:///" + path.format(folder=draft.folder)
    assert loaded.pause_file == draft.folder / "stop"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "must be a file"),
        ("sqlite:///", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite:////var/lib/", "must be a file"),
        ("sqlite:///a.db?mode=ro", "takes no options"),
        ("/var/lib/watchdog.db", "expected sqlite:///PATH"),
        ("sqlit:////a.db", "unknown store 'sqlit'; did you mean 'sqlite'?"),
        ("postgresql+asyncpg://u:hunter2@db/x", "write postgresql://"),
    ],
)
def test_a_store_that_cannot_be_is_refused(draft: Draft, url: str, said: str) -> None:
    draft.insert(f'store: {{url: "{url}"}}\n')

    (problem,) = draft.problems()

    assert problem.startswith("watchdog.yaml:18:14: ")
    assert said in problem
    assert "hunter2" not in problem


def test_a_database_is_reached_as_the_url_says(draft: Draft) -> None:
    draft.insert('store: {url: "postgresql://watchdog@db-1,[::1]:5433/state", timeout: 5s}\n')

    loaded = draft.load()

    assert loaded.store_url == "postgresql://watchdog@db-1,[::1]:5433/state"
    assert (
        loaded.store
        == loaded.postgres
        == PostgresAddress(
            hosts=(Host("db-1"), Host("::1", 5433)),
            database="state",
            user="watchdog",
            timeout=timedelta(seconds=5),
        )
    )


def test_a_file_needs_nothing_but_its_url(draft: Draft) -> None:
    draft.insert('store: {url: "sqlite:////a.db", tls: require, password: !env PW}\n')
    draft.environ["PW"] = "p" * 20

    assert sorted(problem.split(": ", 1)[1] for problem in draft.problems()) == [
        "'password' is for a PostgreSQL store; this one is a file",
        "'tls' is for a PostgreSQL store; this one is a file",
    ]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_password_comes_from_a_secret_and_is_in_no_text(draft: Draft, scheme: str) -> None:
    (draft.folder / "password").write_text("correct horse\n")
    draft.insert(f'store: {{url: "{scheme}://w@db/state", password: !file password}}\n')

    loaded = draft.load()

    assert loaded.postgres is not None
    assert loaded.postgres.password == SecretStr("correct horse")
    assert loaded.store_url == "postgresql://w@db/state"
    assert "correct horse" not in f"{loaded} {loaded.postgres} {loaded.postgres!r}"
    assert "correct horse" not in redact("the password is correct horse")


def test_a_whole_url_may_be_a_secret(draft: Draft) -> None:
    draft.environ["DATABASE_URL"] = "postgres://w:corr%40ct-horse@db/state?sslmode=require"
    draft.insert("store: {url: !env DATABASE_URL}\n")

    loaded = draft.load()

    assert loaded.store_url == "postgresql://w@db/state"
    assert loaded.postgres is not None
    assert loaded.postgres.password == SecretStr("corr@ct-horse")
    assert loaded.postgres.tls is Tls.REQUIRE
    assert "horse" not in redact("it is corr@ct-horse, or corr%40ct-horse")
    assert "horse" not in repr(loaded)


def test_certificate_authorities_are_there_to_be_looked_at(draft: Draft, authority: Path) -> None:
    draft.insert(f'store: {{url: "postgresql://w@db/state", ca_file: {authority}}}\n')

    loaded = draft.load()

    assert loaded.postgres is not None
    assert (loaded.postgres.tls, loaded.postgres.ca_file) == (Tls.VERIFY_FULL, authority)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return Certificate(tmp_path).file


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql://w:hunter2@db/x",
            "a password is not written here; leave it out and give `password: !env",
        ),
        ("postgresql://db/x", "name the database user"),
        ("postgresql://w@db", "name one database"),
        ("postgresql://w@db/", "name one database"),
        ("postgresql://w@db/x/y", "name one database"),
        ("postgresql://w@/x", "name the host"),
        ("postgresql:w@db/x", "expected sqlite:///PATH"),
        ("postgresql://w@db:port/x", "a port is a number"),
        ("postgresql://w@db:99999/x", "a port is a number"),
        ("postgresql://w@db,,c/x", "is no host"),
        ("postgresql://w@[::1/x", "is no host"),
        ("postgresql://w@db/x?sslmode=maybe", "sslmode is one of disable, prefer, require, verify-full"),
        ("postgresql://w@db/x?password=hunter2", "'password' cannot stand behind the database"),
        ("postgresql://w@db/x?host=/run", "not both"),
        ("postgresql://w@db/x#y", "'#'"),
        ("postgresql://w%00@db/x", "a character that cannot be sent"),
        ("postgresql://w@db/%ff", "not UTF-8"),
        ("postgresq://w@db/x", "did you mean 'postgresql'"),
    ],
)
def test_a_database_url_that_cannot_be_is_refused_at_its_place(draft: Draft, url: str, said: str) -> None:
    draft.insert(f'store: {{url: "{url}"}}\n')

    (problem,) = draft.problems()

    assert problem.startswith("watchdog.yaml:18:14: ")
    assert said in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("password: plain", "a secret is not written here; use `!env NAME` or `!file PATH`"),
        ("tls: sometimes", "is not one of disable, prefer, require, verify-full"),
        ("timeout: 10ms", "between 1s and 7s"),
        ("timeout: 2h", "between 1s and 7s"),
        ("ca_file: nowhere.pem", "cannot be read: No such file or directory"),
        ("ca_file: watchdog.yaml", "holds no certificates"),
        ("pasword: !env PW", "did you mean 'password'?"),
    ],
)
def test_what_stands_beside_a_database_url_is_judged(draft: Draft, more: str, said: str) -> None:
    draft.environ["PW"] = "hunter2"
    draft.insert(f'store: {{url: "postgresql://w@db/x", {more}}}\n')

    problems = draft.problems()

    assert any(said in problem for problem in problems), problems
    assert "hunter2" not in str(problems)


def test_two_passwords_are_one_too_many(draft: Draft) -> None:
    draft.environ |= {"DATABASE_URL": "postgresql://w:one@db/x", "PW": "two"}
    draft.insert("store: {url: !env DATABASE_URL, password: !env PW}\n")

    (problem,) = draft.problems()

    assert problem.endswith("the URL brings a password already")

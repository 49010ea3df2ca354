from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.daemon import Daemon
from tests.cli.conftest import Run, Served, invoke
from watchdog.cli.address import DEFAULT_URL, Address, address
from watchdog.cli.failure import Failure
from watchdog.config.loaded import Server

TOKENS = ", tokens: [{name: tv, role: viewer, token: !env TV}, {name: ci, role: operator, token: !env CI}]"
SECRETS = {"TV": "viewer-token-0123456789", "CI": "operator-token-0123456789"}


def test_without_anything_the_default_address_is_meant() -> None:
    assert address(None, None, None, environ={}) == Address(url=DEFAULT_URL, token=None)


def test_the_environment_names_the_daemon() -> None:
    environ = {"WATCHDOG_URL": "https://watchdog.example.com/", "WATCHDOG_TOKEN": "t"}
    assert address(None, None, None, environ=environ) == Address(
        url="https://watchdog.example.com", token="t"
    )


def test_options_win_over_the_environment() -> None:
    environ = {"WATCHDOG_URL": "https://other.example.com", "WATCHDOG_TOKEN": "other"}
    assert address("http://here:1", "mine", None, environ=environ) == Address(
        url="http://here:1", token="mine"
    )


def test_a_configuration_names_address_and_operator(configuration: Callable[..., Path]) -> None:
    path = configuration(port=7777, tokens=TOKENS)
    environ = {**SECRETS, "WATCHDOG_URL": "https://other.example.com", "WATCHDOG_TOKEN": "other"}
    found = address(None, None, path, environ=environ)
    assert found == Address(url="http://127.0.0.1:7777", token=SECRETS["CI"])


def test_a_configuration_without_an_operator_gives_the_viewer(configuration: Callable[..., Path]) -> None:
    path = configuration(tokens=", tokens: [{name: tv, role: viewer, token: !env TV}]")
    assert address(None, None, path, environ=SECRETS).token == SECRETS["TV"]


def test_a_daemon_that_listens_everywhere_is_asked_on_loopback(configuration: Callable[..., Path]) -> None:
    path = configuration(tokens=TOKENS)
    for written, asked in (("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")):
        path.write_text(path.read_text().replace('"127.0.0.1:9911"', f'"{written}:9911"'))
        assert address(None, None, path, environ=SECRETS).url == f"http://{asked}:9911"
        path.write_text(path.read_text().replace(f'"{written}:9911"', '"127.0.0.1:9911"'))


@pytest.mark.parametrize(
    "url",
    [
        *("127.0.0.1:9911", "ftp://x", "http://", "nonsense"),
        *("http://127.0.0.1:99999", "http://127.0.0.1:abc", "http://127.0.0.1:0", "http://[::1"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Failure, match="is not an address"):
        address(url, None, None, environ={})


def test_a_token_loses_what_a_file_put_around_it() -> None:
    assert address(None, None, None, environ={"WATCHDOG_TOKEN": " tok\r\n"}).token == "tok"
    assert address(None, " \n", None, environ={}).token is None


@pytest.mark.parametrize("token", ["hun\rter2", "hun\nter2", "hun\x1bter2"])
def test_a_token_with_control_characters_is_refused_and_not_shown(token: str) -> None:
    result = invoke("status", env={"WATCHDOG_TOKEN": token})
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: the token holds control characters")
    assert "ter2" not in result.output


def test_a_token_is_in_no_text() -> None:
    assert "hunter2" not in repr(Address(url="http://x", token="hunter2"))


def test_a_broken_configuration_is_told_with_its_places(configuration: Callable[..., Path]) -> None:
    path = configuration()
    path.write_text(path.read_text().replace("sources:", "sorces:"))
    result = invoke("status", "-c", str(path))
    assert result.exit_code == 1
    assert f"{path}:6:1: " in result.stderr


def test_a_daemon_that_is_not_there_is_said(free_port: Callable[[], int]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = invoke("status", "--url", url)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: cannot reach {url}: connection refused; is the daemon running?")


def test_a_name_that_does_not_resolve_is_said() -> None:
    result = invoke("status", "--url", "http://nowhere.invalid:9911")
    assert result.exit_code == 1
    assert "cannot reach http://nowhere.invalid:9911" in result.stderr


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that answers every connection with the same bytes."""
    raw: bytes = request.param
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(raw)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(10)


HTML = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p>x"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
LIST = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


@pytest.mark.parametrize(
    ("answering", "told"),
    [
        pytest.param(HTML, "does not answer like a watchdog (status 404, text/html)", id="a web page"),
        pytest.param(REDIRECT, "does not answer like a watchdog (status 302", id="a redirect"),
        pytest.param(LIST, "does not answer like a watchdog", id="other JSON"),
        pytest.param(b"", "broke off", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", "broke off", id="another protocol"),
    ],
    indirect=["answering"],
)
def test_what_is_no_watchdog_is_said(answering: str, told: str) -> None:
    result = invoke("incidents", "--url", answering)
    assert result.exit_code == 1
    assert told in result.stderr


def answered(body: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["status", "trips"],
        ["incidents"],
        ["incidents", "show", "i1"],
        ["explain", "i1"],
        ["deploy", "trips", "--version", "v", "--variant", "x"],
        ["rollback", "trips", "--reason", "x"],
        ["pause", "trips"],
        ["resume", "--all"],
        ["ack", "i1"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "answering",
    [
        pytest.param(answered('{"status": "success"}'), id="an object"),
        pytest.param(answered('{"items": [{"id": 1}], "next": null}'), id="a list of other things"),
        pytest.param(answered('{"items": 5, "next": 7}'), id="no list at all"),
    ],
    indirect=True,
)
def test_json_of_another_program_is_no_success_and_no_traceback(answering: str, command: list[str]) -> None:
    result = invoke(*command, "--url", answering)
    assert result.exit_code == 1
    assert "does not answer like a watchdog" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("token", "command", "told"),
    [
        ("", ["status"], "give a token with WATCHDOG_TOKEN, --token or -c FILE"),
        ("canary-another-token", ["status"], "this token is not known"),
        ("viewer-token", ["pause", "trips"], "this needs role operator"),
    ],
)
def test_a_token_that_does_not_do_is_said(
    watchdog: Run, served: Served, token: str, command: list[str], told: str
) -> None:
    result = watchdog(*command, env={"WATCHDOG_URL": served.url, "WATCHDOG_TOKEN": token})
    assert result.exit_code == 1
    assert told in result.stderr


def test_options_name_the_daemon(served: Served) -> None:
    result = invoke("status", "--url", served.url + "/", "--token", "viewer-token")
    assert result.exit_code == 0


def test_a_daemon_without_tokens_is_read_without_one(daemon: Daemon) -> None:
    with Served(daemon, Server(port=0)) as served:
        assert invoke("status", "--url", served.url).exit_code == 0
        refused = invoke("pause", "trips", "--url", served.url)
    assert refused.exit_code == 1
    assert "server.tokens" in refused.stderr

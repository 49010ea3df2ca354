"""The text of HAProxy's Runtime API is read as it is meant, and anything else is refused."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from datetime import datetime

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from tests.eventually import Eventually
from tests.traffic.admin import HEADER, dump, stat, state_row
from watchdog.aio.clock import SystemClock
from watchdog.traffic.haproxy_cli import CliError, answers, converse, explain, parse_servers, short


def test_success_is_an_empty_line_and_a_complaint_is_text() -> None:
    text = "\nNo such server.\n\n\nUnknown command, but maybe:\n  show stat\n\n1\n# be_id"
    complaints, rest = answers(text, 4)
    assert complaints == ["", "No such server.", "", "Unknown command, but maybe: show stat"]
    assert rest == "1\n# be_id"


def test_fewer_answers_than_commands_are_noticed() -> None:
    with pytest.raises(ValueError, match="after 2 of 3"):
        answers("\n\n", 3)
    with pytest.raises(ValueError, match="after 1 of 2"):
        answers("\nNo such ser", 2)


def test_rows_are_read_by_the_names_of_their_columns() -> None:
    newer = HEADER.replace("srv_name", "srv_new srv_name")
    row = state_row("blue", admin=5, weight=7).replace(" blue ", " x blue ") + " 17"
    rows = parse_servers(dump(row, header=newer + " srv_newest") + stat("blue"), "trips", counted=True)
    blue = rows["blue"]
    assert (blue.admin, blue.weight, blue.address, blue.requests) == (5, 7, "127.0.0.1:8081", 23)


def test_rows_of_other_backends_are_left_out() -> None:
    other = state_row("blue").replace("trips", "cars")
    assert set(parse_servers(dump(other, state_row("green")), "trips")) == {"green"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", "127.0.0.1:8081"), ("::1", "[::1]:8081"), ("-", ""), ("/run/app.sock", "")],
)
def test_addresses_are_written_as_a_probe_needs_them(address: str, expected: str) -> None:
    rows = parse_servers(dump(state_row("blue", address=address)), "trips")
    assert rows["blue"].address == expected


@pytest.mark.parametrize(
    ("admin", "enabled", "in_maintenance"),
    [
        (0x00, True, False),
        (0x01, False, True),
        (0x02, False, True),
        (0x04, True, False),  # disabled in the configuration, and made ready since
        (0x05, False, True),
        (0x08, False, False),
        (0x10, False, False),
        (0x20, False, True),
        (0x40, True, False),  # its name was set at run time
    ],
)
def test_the_flags_of_a_server_say_whether_it_takes_traffic(
    admin: int, enabled: bool, in_maintenance: bool
) -> None:
    row = parse_servers(dump(state_row("blue", admin=admin)), "trips")["blue"]
    assert (row.enabled, row.in_maintenance) == (enabled, in_maintenance)


@pytest.mark.parametrize(
    ("row", "check", "why"),
    [
        (state_row("blue"), "L7OK", ""),
        (state_row("blue"), "* L7OK", ""),
        (state_row("blue", op=0), "L4CON", ""),
        (state_row("blue", check=0), "", "no health check"),
        (state_row("blue", check=8, admin=1), "", "no health check"),
        (state_row("blue", check=14, admin=1), "L7OK", "in maintenance: not ready without a passing probe"),
        (state_row("blue", check=2), "L7OK", "health checks switched off"),
        (state_row("blue"), "INI", "no health check has finished yet"),
        (state_row("blue"), "* INI", "no health check has finished yet"),
    ],
)
def test_health_is_unknown_where_no_check_has_spoken(row: str, check: str, why: str) -> None:
    rows = parse_servers(dump(row) + stat("blue", check=check), "trips", counted=True)
    assert rows["blue"].unknown_because == why


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing"),
        ("\n\n", "empty"),
        ("HTTP/1.1 400 Bad Request\n\n", "HTTP/1.1 400 Bad Request"),
        ("Permission denied\n\n", "Permission denied"),
        (dump(state_row("blue"))[:-20], "no complete answer"),
        (dump("3 trips 1 blue 127.0.0.1 2"), "no column"),
        (dump(state_row("blue").replace(" 6 3 4 6 ", " 6 3 4 six ")), "row of server blue"),
        (dump(state_row("blue")), "does not list the server blue"),
        (dump(state_row("blue")) + stat("green"), "does not list the server blue"),
        (dump(state_row("blue")) + stat("blue").replace(",23,", ",many,"), "row of server blue"),
        (dump(state_row("blue")) + stat("blue").replace("L7OK", "x" * 200_000), "not CSV"),
    ],
)
def test_what_is_not_an_answer_is_refused_with_what_it_was(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_servers(text, "trips", counted=True)


@given(st.text() | st.text(alphabet="\n #,1").map(lambda text: dump(state_row("blue")) + "# pxname" + text))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    for read in (lambda: parse_servers(text, "trips", counted=True), lambda: answers(text, 2)):
        with contextlib.suppress(ValueError):
            read()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOENT, "no such socket; is HAProxy running"),
        (errno.ECONNREFUSED, "nobody listens at /run/x"),
        (errno.EACCES, "must let the watchdog's user in"),
        (errno.ECONNRESET, "Connection reset by peer"),
    ],
)
def test_a_failed_connection_says_what_to_look_at(number: int, said: str) -> None:
    assert said in explain(OSError(number, os.strerror(number)), "/run/x")


async def test_commands_that_do_not_fit_one_line_are_not_sent() -> None:
    with pytest.raises(CliError, match="do not fit one line") as caught:
        await converse("/nowhere", ["show stat"] * 2000, timeout=1, within=1, clock=SystemClock())
    assert not caught.value.sent


class Accepting:
    """A clock that takes a waiting connection off the queue in the third pause, and remembers the pauses."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.pauses: list[float] = []
        self.taken: list[socket.socket] = []

    def now(self) -> datetime:
        raise AssertionError("nobody asks for the time of day")

    def monotonic(self) -> float:
        raise AssertionError("nobody asks for the time")

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)
        if len(self.pauses) == 3:
            self.taken.append(self._listening.accept()[0])


@pytest.fixture
def full_queue() -> Iterator[tuple[socket.socket, str]]:
    """A socket whose queue is full and which accepts nothing."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wd-", dir="/tmp"))
        path = f"{folder}/admin.sock"
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(path)
        listening.listen(1)
        for _ in range(10):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            try:
                waiting.connect(path)
            except BlockingIOError:
                break
        else:
            pytest.fail("the queue never got full")
        yield listening, path


async def test_a_full_queue_is_tried_again_until_there_is_room(
    full_queue: tuple[socket.socket, str], eventually: Eventually
) -> None:
    listening, path = full_queue
    clock = Accepting(listening)
    asking = asyncio.create_task(converse(path, ["show info"], timeout=5, within=5, clock=clock))
    try:
        await eventually(lambda: bool(clock.taken), what="the third pause")
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:  # those that waited before are first
            served, _ = await loop.sock_accept(listening)
            clock.taken.append(served)
            served.setblocking(False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    if await loop.sock_recv(served, 100):
                        break
        assert clock.pauses == [0.01, 0.02, 0.04]
        await loop.sock_sendall(served, b"well\n\n")
        served.close()
        assert await asking == "well\n\n"
    finally:
        asking.cancel()
        for taken in clock.taken:
            taken.close()


async def test_a_queue_that_stays_full_is_given_up_in_time_and_nothing_was_sent(
    full_queue: tuple[socket.socket, str],
) -> None:
    with pytest.raises(CliError, match=r"no connection within 0\.3 s; is HAProxy frozen") as caught:
        await converse(full_queue[1], ["show info"], timeout=0.3, within=0.3, clock=SystemClock())
    assert not caught.value.sent


def test_a_full_queue_is_tried_again_on_the_loop_that_the_daemon_runs_on(
    full_queue: tuple[socket.socket, str],
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        with pytest.raises(CliError, match="no connection within") as caught:
            runner.run(converse(full_queue[1], ["show info"], timeout=0.3, within=0.3, clock=SystemClock()))
        assert not caught.value.sent


async def test_a_socket_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(CliError, match="there is no such socket"):
        await converse("/nowhere", ["show info"], timeout=5, within=5, clock=SystemClock())


@given(st.text())
def test_a_quoted_answer_is_one_short_printable_line(text: str) -> None:
    line = short(text)
    assert len(line) <= 200
    assert line.isprintable()

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from watchdog.telemetry.logging import configure
from watchdog.telemetry.redact import register_secret

CANARY = "canary-6c1d-logging"
register_secret(CANARY)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("aiohttp", "alembic", "sqlalchemy", "asyncio")}
    show = warnings.showwarning
    yield
    logging.captureWarnings(capture=False)
    warnings.showwarning = show
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_away_from_a_terminal_every_event_is_one_line_of_json() -> None:
    out = io.StringIO()
    configure(stream=out)
    structlog.get_logger("watchdog.engine").info(
        "switch_applied", service="trips", text="two\nlines", share=0.5
    )
    [line] = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "switch_applied",
        "level": "info",
        "logger": "watchdog.engine",
        "service": "trips",
        "text": "two\nlines",
        "share": 0.5,
    }


def test_on_a_terminal_events_are_words_in_colours() -> None:
    out = Terminal()
    configure(stream=out)
    structlog.get_logger().info("switch_applied", service="trips")
    assert "\x1b[" in out.getvalue()
    assert "switch_applied" in out.getvalue()


def test_words_can_be_asked_for_without_a_terminal_and_then_have_no_colours() -> None:
    out = io.StringIO()
    configure(json=False, stream=out)
    structlog.get_logger().info("switch_applied", service="trips")
    assert "switch_applied" in out.getvalue()
    assert "service=trips" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_json_can_be_asked_for_on_a_terminal() -> None:
    out = Terminal()
    configure(json=True, stream=out)
    structlog.get_logger().info("switch_applied")
    assert lines(out)[0]["event"] == "switch_applied"


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "words"])
def test_text_from_outside_cannot_start_a_line_or_colour_a_terminal(as_json: bool) -> None:
    out = io.StringIO()
    configure(json=as_json, stream=out)
    structlog.get_logger().warning("source_failed", error="x\nlevel=critical \x1b[2Jgone", parts=["a\nb"])
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "words"])
def test_no_secret_passes_the_sink(as_json: bool) -> None:
    out = io.StringIO()
    configure(json=as_json, level="debug", stream=out)
    log = structlog.get_logger()
    event = f"used {CANARY}"
    log.info(event, token=CANARY, nested={"deep": [CANARY]}, url=f"http://bob:{CANARY}@host/")
    logging.getLogger("plugin").warning("stdlib %s and %r", CANARY, {"t": CANARY})
    logging.getLogger("plugin").warning("with extra", extra={"token": CANARY})
    try:
        password = CANARY
        raise ValueError(f"cannot log in with {password}")
    except ValueError:
        log.exception("login_failed")
        logging.getLogger("plugin").exception("failed")
    assert CANARY not in out.getvalue()
    assert "login_failed" in out.getvalue()
    assert "Traceback" in out.getvalue()
    assert out.getvalue().count("ValueError") >= 2


def test_a_traceback_never_shows_local_variables() -> None:
    out = Terminal()
    configure(stream=out)
    try:
        unknown_to_redaction = "-value".rjust(11, "l")
        raise ValueError(len(unknown_to_redaction))
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "Traceback" in out.getvalue()
    assert "lllll-value" not in out.getvalue()


def test_libraries_are_heard_from_warnings_on_in_the_same_form() -> None:
    out = io.StringIO()
    configure(level="debug", stream=out)
    for name in ("aiohttp.access", "sqlalchemy.engine", "alembic.runtime.migration"):
        logging.getLogger(name).info("chatter about %s", name)
        logging.getLogger(name).warning("trouble in %s", name)
    assert [(line["event"], line["level"]) for line in lines(out)] == [
        ("trouble in aiohttp.access", "warning"),
        ("trouble in sqlalchemy.engine", "warning"),
        ("trouble in alembic.runtime.migration", "warning"),
    ]


def test_python_warnings_are_log_lines_too() -> None:
    out = io.StringIO()
    configure(stream=out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert "old thing" in lines(out)[0]["event"]


def test_levels_below_the_chosen_one_are_silent() -> None:
    out = io.StringIO()
    configure(level="warning", stream=out)
    structlog.get_logger().info("unheard")
    structlog.get_logger().warning("heard")
    assert [line["event"] for line in lines(out)] == ["heard"]


def test_bound_context_is_in_every_line() -> None:
    out = io.StringIO()
    configure(stream=out)
    with structlog.contextvars.bound_contextvars(incident="i-1"):
        structlog.get_logger().info("one")
        logging.getLogger("plugin").info("two")
    assert [line["incident"] for line in lines(out)] == ["i-1", "i-1"]


def test_configuring_again_replaces_the_sink() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(stream=first)
    configure(stream=second)
    structlog.get_logger().info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


def test_an_unknown_level_is_a_clear_mistake() -> None:
    with pytest.raises(ValueError, match="'loud' is not a log level"):
        configure(level="loud")


def test_a_closed_stream_harms_nobody() -> None:
    out = io.StringIO()
    configure(stream=out)
    out.close()
    structlog.get_logger().info("into the void")


def test_a_record_that_cannot_be_formatted_is_lost_but_not_printed_raw() -> None:
    out = io.StringIO()
    logging.getLogger().handlers[:] = []  # pytest listens too, and raises
    configure(stream=out)
    logging.getLogger("plugin").warning("%d items", CANARY)
    assert "log_record_lost" in out.getvalue()
    assert CANARY not in out.getvalue()

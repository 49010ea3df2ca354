"""What is sent for a message is what the golden files show; `python -m tests.channels.words` writes them anew."""

from __future__ import annotations

import email
from email.policy import default
from typing import Any

import pytest

from tests.channels.sent import sent
from tests.channels.words import FOLDER
from watchdog.channels.sms import NEVER_SENT
from watchdog.core.message import MessageKind

SENT = sent()


@pytest.mark.parametrize("name", SENT)
def test_what_is_sent_is_what_the_golden_files_show(name: str) -> None:
    kept = (FOLDER / name).read_bytes()
    if name.endswith(".eml"):  # where a line is broken is the library's business
        assert read(kept) == read(SENT[name])
    else:
        assert kept == SENT[name]


def read(raw: bytes) -> list[tuple[list[tuple[str, str]], Any]]:
    """A mail part by part: its headers in order, and what it holds."""
    mail = email.message_from_bytes(raw, policy=default)
    return [
        (
            [(name, str(value)) for name, value in part.items()],
            None if part.is_multipart() else part.get_content(),
        )
        for part in mail.walk()
    ]


def test_every_golden_file_of_these_channels_is_still_sent() -> None:
    kept = {path.name for path in FOLDER.iterdir() if path.name.startswith(("email", "teams", "sms"))}
    assert kept == set(SENT)


def test_every_kind_is_a_short_text_message_or_none() -> None:
    pages = SENT["sms.txt"].decode().split("=== ")[1:]
    assert len(pages) == len(MessageKind)
    for page in pages:
        kind, text = page.strip().split("\n")
        assert (text == "(not sent)") == (kind in NEVER_SENT)
        assert len(text) <= 320, kind


@pytest.mark.parametrize("name", [name for name in SENT if name.endswith(".eml")])
def test_a_mail_is_whole_and_reads_alike_in_text_and_html(name: str) -> None:
    mail = email.message_from_bytes(SENT[name], policy=default)
    assert not mail.defects
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    subject = mail["Subject"].partition("] ")[2]
    assert subject in text.get_content()
    assert ("cid:chart" in html.get_content()) == any(part.get("Content-ID") for part in mail.walk())

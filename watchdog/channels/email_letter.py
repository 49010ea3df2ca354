"""A message as a mail: bytes that are the same for the same message, whenever they are made.

Everything in a message comes from outside; this module must never let any of it end a header, begin another one, or
leave its part of the mail. It does no input or output and reads no clock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any

import msgspec

from watchdog.channels.email_address import Address
from watchdog.channels.interface import Chart
from watchdog.channels.rendering import Rendered
from watchdog.core.message import Message, MessageKind, Thread
from watchdog.core.rule import Severity
from watchdog.telemetry.redact import one_line

#: Longest subject in code points: what mail programs show, and more.
SUBJECT_LIMIT = 200
#: Set by us, or part of what a mail is made of: nobody adds these.
OURS = frozenset(
    {
        *("subject", "from", "to", "reply-to", "date", "message-id", "in-reply-to", "references"),
        *(
            "auto-submitted",
            "x-auto-response-suppress",
            "list-id",
            "list-unsubscribe",
            "importance",
            "x-priority",
        ),
        *("sender", "cc", "bcc", "return-path", "received", "mime-version"),
    }
)
#: What the mail's HTML calls the picture.
CHART_ID = "chart"

_LONGEST_LINE = 998
#: Read by people: these are broken into lines, and encoded where they are not ASCII.
_WORDS = {"subject", "from", "to", "reply-to", "content-type", "content-disposition", "content-description"}
_OUR_ID = re.compile(r"<[0-9a-f]{32}@[a-z0-9.-]{1,255}>")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What of a mail is the channel's and not the message's. Values of `headers` are one line each."""

    sender: Address
    to: Sequence[Address]
    reply_to: Address | None = None
    headers: Mapping[str, str] = {}


class _Policy(EmailPolicy):
    """Leaves what machines read in one piece: the library would encode a long id as if it were words."""

    def fold_binary(self, name: str, value: Any) -> bytes:
        line = f"{name}: {value}\r\n"
        if name.lower() in _WORDS or not line.isascii() or len(line) > _LONGEST_LINE:
            return super().fold_binary(name, value)
        return line.encode()


#: Lines of 7 bit only: every relay takes that, and none has to convert anything.
_POLICY = _Policy(linesep="\r\n", cte_type="7bit", raise_on_defect=False)


def letter(
    message: Message,
    rendered: Rendered,
    *,
    key: str,
    envelope: Envelope,
    thread: Thread | None = None,
    chart: Chart | None = None,
) -> bytes:
    """The whole mail, lines ended by CRLF, ASCII throughout."""
    mail = EmailMessage(_POLICY)
    _address(mail, message, rendered, envelope)
    _tie(mail, message, key=key, domain=envelope.sender.domain, thread=thread)
    for name, value in envelope.headers.items():
        mail[name] = _clean(value)
    text = rendered.text if chart is None else f"{rendered.text}\n\nChart: {one_line(chart.alt)}"
    mail.set_content(_encodable(text) + "\n")
    mail.add_alternative(_encodable(rendered.html), subtype="html")
    if chart is not None:
        html = mail.get_payload(1)
        assert isinstance(html, EmailMessage)  # noqa: S101 - made right above
        html.add_related(
            chart.png, "image", "png", cid=f"<{CHART_ID}>", filename="chart.png", disposition="inline"
        )
        picture = html.get_payload(1)
        assert isinstance(picture, EmailMessage)  # noqa: S101 - made right above
        picture["Content-Description"] = _clean(chart.alt)[:SUBJECT_LIMIT]
    # Of the text as well, so that no text can hold what ends it.
    mark = _digest("boundary", key, rendered.text, rendered.html)
    for number, part in enumerate(mail.walk()):
        if number:
            del part["MIME-Version"]
        if part.is_multipart():
            part.set_boundary(f"=_{mark}-{number}")
    return mail.as_bytes()


def message_id(key: str, domain: str) -> str:
    """The mail's own id: the same for every attempt, so that whoever gets it twice can tell."""
    return f"<{_digest('key', key)}@{domain}>"


def root_id(conversation: str, domain: str) -> str:
    """What all mails of a conversation refer to. No mail has it, so that they hold together without any memory."""
    return f"<{_digest('conversation', conversation)}@{domain}>"


def _address(mail: EmailMessage, message: Message, rendered: Rendered, envelope: Envelope) -> None:
    headline = rendered.headline or message.kind.value.replace("_", " ")
    mail["Subject"] = one_line(f"[{message.severity}] {_clean(headline)}", limit=SUBJECT_LIMIT)
    mail["From"] = str(envelope.sender)
    mail["To"] = ", ".join(map(str, envelope.to))
    if envelope.reply_to is not None:
        mail["Reply-To"] = str(envelope.reply_to)
    mail["Date"] = message.created_at.astimezone(UTC)
    # RFC 3834, and what Exchange looks at: no machine shall answer.
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail["List-Id"] = f"<rollback-watchdog.{envelope.sender.domain}>"
    if message.kind is MessageKind.WEEKLY_REPORT and envelope.reply_to is not None:
        mail["List-Unsubscribe"] = f"<mailto:{envelope.reply_to.spec}?subject=unsubscribe>"
    mail["X-Watchdog-Kind"] = message.kind.value
    mail["X-Watchdog-Severity"] = message.severity.value
    if message.severity is Severity.CRITICAL and not message.ends:
        mail["Importance"] = "high"
        mail["X-Priority"] = "1"


def _tie(mail: EmailMessage, message: Message, *, key: str, domain: str, thread: Thread | None) -> None:
    """Tie the mail to its conversation: to the root that no mail has, and to the first mail where it is known."""
    root = root_id(message.conversation, domain)
    first = thread.reference if thread is not None and _OUR_ID.fullmatch(thread.reference) else ""
    own = message_id(key, domain)
    known = first and first != own
    mail["Message-ID"] = own
    mail["In-Reply-To"] = first if known else root
    mail["References"] = f"{root} {first}" if known else root


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "replace")).hexdigest()[:32]


def _clean(text: str) -> str:
    return _encodable(one_line(text))


def _encodable(text: str) -> str:
    """What UTF-8 cannot encode (lone surrogates) becomes a question mark; lines end in one way."""
    return (
        text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    )

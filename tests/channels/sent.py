"""What mail servers, Twilio and Teams are given for the specimens: the golden files that `tests.channels.words` writes.

Mails are whole, as they are handed in; of text messages all kinds stand in one file.
"""

from __future__ import annotations

import json

from watchdog.channels.email_address import address_of
from watchdog.channels.email_letter import Envelope, letter
from watchdog.channels.interface import Chart
from watchdog.channels.rendering import Rendering
from watchdog.channels.sms import NEVER_SENT, body_of
from watchdog.channels.specimens import specimens
from watchdog.channels.teams_card import card
from watchdog.core.message import MessageKind

#: A picture of one point: charts have golden files of their own.
_PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360f8cf500f00038101805a3497a70000000049454e44ae426082"
)
_KINDS = (
    MessageKind.INCIDENT_OPENED,
    MessageKind.ROLLBACK_BLOCKED,
    MessageKind.ROLLBACK_SWITCHED,
    MessageKind.INCIDENT_CLOSED,
    MessageKind.WEEKLY_REPORT,
)
_ENVELOPE = Envelope(
    sender=address_of("Watchdog <watchdog@example.com>"),
    to=[address_of("ops@example.com")],
    reply_to=address_of("ops@example.com"),
)


def sent() -> dict[str, bytes]:
    """Every golden file by its name."""
    rendering, told = Rendering(), specimens()
    files: dict[str, bytes] = {}
    for kind in _KINDS:
        one = told[kind]
        chart = (
            Chart(png=_PICTURE, alt=f"{one.evidence.check.rule} of the last hour") if one.evidence else None
        )
        rendered = rendering.of(one, chart=chart is not None)
        mail = letter(one, rendered, key=f"{one.key}@mail", envelope=_ENVELOPE, chart=chart)
        files[f"email_{kind}.eml"] = mail.replace(b"\r\n", b"\n")
        shown = json.dumps(json.loads(card(one, rendered)), indent=1, ensure_ascii=False)
        files[f"teams_{kind}.json"] = f"{shown}\n".encode()
    texts = {
        kind: "(not sent)" if kind in NEVER_SENT else body_of(one, rendering.of(one), limit=320)
        for kind, one in told.items()
    }
    files["sms.txt"] = "".join(f"=== {kind}\n{texts[kind]}\n\n" for kind in MessageKind).encode()
    return files

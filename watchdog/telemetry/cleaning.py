"""The last gate before a message leaves the process: no known secret, no user name and password of a URL in any part.

Parts keep secrets out of what they say; this is for what they overlooked, and for what people wrote into labels and
reasons. This module must never change what a message is about: its key, its ids, its times.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core.message import Message
from watchdog.telemetry.redact import redact

_TEXTS = ("headline", "service", "environment", "version", "next_step", "undo", "explain")
_ADDRESSES = ("runbook", "dashboard")


def cleaned(message: Message) -> Message:
    """The message as it may leave; the very same where there is nothing to hide, as ever. Idempotent."""
    texts = {name: redact(getattr(message, name)) for name in _TEXTS}
    addresses = {name: redact(value) for name in _ADDRESSES if (value := getattr(message, name))}
    facts = tuple((redact(name), redact(value)) for name, value in message.facts)
    labels = {redact(name): redact(value) for name, value in message.labels.items()}
    changed = {
        name: value for name, value in {**texts, **addresses}.items() if value != getattr(message, name)
    }
    if not changed and facts == message.facts and labels == message.labels:
        return message
    return replace(message, facts=facts, labels=labels, **changed)

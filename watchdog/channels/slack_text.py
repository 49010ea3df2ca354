"""Text as Slack takes it: escaped, without mentions that nobody meant, and never longer than it may be.

Everything in a message may come from outside. This module must never let such text call people, link anywhere, or make
Slack refuse the whole message.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from watchdog.channels.cutting import cut
from watchdog.telemetry.redact import one_line

_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
#: What must not stand in the address of a link: it would end it, or begin the label.
_QUOTED = {"<": "%3C", ">": "%3E", "|": "%7C", '"': "%22", "`": "%60", "&": "&amp;"}
_LONGEST_ADDRESS = 1000
_ELLIPSIS = "…"
#: What stands where a sign of the markup stood.
QUOTE = "'"


def escape(text: str, limit: int) -> str:
    """One line of text that is text and nothing else, in `mrkdwn` as well as in `text`; at most `limit` long."""
    return _fitted(one_line(text), limit)


def plain(text: str, limit: int) -> str:
    """One line for an object `plain_text`, in which Slack parses nothing; at most `limit` long."""
    return _fitted(one_line(text), limit, escaped={})


def lines(text: str, limit: int) -> str:
    """Several lines of text that are text and nothing else; at most `limit` long."""
    return _fitted("\n".join(one_line(line) for line in text.split("\n")), limit)


def code(text: str, limit: int) -> str:
    """A command, to be copied; one that is longer than `limit` cannot be, and is cut."""
    return f"`{escape(text.replace('`', QUOTE), limit - 2)}`"


def link(address: str | None, label: str) -> str:
    """A link, empty where the address is none that a person may be sent to. `label` is ours."""
    if not address or len(address) > _LONGEST_ADDRESS or one_line(address) != address or " " in address:
        return ""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return ""
    return f"<{''.join(_QUOTED.get(one, one) for one in address)}|{label}>"


def _fitted(text: str, limit: int, escaped: Mapping[str, str] = _ESCAPED) -> str:
    """Counted as UTF-16, and escaped: whichever way Slack counts, that is the larger one."""
    sizes = [len(escaped.get(one, one)) + (one > "\uffff") for one in text]
    if sum(sizes) > limit:
        left, kept = limit - len(_ELLIPSIS), 0
        while left >= sizes[kept]:
            left -= sizes[kept]
            kept += 1
        text = cut(text, kept + len(_ELLIPSIS), mark=_ELLIPSIS)
    return "".join(escaped.get(one, one) for one in text)

"""The first message of a conversation, kept up to date: what became of it, who has it, which buttons still make sense.

Everything here comes after the message itself was delivered and is done beside it: what fails is logged and left, the
next news brings all of it again. This module must never delay a message or make one fail.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from watchdog.channels.slack_blocks import is_good
from watchdog.core.message import Message, MessageKind

#: Conversations that are remembered; of an older one only the newest is shown.
MOST = 500

_K = MessageKind
#: Says again what is known: nothing to show at the root.
_AGAIN = frozenset({_K.INCIDENT_REPEATED, _K.ACKNOWLEDGEMENT_REMINDER})
_OF_PERSONS = frozenset({_K.INCIDENT_ACKNOWLEDGED, _K.INCIDENT_UNACKNOWLEDGED})

#: Shows a root as it is now; answers whether it is shown.
Show = Callable[["Root"], Awaitable[bool]]


@dataclass(slots=True)
class Root:
    """One conversation's first message, and what came after it. `wanted` counts news, `shown` those that it shows."""

    channel: str
    ts: str
    message: Message
    taken: Message | None = None
    latest: Message | None = None
    wanted: int = 0
    shown: int = field(default=0)

    @property
    def news(self) -> Iterator[Message]:
        """What is shown at the root, newest matter first."""
        if self.latest is not None:
            yield self.latest
        if self.taken is not None and not (self.latest and self.latest.ends):
            yield self.taken

    @property
    def coloured_by(self) -> Message:
        """The message whose colour is shown: a quiet word of the newest matter changes none."""
        louder = self.latest is not None and self.latest.kind in (_K.INCIDENT_WORSENED, _K.ROLLBACK_BLOCKED)
        return self.latest if self.latest is not None and (louder or is_good(self.latest)) else self.message


class Roots:
    """The conversations of one channel."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Root] = OrderedDict()

    def note(self, reference: str, root: Message, message: Message) -> Root | None:
        """News of a conversation; `None` where it changes nothing, or nothing is known of its first message."""
        channel, _, ts = reference.partition(":")
        if not channel or not ts or message.kind in _AGAIN:
            return None
        known = self._known.setdefault(reference, Root(channel=channel, ts=ts, message=root))
        self._known.move_to_end(reference)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        if message.kind in _OF_PERSONS:
            known.taken = message if message.kind is _K.INCIDENT_ACKNOWLEDGED else None
            if known.latest is None and known.taken is None:
                known.latest = message
        else:
            known.latest = message
        known.wanted += 1
        return known


async def keep_up(root: Root, show: Show) -> None:
    """Show the newest, until it is shown or cannot be."""
    while root.shown < root.wanted:
        wanted = root.wanted
        if not await show(root):
            return
        root.shown = wanted

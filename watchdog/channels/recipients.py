"""Who of several recipients has a message already, so that another attempt goes only to the rest.

For channels that send to each one by one, and may succeed with some. Only in memory: after a restart everybody is sent
the message again, a duplicate rather than a miss. This module must never grow without bound.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

#: Unfinished messages to remember; beyond, the oldest are sent to everybody again.
MOST = 1000


class Recipients:
    """Those of one channel. `settle` whom one attempt reached, or will never reach; `forget` once all is said."""

    def __init__(self, everyone: Iterable[str]) -> None:
        self._everyone = tuple(dict.fromkeys(everyone))
        self._settled: OrderedDict[str, dict[str, bool]] = OrderedDict()

    def left(self, key: str) -> tuple[str, ...]:
        """Who must still be sent the message of this key, in order."""
        settled = self._settled.get(key, {})
        return tuple(one for one in self._everyone if one not in settled)

    def settle(self, key: str, who: str, *, delivered: bool) -> None:
        """Nothing more is to be sent to this one: it has it, or will never take it."""
        self._settled.setdefault(key, {})[who] = delivered
        self._settled.move_to_end(key)
        while len(self._settled) > MOST:
            self._settled.popitem(last=False)

    def reached(self, key: str) -> int:
        """How many have it, by this and earlier attempts."""
        return sum(self._settled.get(key, {}).values())

    def forget(self, key: str) -> None:
        """The message is delivered or refused: whoever sends it again means it."""
        self._settled.pop(key, None)

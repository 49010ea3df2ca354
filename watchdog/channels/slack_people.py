"""Who may press the buttons: the people and user groups of the settings, and nobody else.

A group's members are looked up and kept for five minutes. This module must never let somebody through because a look-up
failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from watchdog.aio.clock import Clock
from watchdog.channels.slack_actions import Press
from watchdog.channels.slack_api import Failed
from watchdog.channels.slack_settings import ANYBODY, SlackSettings

#: So long a group's members are taken for what they were.
KEPT_FOR = timedelta(minutes=5)

#: The members of one group. Raises `Failed`.
LookUp = Callable[[str], Awaitable[frozenset[str]]]


class People:
    """Says whether a person may, from the settings alone or with a look at the groups."""

    def __init__(self, settings: SlackSettings, *, look_up: LookUp, clock: Clock) -> None:
        self._anybody = ANYBODY in settings.users
        self._users = frozenset(settings.users) - {ANYBODY}
        self._groups = settings.groups
        self._look_up = look_up
        self._clock = clock
        self._members: dict[str, tuple[float, frozenset[str]]] = {}
        self._turn = asyncio.Lock()

    def may(self, press: Press) -> bool:
        """Whether the person may, as far as is known without asking Slack."""
        if press.user in self._users or (self._anybody and not press.outside):
            return True
        return any(press.user in self._known(group) for group in self._groups)

    async def may_after_all(self, user: str) -> bool:
        """Whether a group that must be looked up has the person. False where it cannot be; raises nothing."""
        for group in self._groups:
            async with self._turn:
                if group not in self._members or self._stale(group):
                    try:
                        found = await self._look_up(group)
                    except Failed:
                        continue
                    self._members[group] = (self._clock.monotonic(), found)
            if user in self._known(group):
                return True
        return False

    def _known(self, group: str) -> frozenset[str]:
        return frozenset() if self._stale(group) else self._members[group][1]

    def _stale(self, group: str) -> bool:
        at, _ = self._members.get(group, (float("-inf"), frozenset()))
        return self._clock.monotonic() - at > KEPT_FOR.total_seconds()

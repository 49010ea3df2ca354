"""What belongs to a Slack message beside the message: the conversation's first one brought up to date, the chart.

It is done after the message was delivered, without anybody waiting; what fails is logged once and left, the next news
brings it again. This module must never delay a message or make one fail.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.crew import Crew
from watchdog.channels.interface import Chart, Later
from watchdog.channels.rendering import Rendering
from watchdog.channels.slack_actions import actions
from watchdog.channels.slack_api import Bot, Failed
from watchdog.channels.slack_blocks import post
from watchdog.channels.slack_roots import Root, Roots, keep_up
from watchdog.channels.slack_text import plain
from watchdog.core.message import Message, Thread

#: Each is tried so often, while Slack wants to be left alone no longer than this.
_TRIES, _LONGEST_BREAK = 3, timedelta(seconds=30)
#: What is under way may take so long when the channel is closed.
_FINISH_WITHIN = timedelta(seconds=2)
_ALT = 1000

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Beside:
    """One for each channel. `mention` is whom a message mentions, `may_call` whether an address is Slack's."""

    def __init__(
        self,
        bot: Bot,
        *,
        name: str,
        interactive: bool,
        rendering: Rendering,
        mention: Callable[[Message], tuple[str, ...]],
        may_call: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._bot = bot
        self._name = name
        self._interactive = interactive
        self._rendering = rendering
        self._mention = mention
        self._may_call = may_call
        self._clock = clock
        self._roots = Roots()
        self._crew = Crew(f"slack {name}")
        self._faults: dict[str, str] = {}
        self._numbers = itertools.count()

    def news(self, message: Message, thread: Thread) -> None:
        """A message of a conversation was delivered: its first one shows what it says. Returns at once."""
        root = self._roots.note(thread.reference, thread.message, message)
        if root is not None and not self._crew.busy(thread.reference):
            self._crew.start(thread.reference, keep_up(root, self._show))

    def picture(self, chart: Chart, *, channel: str, ts: str) -> None:
        """A chart follows into the thread. Returns at once."""
        self._crew.start(f"chart {next(self._numbers)}", self._upload(chart, channel=channel, ts=ts))

    def tell(self, what: str, fault: str) -> None:
        """Something that no message fails for: logged when it changes; empty when it went well."""
        if fault and self._faults.get(what, "") != fault:
            _log.warning("slack_left_out", channel=self._name, what=what, reason=fault)
        self._faults[what] = fault

    async def aclose(self) -> None:
        """Finish what is nearly done, end the rest. Idempotent, never raises."""
        await self._crew.finish(_FINISH_WITHIN)
        await self._crew.stop()

    async def _show(self, root: Root) -> bool:
        rendered = self._rendering.of(root.message)
        colour = self._rendering.of(root.coloured_by).colour
        taken = root.taken is not None
        buttons = (
            actions(root.message, self._name, latest=root.latest, taken=taken) if self._interactive else []
        )
        mention = self._mention(root.message)  # as it was: an update calls nobody again
        shown = post(root.message, rendered, news=root.news, buttons=buttons, mention=mention, colour=colour)
        body = {"channel": root.channel, "ts": root.ts, **shown.body()}
        return await self._call("update", "chat.update", body) is not None

    async def _upload(self, chart: Chart, *, channel: str, ts: str) -> None:
        wanted = {"filename": "evidence.png", "length": len(chart.png), "alt_txt": plain(chart.alt, _ALT)}
        place = await self._call("chart", "files.getUploadURLExternal", wanted, form=True)
        if place is None:
            return
        address = str(place.get("upload_url", ""))
        if not self._may_call(address):
            self.tell("chart", "the address to upload to is not Slack's")
            return
        try:
            await self._bot.upload(address, chart.png)
        except Failed as failed:
            self.tell("chart", failed.outcome.reason)
            return
        files = [{"id": str(place.get("file_id", "")), "title": "Evidence"}]
        body = {"files": files, "channel_id": channel, "thread_ts": ts}
        await self._call("chart", "files.completeUploadExternal", body)

    async def _call(
        self, what: str, method: str, body: Mapping[str, Any], *, form: bool = False
    ) -> dict[str, Any] | None:
        for left in range(_TRIES - 1, -1, -1):
            try:
                answer = await self._bot.call(method, body, form=form)
            except Failed as failed:
                wish = failed.outcome.after if isinstance(failed.outcome, Later) else None
                if left and wish is not None and wish <= _LONGEST_BREAK:
                    await self._clock.sleep(wish.total_seconds())
                    continue
                self.tell(what, failed.outcome.reason)
                return None
            self.tell(what, "")
            return answer
        return None

"""Channel `pagerduty`: an incident of ours is an alert there, opened, taken and closed under one key.

* What needs somebody, or tells of an incident, opens the alert (`trigger`) or is added to it; our close resolves it,
  our acknowledgement acknowledges it. Reminders and reports are not sent: PagerDuty reminds its own people.
* Switches, completed rollbacks, deployments and pauses are change events, which wake nobody, unless they need somebody.
* The key says which incident it is: a message whose answer was lost is sent again, and is still one alert. A service
  there may resolve by itself what was open for hours (`auto_resolve_timeout`, 4 hours at first); what we still hold
  open and nobody took is told again by its repeat, under the same key, which opens it once more.
* Back from there come acknowledgements, by callbacks (`webhook_secret`) or by asking (`api_token`).

One try a message: the outbox repeats. 202 is delivered, and means "accepted": PagerDuty may hold it back by its own
rules. How the library is kept from repeating is said in `watchdog.channels.pagerduty_call`.

This module must never put a key or a token into a reason, a log or a repr.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from pydantic import Field, SecretStr, field_validator
from yarl import URL

from watchdog.aio.clock import Clock
from watchdog.channels import pagerduty_hearing as hearing
from watchdog.channels.interface import (
    Answer,
    Chart,
    Delivered,
    Delivery,
    Hear,
    Heard,
    Later,
    Received,
    Refused,
    Unclear,
)
from watchdog.channels.pagerduty_call import Calls
from watchdog.channels.pagerduty_events import Does, alert, change, does, key_of, key_of_incident
from watchdog.channels.posting import Reply, mask_of, named, trust
from watchdog.channels.rendering import Rendering
from watchdog.core.message import Message, Thread
from watchdog.core.units import format_duration
from watchdog.settings.model import ProviderSettings, Secret
from watchdog.telemetry.redact import one_line, redact

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: How often what nobody took is asked for, and of how many incidents each time: far below PagerDuty's limits.
ASK_INTERVAL = timedelta(seconds=30)
ASKED_AT_ONCE = 60
#: The longest pause after asking failed.
LONGEST_PAUSE = timedelta(minutes=5)
#: What was heard is remembered for so many, so that it is heard once.
_REMEMBERED = 1000

_EVENTS = "https://events.pagerduty.com"
_THEIRS = ("events.pagerduty.com", "events.eu.pagerduty.com")
_TEXT_SHOWN = 200
_RETRIED = {408, 425, 429}
#: Without TLS only to a proxy on this machine.
_ADDRESS = r"^(https://[^\s/@?#]+|http://(127(\.[0-9]+){3}|localhost|\[::1\])(:[0-9]+)?)/?$"
_WORD = re.compile(r"[\x21-\x7e]+")
#: Of an integration key of PagerDuty's own.
_KEY_LENGTH = 32


class PagerDutySettings(ProviderSettings):
    """Which service there is told, and how acknowledgements come back."""

    routing_key: Secret
    """Integration key of the service (Events API v2), 32 characters: `!env NAME` or `!file PATH`."""
    url: str = Field(default=_EVENTS, pattern=_ADDRESS)
    """Where events go; in the EU `https://events.eu.pagerduty.com`. HTTPS, but for a proxy on this machine."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""
    changes: bool = True
    """Whether switches and deployments are sent as change events."""
    webhook_secret: Secret | None = None
    """Secret of the webhook subscription (v3) that calls `POST /hooks/pagerduty`."""
    api_token: Secret | None = None
    """REST API key, may be read-only. Without `webhook_secret`, PagerDuty is asked every 30 s who took what."""
    api_url: str | None = Field(default=None, pattern=_ADDRESS)
    """Where the REST API is; left out, the one that belongs to `url` (`https://api.pagerduty.com`)."""

    @field_validator("routing_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value().strip()
        if not _WORD.fullmatch(key):
            raise ValueError(
                "is no integration key: it is empty, or has blanks or other characters that none has"
            )
        return SecretStr(key)

    @field_validator("webhook_secret", "api_token")
    @classmethod
    def _not_empty(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        text = value.get_secret_value().strip()
        if not text or one_line(text) != text or not text.isascii():
            raise ValueError("is empty, or has characters that no secret of PagerDuty has")
        return SecretStr(text)


class PagerDutyChannel:
    """One service of PagerDuty."""

    Settings = PagerDutySettings
    PAGES = True
    NOTICES = True
    SINGLY = True
    WANTS = ("rendering",)

    def __init__(
        self, settings: PagerDutySettings, *, name: str, clock: Clock, rendering: Rendering | None = None
    ) -> None:
        self._name = name
        self._clock = clock
        self._rendering = rendering or Rendering()
        self._key = settings.routing_key
        self._url = settings.url.rstrip("/")
        self._api_url = _rest_of(settings)
        self._token = settings.api_token
        self._secret = settings.webhook_secret
        self._changes = settings.changes
        self._timeout = settings.timeout
        self._tls = trust(settings.ca_file, name=name)
        self._mask = mask_of(
            URL(settings.url), (settings.routing_key, settings.api_token, settings.webhook_secret)
        )
        self._calls = Calls(timeout=settings.timeout, tls=self._tls, clock=clock)
        self._questions = Calls(timeout=settings.timeout, tls=self._tls, clock=clock)
        """On their own: what hangs there holds up no page."""
        self._heard: dict[str, None] = {}
        self._closed = False

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        if self._closed:
            return Later(reason="the channel is being closed")
        what, dedup = does(message), key_of(message)
        rendered = self._rendering.of(message)
        match what:
            case Does.NOTHING:
                return Delivered()
            case Does.CHANGE:
                return await self._note(change(message, rendered))
            case Does.TRIGGER:
                return await self._event(what, dedup, alert(message, rendered))
            case Does.TRY:
                opened = await self._event(Does.TRIGGER, dedup, alert(message, rendered))
                if not isinstance(opened, Delivered):
                    return opened
                return await self._event(Does.RESOLVE, dedup, {})
            case _:
                return await self._event(what, dedup, {})

    async def _event(self, action: Does, dedup: str, body: dict[str, Any]) -> Delivery:
        key = self._key.get_secret_value()
        return self._judge(await self._calls.event(self._url, key, action.value, dedup, body), dedup)

    async def _note(self, body: dict[str, Any]) -> Delivery:
        key = self._key.get_secret_value()
        if not self._changes or key.startswith("R"):  # keys of event orchestrations take no changes
            return Delivered()
        return self._judge(await self._calls.change(self._url, key, body), "")

    def _judge(self, reply: Reply | Later | Unclear, reference: str) -> Delivery:
        if isinstance(reply, Later | Unclear):
            return type(reply)(reason=self._shown(reply.reason))
        if reply.status == 202:
            return Delivered(reference=reference)
        reason = self._answered(reply)
        if reply.status in _RETRIED or reply.status >= 500:
            return Later(reason=reason, after=reply.after)
        if 300 <= reply.status < 400:
            return Refused(reason=f"answered {reply.status}; redirects are not followed, see url")
        if 200 <= reply.status < 300:
            return Refused(reason=f"answered {reply.status}, which PagerDuty does not; see url")
        return Refused(reason=reason)

    def _answered(self, reply: Reply) -> str:
        text = self._shown(reply.text)
        return f"answered {reply.status}" + (f": {text}" if text else "")

    async def inspect(self) -> str | None:
        """Connect to where events go; with a token, ask for the account's abilities. The routing key is not proved."""
        if trouble := self.doubts or await self._reach():
            return trouble
        if self._token is None:
            return None
        reply = await self._questions.get(self._api_url, self._token.get_secret_value(), "/abilities")
        if isinstance(reply, Later | Unclear):
            return f"REST API: {self._shown(reply.reason)}"
        if reply.status == 401:
            return "REST API: api_token is not accepted; see whether it is of this account and region"
        # What may be read differs between keys: a key that may not see this is a key all the same.
        return None if reply.status in {200, 403} else f"REST API: {self._answered(reply)}"

    @property
    def doubts(self) -> str:
        """What can be said of the settings without asking anybody; empty where there is nothing."""
        length = len(self._key.get_secret_value())
        if length == _KEY_LENGTH or URL(self._url).host not in _THEIRS:
            return ""
        return f"routing_key has {length} characters, an integration key of PagerDuty {_KEY_LENGTH}"

    async def _reach(self) -> str | None:
        url = URL(self._url)
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                tls = self._tls if url.scheme == "https" else None
                _, writer = await asyncio.open_connection(url.host, url.port, ssl=tls)
                writer.transport.abort()
        except TimeoutError:
            return f"no connection: nothing within {format_duration(self._timeout)}"
        except (OSError, ValueError) as error:
            return f"no connection: {self._shown(named(error))}"
        return None

    @property
    def listens(self) -> bool:
        """Asking is for those who cannot be called back."""
        return self._token is not None and self._secret is None

    async def listen(self, hear: Hear, *, outstanding: Callable[[], frozenset[str]]) -> None:
        rng = random.Random()
        pause, told = ASK_INTERVAL, ""
        waiting: list[str] = []
        while True:
            await self._clock.sleep(pause.total_seconds() * rng.uniform(0.8, 1.2))
            now = outstanding()
            # Those that had no turn last time come first.
            waiting = [one for one in waiting if one in now]
            waiting += sorted(now.difference(waiting))
            fault, wish = "", None
            for incident in waiting[:ASKED_AT_ONCE]:
                fault, wish = await self._ask(incident, hear)
                if fault:
                    break
                waiting.remove(incident)
            if fault and fault != told:
                _log.warning("pagerduty_not_asked", channel=self._name, reason=fault)
            elif told and not fault:
                _log.info("pagerduty_asked_again", channel=self._name)
            told = fault
            pause = min(max(pause * 2, wish or ASK_INTERVAL), LONGEST_PAUSE) if fault else ASK_INTERVAL

    async def _ask(self, incident: str, hear: Hear) -> tuple[str, timedelta | None]:
        """Ask about one incident; answers what went wrong, and for how long PagerDuty wants to be left alone."""
        if self._token is None:
            return "", None
        # Without a status, resolved ones are not listed; without a range, only those of the last month. The newest.
        wanted: dict[str, str | list[str]] = {
            "incident_key": key_of_incident(incident),
            "statuses[]": ["triggered", "acknowledged", "resolved"],
            "date_range": "all",
            "sort_by": "created_at:desc",
            "limit": "1",
        }
        reply = await self._questions.get(self._api_url, self._token.get_secret_value(), "/incidents", wanted)
        if isinstance(reply, Later | Unclear):
            return self._shown(reply.reason), None
        if reply.status != 200:
            return self._answered(reply), reply.after
        heard = hearing.taken(reply.text, incident)
        if heard is not None and heard.id not in self._heard:
            answer = await hear(heard)
            if answer.done:  # else it is the same wish again, and does no harm
                self._heard[heard.id] = None
            while len(self._heard) > _REMEMBERED:
                del self._heard[next(iter(self._heard))]
        return "", None

    @property
    def receives(self) -> bool:
        return self._secret is not None

    def receive(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Received | None:
        if self._secret is None or not hearing.authentic(self._secret.get_secret_value(), headers, body):
            return None
        return hearing.read(body, now=now)

    async def answered(self, heard: Heard, answer: Answer) -> None:
        """Nothing: what came of it shows in the alert."""

    async def aclose(self) -> None:
        self._closed = True

    def _shown(self, text: str) -> str:
        """Text from outside as it may be shown: masked before it is cut, so that no half secret stays."""
        return one_line(redact(self._mask.hide(text)), limit=_TEXT_SHOWN)


def _rest_of(settings: PagerDutySettings) -> str:
    """The REST API of the same region."""
    return (settings.api_url or settings.url.replace("://events.", "://api.", 1)).rstrip("/")

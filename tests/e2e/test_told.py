"""Somebody is told, over the real ways of telling: a page, a chat, a text message, a mail, until somebody takes it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.channels.fake_pagerduty import ROUTING_KEY, FakePagerDuty, pagerduty
from tests.channels.fake_slack import APP_TOKEN, NAME, TOKEN, FakeSlack, slack
from tests.channels.fake_twilio import ACCOUNT, ONE, SENDER, Twilio
from tests.channels.fake_twilio import TOKEN as TWILIO_TOKEN
from tests.channels.mail_server import PASSWORD, USER, MailServer, mail_serving
from tests.channels.receiver import receiving
from tests.e2e.stage import Stage
from tests.eventually import eventually
from tests.servers.certificates import Certificate

pytestmark = pytest.mark.timeout(120)


class Office:
    """Where people are told."""

    def __init__(self, pager: FakePagerDuty, chat: FakeSlack, phones: Twilio, mail: MailServer) -> None:
        self.pager, self.chat, self.phones, self.mail = pager, chat, phones, mail

    def furnish(self, stage: Stage, *, lead_after: str, mail_after: str) -> None:
        """Put the channels, the ladder and the route into the configuration, and the secrets beside it."""
        folder, settings = stage.daemon.folder, stage.daemon.settings
        secrets = {
            "routing-key": ROUTING_KEY,
            "bot": TOKEN,
            "app": APP_TOKEN,
            "sms": TWILIO_TOKEN,
            "smtp": PASSWORD,
        }
        for name, secret in secrets.items():
            (folder / name).write_text(secret)
            (folder / name).chmod(0o600)
        authority = str(self.pager.certificate.file)
        settings["channels"] = {
            "oncall": {
                "kind": "pagerduty",
                "routing_key": "!file routing-key",
                "url": self.pager.url,
                "ca_file": authority,
            },
            "ops": {
                "kind": "slack",
                "token": "!file bot",
                "app_token": "!file app",
                "channel": NAME,
                "url": self.chat.url,
                "users": ["U0ALLOWED"],
            },
            "lead": {
                "kind": "sms",
                "account": ACCOUNT,
                "token": "!file sms",
                "from": SENDER,
                "to": [ONE],
                "url": self.phones.url,
            },
            "mail": {
                "kind": "email",
                "host": "127.0.0.1",
                "port": self.mail.port,
                "tls": "starttls",
                "username": USER,
                "password": "!file smtp",
                "ca_file": authority,
                "from": "watchdog@example.com",
                "to": ["manager@example.com"],
            },
        }
        settings["escalations"] = {
            "production": {
                "critical": [
                    {"to": ["oncall", "ops"]},
                    {"after": lead_after, "to": ["lead"]},
                    {"after": mail_after, "to": ["mail"]},
                ]
            }
        }
        settings["routes"] = [{"escalation": "production"}]


@contextlib.asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    async with (
        pagerduty(Certificate(folder)) as pager,
        slack() as chat,
        receiving(Twilio()) as phones,
        mail_serving(MailServer(tls=pager.certificate.context)) as mail,
    ):
        assert isinstance(phones, Twilio)
        yield Office(pager, chat, phones, mail)


async def one_that_is(stage: Stage, state: str) -> dict[str, Any]:
    """The breach, once it is in a state."""

    async def found() -> list[dict[str, Any]]:
        incidents: list[dict[str, Any]] = await stage.daemon.get("incidents")
        return [one for one in incidents if one["kind"] == "breach" and one["state"] == state]

    incident: dict[str, Any] = (await eventually(found, within=30.0, what=f"an incident that is {state}"))[0]
    return incident


async def test_a_page_climbs_over_a_death_until_somebody_takes_it_and_its_end_reaches_all_of_them(
    stage: Stage, tmp_path: Path
) -> None:
    """Page and chat at once; the daemon is killed; the lead's phone; a press in chat ends it; then all is well."""
    (tmp_path / "office").mkdir()
    async with office(tmp_path / "office") as told:
        stage.service["mode"] = "observe"  # it tells, and the version stays bad until we say so
        await stage.open(begin=False)
        told.furnish(stage, lead_after="6s", mail_after="10m")
        await stage.begin()
        stage.apps["green"].control(fail_every=2)
        await stage.deploy("green", "v2")
        incident = await one_that_is(stage, "open")
        await eventually(
            lambda: bool(told.pager.alerts and told.chat.roots),
            within=20.0,
            what="a page and a message in chat",
        )
        (alert,) = told.pager.alerts
        assert "trips" in told.pager.events[0]["payload"]["summary"]
        assert incident["id"] in alert.key
        assert not told.phones.texts
        stage.daemon.send(signal.SIGKILL)
        await stage.daemon.ends()
        await stage.daemon.begin()
        await eventually(lambda: bool(told.phones.texts), within=30.0, what="a text message to the lead")
        assert [to for to, _ in told.phones.texts] == [ONE]
        assert len(told.pager.alerts) == 1, "the key makes one alert of whatever was sent twice"
        (root,) = told.chat.roots
        await eventually(lambda: bool(told.chat.sockets), within=20.0, what="a socket")
        await told.chat.press(root, "Acknowledge")
        taken = await one_that_is(stage, "acknowledged")
        assert "U0ALLOWED" in taken["acknowledged_by"]
        await eventually(lambda: alert.status == "acknowledged", within=20.0, what="PagerDuty's word for it")
        stage.apps["green"].control(fail_every=0)
        await one_that_is(stage, "closed")
        await eventually(lambda: alert.status == "resolved", within=20.0, what="the end, in PagerDuty")
        await eventually(
            lambda: "closed" in root.shown and not root.buttons, within=20.0, what="the end, in chat"
        )
        await eventually(lambda: len(told.phones.texts) == 2, within=20.0, what="the end, on the phone")
        assert not told.mail.mails, "nobody had to ask the manager"
        unsent = "SELECT key FROM outbox WHERE state != 'sent'"
        await eventually(
            lambda: not stage.daemon.stored(unsent), within=20.0, what="an outbox of sent messages"
        )
        await stage.audit_holds()


async def test_where_the_page_is_refused_for_good_the_next_step_is_told_at_once_and_the_mail_has_all_of_it(
    stage: Stage, tmp_path: Path
) -> None:
    """A wrong routing key and a chat that archived its channel: nobody waits for a ladder of an hour."""
    (tmp_path / "office").mkdir()
    async with office(tmp_path / "office") as told:
        stage.service["mode"] = "observe"
        await stage.open(begin=False)
        told.furnish(stage, lead_after="1h", mail_after="2h")
        told.chat.archived = True
        told.pager.answer = web.Response(status=403)
        await stage.begin()
        stage.apps["green"].control(fail_every=2)
        await stage.deploy("green", "v2")
        await eventually(lambda: bool(told.phones.texts), within=30.0, what="a text message to the lead")
        assert "trips" in told.phones.texts[0][1]
        await eventually(lambda: bool(told.mail.mails), within=30.0, what="a mail")
        said = await stage.daemon.says("outbox", "--state", "dead", "--json")
        assert said.code == 0, said
        assert "ops" in said.out

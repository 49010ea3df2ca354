"""A daemon in this process, with real files that change under it. The outside is files and a webhook's receiver."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.app.conftest import RULES, Home
from tests.channels.receiver import Received, Receiver, receiving
from tests.eventually import Eventually
from watchdog.aio.clock import SystemClock
from watchdog.app import reload
from watchdog.app.build import build_switches
from watchdog.app.daemon import Daemon
from watchdog.app.reload import Reloader
from watchdog.app.shared import Shared
from watchdog.config.load import load
from watchdog.config.loaded import Configuration
from watchdog.core.view import View
from watchdog.traffic.lock import HostLock

pytestmark = pytest.mark.timeout(60)

_TAG = re.compile(r'"(!(?:file|env) [^"]+)"')


class Live:
    """A running daemon, its files, and what it was told to do around reloads."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.reloads: list[str] = []
        self.write()
        configuration = load(self.path, environ={})
        self.daemon = Daemon(configuration, clock=SystemClock(), seed=1)
        self.reloader = Reloader(
            self.daemon,
            configuration,
            environ={},
            clock=SystemClock(),
            on_begin=lambda: self.reloads.append("begin"),
            on_end=lambda: self.reloads.append("end"),
        )

    async def start(self, *, watching: bool = True) -> None:
        """Not `watching`: nobody looks at the files."""
        await self.daemon.start()
        if watching:
            self.daemon.beside("reloader", self.reloader.run)

    @property
    def path(self) -> Path:
        return self.home.folder / "watchdog.yaml"

    def write(self, **settings: Any) -> None:
        """Write the configuration as it is now, atomically, as editors do."""
        self.home.settings |= settings
        text = _TAG.sub(r"\1", json.dumps(self.home.settings, indent=1))
        new = self.home.folder / "watchdog.yaml.new"
        new.write_text(text)
        new.replace(self.path)

    @property
    def view(self) -> View:
        view = self.daemon.view()
        assert view is not None
        return view

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.home.store)) as database:
            return database.execute(query).fetchall()

    def records(self, kind: str) -> list[dict[str, Any]]:
        rows = self.stored("SELECT kind, doc FROM audit ORDER BY seq")
        return [json.loads(doc)["body"] for found, doc in rows if found == kind]

    def told(self, kind: str) -> list[str]:
        """Headlines of the messages of a kind."""
        messages = [json.loads(row[0])["message"] for row in self.stored("SELECT doc FROM outbox")]
        return [message["headline"] for message in messages if message["kind"] == kind]

    async def metric(self, name: str) -> float:
        async with aiohttp.ClientSession() as session, session.get(f"{self.daemon.url}/metrics") as answer:
            text = await answer.text()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    async def reload(self, eventually: Eventually) -> None:
        """Ask for a reload and wait for its end."""
        before = self.reloads.count("end")
        self.reloader.ask()
        await eventually(lambda: self.reloads.count("end") > before, within=20, what="the end of a reload")


Start = Callable[..., Awaitable[Live]]


@pytest.fixture
async def start(home: Home) -> AsyncIterator[Start]:
    lives: list[Live] = []

    async def make(*, watching: bool = True) -> Live:
        live = Live(home)
        lives.append(live)
        await live.start(watching=watching)
        return live

    yield make
    for live in lives:
        await live.daemon.stop()


def signature(sent: Received, secret: str) -> str:
    signed = sent.headers["x-watchdog-timestamp"].encode() + b"." + sent.body
    return f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def policy_of(live: Live, name: str = "trips") -> float:
    return live.view.services[name].policy.cooldown.total_seconds()


async def test_a_changed_file_is_taken_in_by_itself(home: Home, start: Start, eventually: Eventually) -> None:
    live = await start()
    home.settings["services"][0]["rollback"] = {"cooldown": "7m"}
    live.write()

    await eventually(lambda: policy_of(live) == 420, within=15)

    assert live.reloads == ["begin", "end"]
    assert [record["services_changed"] for record in live.records("config_reloaded")] == [["trips"]]
    assert await live.metric("watchdog_config_last_reload_successful") == 1


async def test_a_reload_is_done_at_once_when_asked_for(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    home.settings["services"][0]["rollback"] = {"cooldown": "7m"}
    live.write()
    await live.reload(eventually)
    assert policy_of(live) == 420


async def test_nothing_new_is_neither_recorded_nor_told(start: Start, eventually: Eventually) -> None:
    live = await start()
    head = live.view.audit_head
    with capture_logs() as logs:
        await live.reload(eventually)
        await live.reload(eventually)
    assert [log["event"] for log in logs if log["event"].startswith("config_")] == ["config_unchanged"] * 2
    assert live.records("config_reloaded") == []
    assert head == live.view.audit_head or live.records("traffic_changed")


async def test_a_broken_file_leaves_the_old_one_running_and_is_told_once(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    home.settings["services"][0]["mode"] = "enforced"
    home.settings["services"][0]["rollback"] = {"cooldown": "7m"}
    live.write()
    with capture_logs() as logs:
        await live.reload(eventually)
        await live.reload(eventually)
    refused = [log for log in logs if log["event"] == "config_refused"]
    assert len(refused) == 1
    assert f"{live.path}:" in refused[0]["problems"][0]
    assert policy_of(live) == 900
    assert await live.metric("watchdog_config_last_reload_successful") == 0
    assert len(live.told("config_broken")) == 1
    assert "'enforce'" in live.told("config_broken")[0]
    async with aiohttp.ClientSession() as session, session.get(f"{live.daemon.url}/readyz") as answer:
        assert answer.status == 200

    home.settings["services"][0]["mode"] = "enforce"
    live.write()
    await live.reload(eventually)

    assert policy_of(live) == 420
    assert await live.metric("watchdog_config_last_reload_successful") == 1
    assert len(live.told("config_repaired")) == 1


async def test_a_file_that_is_put_back_as_it_was_is_good_again(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    good = live.path.read_text()
    live.path.write_text("version: 1\nservices: [")
    await live.reload(eventually)
    assert live.view.config_fault
    live.path.write_text(good)
    await live.reload(eventually)
    assert not live.view.config_fault
    assert len(live.told("config_repaired")) == 1


async def test_a_deleted_file_leaves_the_old_one_running(start: Start, eventually: Eventually) -> None:
    live = await start()
    live.path.unlink()
    await eventually(lambda: live.told("config_broken"), within=15)
    assert "No such file" in live.told("config_broken")[0]
    assert list(live.view.services) == ["trips"]
    live.write()
    await eventually(lambda: live.told("config_repaired"), within=15)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_lost_permissions_leave_the_old_one_running(start: Start, eventually: Eventually) -> None:
    live = await start()
    live.path.chmod(0)
    await live.reload(eventually)
    assert "Permission denied" in live.told("config_broken")[0]


async def test_a_rule_file_that_cannot_be_read_is_told_with_its_place(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    (home.folder / "rules.yaml").unlink()
    (home.folder / "rules.yaml").symlink_to(home.folder / "nowhere.yaml")
    await live.reload(eventually)
    assert "rules.yaml" in live.told("config_broken")[0]


async def test_a_file_that_is_still_being_written_is_not_taken(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    home.settings["services"][0]["rollback"] = {"cooldown": "7m"}
    whole = json.dumps(home.settings)
    until = asyncio.get_running_loop().time() + 3 * reload.LOOK_INTERVAL.total_seconds()
    sizes = itertools.count(1)

    def written() -> bool:
        """Something else at every moment, and broken each time."""
        live.path.write_text(whole[: next(sizes) % len(whole)])
        return asyncio.get_running_loop().time() >= until

    await eventually(written, within=30, every=0.05)
    assert live.reloads == []
    live.path.write_text(whole)
    await eventually(lambda: policy_of(live) == 420, within=15)
    assert live.told("config_broken") == []


async def test_a_folder_swapped_through_a_link_is_taken_as_a_whole(
    home: Home, start: Start, eventually: Eventually
) -> None:
    """As a ConfigMap is mounted: FILE -> ..data/FILE, ..data -> ..FIRST."""
    live = Live(home)
    mount = home.folder / "mount"

    def publish(name: str) -> None:
        folder = mount / name
        folder.mkdir(parents=True)
        (folder / "watchdog.yaml").write_text(json.dumps(home.settings))
        (folder / "rules.yaml").write_text((home.folder / "rules.yaml").read_text())
        (mount / "..new").symlink_to(name)
        (mount / "..new").replace(mount / "..data")

    publish("..first")
    for file in ("watchdog.yaml", "rules.yaml"):
        (mount / file).symlink_to(f"..data/{file}")
    configuration = load(mount / "watchdog.yaml", environ={})
    live.daemon = Daemon(configuration, clock=SystemClock(), seed=1)
    live.reloader = Reloader(live.daemon, configuration, environ={}, clock=SystemClock())
    await live.start()
    try:
        home.settings["services"][0]["rollback"] = {"cooldown": "7m"}
        publish("..second")
        await eventually(lambda: policy_of(live) == 420, within=15)
    finally:
        await live.daemon.stop()


async def test_a_new_rule_file_that_the_pattern_finds_counts(
    home: Home, start: Start, eventually: Eventually
) -> None:
    (home.folder / "rules.d").mkdir()
    (home.folder / "rules.yaml").rename(home.folder / "rules.d" / "a.yaml")
    home.settings["rules"] = ["rules.d/*.yaml"]
    live = await start()
    more = (home.folder / "rules.d" / "a.yaml").read_text().replace("error-rate", "more-errors")
    (home.folder / "rules.d" / "b.yaml").write_text(more)
    home.settings["services"][0]["rules"] = ["error-rate", "more-errors"]
    live.write()
    await eventually(lambda: len(live.view.services["trips"].checks) == 2, within=15)
    rules = live.records("config_reloaded")[-1]["rules"]
    assert list(rules) == ["more-errors"]
    assert rules["more-errors"]["before"] == ""


async def test_a_rotated_secret_signs_from_the_next_message_on(
    home: Home, start: Start, eventually: Eventually
) -> None:
    secret = home.folder / "hook-secret"
    secret.write_text("the first secret of the hook")
    secret.chmod(0o600)
    async with receiving(Receiver()) as receiver:
        hook = {"kind": "webhook", "url": receiver.url, "secret": "!file hook-secret"}
        home.settings["channels"] = {"hook": hook}
        home.settings["routes"] = [{"to": ["hook"]}]
        live = await start()
        secret.write_text("the second secret of the hook")
        await live.reload(eventually)
        record = live.records("config_reloaded")[-1]
        assert record["channels_changed"] == ["hook"]
        assert record["before"] == record["after"], "a secret leaves no trace in the hash"

        live.path.write_text("nonsense: [")
        await live.reload(eventually)
        await eventually(lambda: receiver.received, within=10)
        sent = receiver.received[-1]
    assert signature(sent, "the second secret of the hook") == sent.headers["x-watchdog-signature"]


async def test_rotated_tokens_and_a_closed_metrics_page_count_at_once(
    home: Home, start: Start, eventually: Eventually
) -> None:
    token = home.folder / "token"
    token.write_text("the-first-token-4711")
    token.chmod(0o600)
    home.settings["server"]["tokens"] = [{"name": "ci", "role": "operator", "token": "!file token"}]
    live = await start()

    async def status(path: str, word: str = "") -> int:
        headers = {"Authorization": f"Bearer {word}"} if word else {}
        session = aiohttp.ClientSession(headers=headers)
        async with session, session.get(f"{live.daemon.url}{path}") as answer:
            return answer.status

    assert await status("/api/v1/services", "the-first-token-4711") == 200
    assert await status("/metrics") == 200
    token.write_text("the-second-token-4711")
    home.settings["server"]["metrics"] = "token"
    live.write()
    await live.reload(eventually)
    assert await status("/api/v1/services", "the-first-token-4711") == 401
    assert await status("/api/v1/services", "the-second-token-4711") == 200
    assert await status("/metrics") == 401
    assert live.records("config_reloaded")[-1]["others"] == ["server.metrics", "server.tokens"]


async def test_services_come_and_go_and_come_back_as_they_were(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()

    def deployment(name: str) -> str:
        service = live.view.services.get(name)
        return service.deployment.id if service and service.deployment else ""

    home.settings["services"].append(home.service("hotels", "hotels"))
    live.write()
    await live.reload(eventually)
    known = await eventually(lambda: deployment("hotels"), within=10)

    hotels = home.settings["services"].pop()
    live.write()
    await live.reload(eventually)
    assert list(live.view.services) == ["trips"]
    assert live.stored("SELECT count(*) FROM audit WHERE kind = 'service_retired'") == [(1,)]

    home.settings["services"].append(hotels)
    live.write()
    await live.reload(eventually)
    assert deployment("hotels") == known, "it is the one that the store knows"
    assert [sorted(record) for record in live.records("config_reloaded")] == [
        ["after", "before", "services_added"],
        ["after", "before", "services_removed"],
        ["after", "before", "services_added"],
    ]


async def test_a_service_that_comes_back_with_another_switch_is_looked_at_anew(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()

    def live_since() -> object:
        service = live.view.services.get("hotels")
        return service.traffic.read_at if service and service.traffic else None

    home.settings["services"].append(home.service("hotels", "hotels"))
    live.write()
    await live.reload(eventually)
    await eventually(live_since, within=15)
    home.settings["services"].pop()
    live.write()
    await live.reload(eventually)
    home.settings["services"].append(home.service("hotels", "elsewhere"))
    live.write()
    await live.reload(eventually)
    await eventually(live_since, within=15)

    changed = "SELECT subject FROM audit WHERE kind = 'switch_changed'"
    assert live.stored(changed) == [("hotels",)]
    reads = live.stored("SELECT doc FROM audit WHERE kind = 'traffic_changed' AND subject = 'hotels'")
    before = [json.loads(doc)["body"]["before"] for (doc,) in reads]
    assert before == [None, None], "each of its switches was read as if for the first time"

    await live.daemon.stop()
    again = await start()
    await eventually(lambda: again.view.services["hotels"].traffic, within=15)
    assert again.stored(changed) == [("hotels",)], "the reload stored what the switch is"


async def test_two_services_on_one_switch_are_refused_while_running(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    home.settings["services"].append(home.service("hotels", "trips", timeout="7s"))
    live.write()
    await live.reload(eventually)
    assert "the same traffic switch" in live.told("config_broken")[0]
    assert list(live.view.services) == ["trips"]


async def test_a_renamed_service_takes_its_switch_and_the_lock_of_it_along(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    home.settings["services"][0]["name"] = "journeys"
    live.write()
    await live.reload(eventually)
    assert list(live.view.services) == ["journeys"]
    await eventually(lambda: live.view.services["journeys"].deployment is not None, within=10)


async def test_what_needs_a_restart_is_told_and_everything_else_taken(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    home.settings["store"] = {"url": f"sqlite:///{home.folder / 'other.db'}"}
    home.settings["services"][0]["rollback"] = {"cooldown": "7m"}
    live.write()
    await live.reload(eventually)
    assert policy_of(live) == 420
    assert [text.split(";")[0] for text in live.told("config_needs_restart")] == [
        "a change of store needs a restart"
    ]
    home.settings["services"][0]["rollback"] = {"cooldown": "8m"}
    live.write()
    await live.reload(eventually)
    assert len(live.told("config_needs_restart")) == 1, "once, while it stays as it is"
    assert not (home.folder / "other.db").exists()


async def test_the_pause_file_can_be_moved(home: Home, start: Start, eventually: Eventually) -> None:
    live = await start()
    (home.folder / "stop").touch()
    home.settings["pause_file"] = str(home.folder / "stop")
    live.write()
    await live.reload(eventually)
    await eventually(lambda: live.view.paused_by_file, within=5)


async def test_a_changed_switch_is_seen_anew_and_nothing_is_armed_by_it(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    await eventually(lambda: live.view.services["trips"].deployment is not None, within=10)
    home.settings["services"][0]["traffic"] = home.switch("elsewhere")
    state = json.loads((home.folder / "elsewhere.json").read_text())
    state["variants"]["blue"]["version"] = "v9"
    (home.folder / "elsewhere.json").write_text(json.dumps(state))
    live.write()
    await live.reload(eventually)

    def version() -> str:
        deployment = live.view.services["trips"].deployment
        return deployment.version if deployment else ""

    await eventually(lambda: version() == "v9", within=10)
    deployment = live.view.services["trips"].deployment
    assert deployment is not None
    assert (deployment.state, deployment.armed) == ("adopted", False)
    assert live.records("config_reloaded")[-1]["switches_changed"] == ["trips"]


async def test_a_switch_that_somebody_else_holds_is_tried_again(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    home.settings["services"].append(home.service("hotels", "hotels"))
    live.write()
    clock = SystemClock()
    switches = build_switches(load(live.path, environ={}), {}, shared=Shared(clock=clock), clock=clock)
    held = HostLock(switches["hotels"].identity)
    with held:
        await live.reload(eventually)
        assert "already held by" in live.told("config_broken")[0]
        assert list(live.view.services) == ["trips"]
        assert await live.metric("watchdog_config_last_reload_successful") == 0
    await eventually(lambda: "hotels" in live.view.services, within=30)
    assert len(live.told("config_repaired")) == 1


async def test_a_changed_source_is_asked_anew_and_the_others_are_left_alone(
    home: Home, start: Start, eventually: Eventually
) -> None:
    home.settings["sources"]["other"] = {"kind": "scrape", "urls": ["http://127.0.0.1:9/other"]}
    (home.folder / "rules.yaml").write_text(RULES.replace("unit: ratio", "unit: ratio\n    source: app"))
    live = await start(watching=False)
    parts = live.daemon.term.parts  # which object is in use
    before = dict(parts.sources), dict(parts.switches), dict(parts.channels)
    home.settings["sources"]["app"]["interval"] = "7s"
    live.write()
    assert await live.daemon.take(load(live.path, environ={}))
    assert parts.sources["app"] is not before[0]["app"]
    assert parts.sources["other"] is before[0]["other"]
    assert (parts.switches, parts.channels) == before[1:]

    def running() -> list[str]:
        names = live.daemon.term.running  # whose work goes on
        return [name for name in names if name.startswith("source")]

    await eventually(lambda: running() == ["source other", "source app #1"])
    assert not await live.daemon.take(load(live.path, environ={}))


async def test_a_store_that_cannot_be_written_leaves_the_old_configuration_and_takes_the_new_one_later(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    home.settings["services"][0]["rollback"] = {"cooldown": "7m"}
    home.settings["channels"]["more"] = {"kind": "log"}
    home.settings["routes"] = [{"to": ["log", "more"]}]
    live.write()
    with closing(sqlite3.connect(home.store, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        await live.reload(eventually)
        assert policy_of(live) == 900
        assert list(live.daemon.term.parts.channels) == ["log"]  # nothing is left of it
        database.execute("ROLLBACK")
    await eventually(lambda: policy_of(live) == 420, within=40)


async def test_a_stop_in_the_middle_of_a_reload_is_a_clean_one(
    home: Home, start: Start, eventually: Eventually
) -> None:
    live = await start()
    home.settings["sources"]["more"] = {"kind": "scrape", "urls": ["http://127.0.0.1:9/more"]}
    home.settings["sources"]["app"]["interval"] = "7s"
    home.settings["services"][0]["rollback"] = {"cooldown": "7m"}
    (home.folder / "rules.yaml").write_text(RULES.replace("unit: ratio", "unit: ratio\n    source: app"))
    live.write()
    with closing(sqlite3.connect(home.store, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        live.reloader.ask()
        await eventually(lambda: live.daemon.term.parts.sources.keys() == {"app", "more"})  # admitted
        stopping = asyncio.ensure_future(live.daemon.stop())
        await eventually(lambda: live.reloads == ["begin", "end"], within=10)
        database.execute("ROLLBACK")
    await stopping
    assert live.stored("SELECT count(*) FROM audit WHERE kind = 'config_reloaded'") == [(1,)]


@pytest.mark.timeout(180)
async def test_a_thousand_reloads_leave_nothing_behind(
    home: Home, start: Start, eventually: Eventually
) -> None:
    """Each one different: a policy, a channel, a source and a service that comes and goes."""
    live = await start(watching=False)
    await eventually(lambda: live.view.services["trips"].deployment is not None, within=10)
    base = json.dumps(home.settings)

    def wanted(number: int) -> Configuration:
        home.settings = json.loads(base)
        home.settings["services"][0]["rollback"] = {"cooldown": f"{number % 5 + 1}m"}
        if number % 2:
            home.settings["services"].append(home.service("hotels", "hotels"))
            home.settings["channels"]["more"] = {"kind": "log"}
            home.settings["routes"] = [{"to": ["log", "more"]}]
        home.settings["sources"]["app"]["interval"] = f"{number % 3 + 4}s"
        live.write()
        return load(live.path, environ={})

    configurations = [wanted(number) for number in range(30)]

    async def turn(number: int) -> None:
        assert await live.daemon.take(configurations[number % 30])

    for number in range(20):
        await turn(number)
    await eventually(lambda: closed(live), within=40)
    tasks, files = len(asyncio.all_tasks()), open_files()
    for number in range(1000):
        await turn(number + 20)
    await eventually(lambda: closed(live), within=40)
    assert len(asyncio.all_tasks()) <= tasks
    assert open_files() <= files + 2
    assert policy_of(live) == (1019 % 5 + 1) * 60
    assert len(live.records("config_reloaded")) == 1020


def closed(live: Live) -> bool:
    """Whether everything that was exchanged has been closed."""
    return not live.daemon.term.parts._left  # noqa: SLF001 - nobody else can see it


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))

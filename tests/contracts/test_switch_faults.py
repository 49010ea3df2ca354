"""Every traffic switch when what it speaks with is at its worst: the outcome is true, and the next try ends well.

HAProxy is reached through a proxy, over its unix socket and over TCP, and suffers each deed at each stage of a read and
a change. nginx and scripts are changed by commands, which hang, die and lie instead.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.leaks import nothing_left
from tests.contracts.test_traffic import to_green
from tests.contracts.traffic_rigs import NOW, CommandRig, Tools
from tests.eventually import eventually
from tests.faults.proxy import OBEYED, Deed
from tests.faults.socket_proxy import SocketProxy, enters, is_write, leaves
from tests.servers.haproxy import HAProxy, Server
from tests.servers.nginx import Nginx
from tests.traffic.nginx_rig import nginx_rig
from watchdog.core.errors import (
    SwitchConflict,
    SwitchError,
    SwitchRejected,
    SwitchUnknown,
    SwitchUnreachable,
)
from watchdog.testing.clock import StillClock
from watchdog.traffic.haproxy import HAProxySettings, HAProxySwitch
from watchdog.traffic.interface import TrafficSwitch

#: The configured timeout, and when a call surely has none: on whatever machine.
TIMEOUT, PATIENCE = 2.0, 60.0
#: So many conversations at once: each of them must be answered in its time on a busy machine.
AT_ONCE = 6
#: What says that nothing was changed.
UNTOUCHED = (SwitchConflict, SwitchRejected, SwitchUnreachable)
HARMLESS = {Deed.PASS, Deed.DELAY, Deed.TWICE}


def first_read(case: Case, line: str) -> bool:
    return not is_write(line) and not case.written


def read_back(case: Case, line: str) -> bool:
    return not is_write(line) and any(leaves(one) for one in case.written)


STAGES: dict[str, Callable[[Case, str], bool]] = {
    "read": first_read,
    "enter": lambda _, line: enters(line),
    "leave": lambda _, line: leaves(line),
    "read back": read_back,
}


@dataclass(eq=False)
class Case:
    """One backend of its own, one deed at one stage; everything else passes."""

    backend: str
    deed: Deed
    stage: str
    tcp: bool
    written: list[str] = field(default_factory=list)
    struck: bool = False

    def __str__(self) -> str:
        return f"{self.deed} at {self.stage} over {'tcp' if self.tcp else 'unix'}"

    def judge(self, line: str) -> Deed:
        hit = not self.struck and STAGES[self.stage](self, line)
        self.struck |= hit
        if is_write(line):
            self.written.append(line)
        return self.deed if hit else Deed.PASS

    async def play(self, haproxy: HAProxy) -> None:
        proxy = SocketProxy(haproxy.socket, lambda: live(haproxy, self.backend), tcp=self.tcp)
        async with proxy.open():
            where = f"tcp://127.0.0.1:{proxy.port}" if self.tcp else str(proxy.path)
            settings = HAProxySettings.model_validate(
                {
                    "socket": where,
                    "backend": self.backend,
                    "variants": {"blue": "srv_blue", "green": "srv_green"},
                    "timeout": f"{TIMEOUT}s",
                }
            )
            switch = HAProxySwitch(settings, name="trips", clock=StillClock(NOW))
            change = to_green(await eventually(lambda: _read(switch), within=PATIENCE))
            proxy.watch()
            proxy.judge = self.judge
            await self.suffer(switch, proxy, change)
            proxy.drop()
            await finished(switch, str(self))
            await eventually(lambda: live(haproxy, self.backend) == {"srv_green"}, within=PATIENCE)
            assert set() not in proxy.moves, f"{self}: nobody took traffic: {proxy.moves}"
            await eventually(lambda: proxy.busy == 0, within=PATIENCE, what=f"{self}: no connection left")
            await switch.aclose()

    async def suffer(self, switch: TrafficSwitch, proxy: SocketProxy, change: Any) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                state = await switch.apply(change)
        except SwitchUnknown:
            assert self.stage != "read" or not self.struck, f"{self}: nothing was written"
        except UNTOUCHED:
            sure = self.stage == "read" or not self.struck
            assert sure, f"{self}: who knows?"
            assert not proxy.writes, f"{self}: it was written"
            assert len(proxy.moves) == 1, f"{self}: and traffic moved: {proxy.moves}"
        else:
            assert state.live == ("green",), self
            # A read may be asked again: it changes nothing.
            harmless = self.deed in HARMLESS or self.stage.startswith("read")
            assert not self.struck or harmless, f"{self}: how could it know?"
        if self.struck and self.deed is Deed.LATE and self.stage in {"enter", "leave"}:
            at = self.written.index(next(one for one in self.written if STAGES[self.stage](self, one)))
            await eventually(
                lambda: len(proxy.writes) > at, within=PATIENCE, what=f"{self}: obeyed after all"
            )


def live(haproxy: HAProxy, backend: str) -> set[str]:
    """The servers that take new requests."""
    rows = haproxy.servers(backend)
    return {
        name
        for name, row in rows.items()
        if int(row["weight"]) > 0 and not row["status"].startswith(("MAINT", "DRAIN"))
    }


async def finished(switch: TrafficSwitch, what: str) -> None:
    """What the executor does: read, and write while it is not as wanted."""

    async def done() -> bool:
        try:
            state = await switch.read()
            if state.live == ("green",):
                return True
            return (await switch.apply(to_green(state))).live == ("green",)
        except SwitchError:
            return False

    await eventually(done, within=PATIENCE, what=f"the change after {what}")


def cases() -> list[Case]:
    """Each deed at each stage, in turns over TCP and over the unix socket."""
    found: list[Case] = []
    for stage in STAGES:
        for deed in Deed:
            tcp = len(found) % 2 == 0 or deed is Deed.RESET
            if deed is not Deed.PASS:
                found.append(Case(f"be{len(found)}", deed, stage, tcp))
    return found


@pytest.mark.timeout(180)
async def test_haproxy_through_every_fault_at_every_stage_tells_the_truth_and_gets_there(
    start_haproxy: Callable[..., HAProxy], free_port: Callable[[], int]
) -> None:
    # Nobody checks them and nobody visits: what is asked of HAProxy here is what it was told.
    servers = [
        Server(name="srv_blue", port=free_port(), check=False),
        Server(name="srv_green", port=free_port(), weight=0, check=False),
    ]
    played = cases()
    haproxy = start_haproxy({case.backend: servers for case in played})
    room = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with room:
            await case.play(haproxy)

    async with nothing_left(), asyncio.TaskGroup() as group:
        for case in played:
            group.create_task(one(case))
    missed = [str(case) for case in played if not case.struck]
    assert len(missed) <= len(played) // 4, f"never came that far: {missed}"


#: What the script does instead of, or after, what it should: the outcome, and whether the change is made.
SCRIPTS: dict[str, tuple[tuple[type[SwitchError], ...], bool]] = {
    "hang": ((SwitchUnknown,), False),
    "late-hang": ((SwitchUnknown,), True),
    "die": ((SwitchUnknown,), False),
    "late-die": ((SwitchUnknown,), True),
    "fail": ((SwitchUnknown,), False),
    "late-fail": ((SwitchUnknown,), True),
    "conflict": ((SwitchConflict,), False),
    "refuse": ((SwitchRejected,), False),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("wrong", SCRIPTS)
async def test_a_script_that_goes_wrong_is_unknown_unless_it_says_that_it_did_nothing(
    tmp_path: Path, wrong: str, start_haproxy: Any, start_nginx: Any
) -> None:
    outcomes, made = SCRIPTS[wrong]
    tools = Tools(folder=tmp_path, start_haproxy=start_haproxy, start_nginx=start_nginx)
    async with CommandRig.open(tools) as rig, nothing_left():
        assert isinstance(rig, CommandRig)
        change = to_green(await eventually(lambda: _read(rig.switch), within=PATIENCE))
        rig.change(misbehave={"apply": wrong})

        with pytest.raises(outcomes):
            await _until_it_reads(rig.switch, change)
        assert bool(rig.change().get("applied")) is made
        assert rig.change()["variants"]["green"]["weight"] == (100 if made else 0)
        rig.change(misbehave={})
        await finished(rig.switch, wrong)
        assert len(rig.change()["applied"]) == 1, "written once"


async def _read(switch: TrafficSwitch) -> Any:
    try:
        return await switch.read()
    except SwitchUnreachable:
        return None  # a busy machine reads too slowly


async def _until_it_reads(switch: TrafficSwitch, change: Any) -> None:
    """Apply, again where it could not even be read."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await switch.apply(change)
                return
            except SwitchUnreachable:
                continue


#: What stands in nginx's reload's place: lines of shell, and whether nginx loads the file at all.
RELOADS: dict[str, tuple[str, bool]] = {
    "hangs before": ("sleep 600", False),
    "hangs after": ("{reload}; sleep 600", True),
    "is killed before": ("kill -9 $$", False),
    "is killed after": ("{reload}; kill -9 $$", True),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("reload", RELOADS)
async def test_a_reload_of_nginx_that_goes_wrong_is_never_taken_for_nothing(
    reload: str, start_nginx: Callable[..., Nginx], tmp_path: Path
) -> None:
    text, loads = RELOADS[reload]
    async with nginx_rig(start_nginx, tmp_path) as rig:
        own = " ".join(rig.nginx.reload_argv)
        words = rig.script("reload", text.format(reload=own))
        switch = rig.switch(
            reload=words, test=rig.nginx.test_argv, pid_file=str(rig.nginx.pid_file), timeout="2s"
        )
        change = to_green(await eventually(lambda: _read(switch), within=PATIENCE))
        try:
            async with asyncio.timeout(PATIENCE):
                state = await switch.apply(change)
        except SwitchUnknown:
            pass
        except UNTOUCHED:
            assert not loads, "nginx has loaded it"
            assert rig.file.read_text() == rig.says(green="down"), "the file is another"
        else:
            assert loads, f"nothing was loaded, and it says {json.dumps(str(state))}"
        again = rig.switch()
        await finished(again, reload)
        await eventually(lambda: _answers(rig, "green"), within=PATIENCE)


async def _answers(rig: Any, name: str) -> bool:
    return bool(await rig.answered_by() == name)


def test_what_is_obeyed_and_what_is_not_is_known_of_every_deed() -> None:
    assert {Deed.LATE, Deed.MUTE, Deed.CUT, Deed.HALF, Deed.DRIP} <= OBEYED
    assert not OBEYED & {Deed.HOLD, Deed.REFUSE, Deed.RESET, Deed.BABBLE}

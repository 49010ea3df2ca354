"""The nginx switch on a real nginx: traffic moves, people's edits stay theirs, and what went wrong is told as it is."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.eventually import Eventually
from tests.servers.nginx import Nginx
from tests.servers.process import ROOT
from tests.traffic.nginx_rig import LEFTOVERS, NginxRig, nginx_rig, to_green
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.traffic import nginx_file
from watchdog.traffic.nginx_settings import NginxSettings

SHORT = timedelta(seconds=0.7)


@pytest.fixture
async def rig(start_nginx: Callable[..., Nginx], tmp_path: Path) -> AsyncIterator[NginxRig]:
    async with nginx_rig(start_nginx, tmp_path) as made:
        yield made


# Settings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"variants": {"blue": "127.0.0.1:1"}}, "at least 2"),
        ({"variants": {"blue": "127.0.0.1:80", "green": "127.0.0.1"}}, "is in 'blue' and in variant 'green'"),
        ({"variants": {"blue": ["a:1", "A:01"], "green": "b:1"}}, "twice in variant 'blue'"),
        ({"variants": {"blue": [], "green": "b:1"}}, "at least 1"),
        ({"variants": {"blue": "a:1;", "green": "b:1"}}, "no address of a server"),
        ({"upstream": "trips {"}, "pattern"),
        ({"reload": []}, "at least 1"),
        ({"reload": [""]}, "starts with the program"),
        ({"reload": "nginx -s reload"}, "valid list"),
        ({"test": ["a\0b"]}, "no zero byte"),
        ({"file": "x"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], said: str) -> None:
    facts = {"upstream_file": "/x", "upstream": "trips", "variants": {"blue": "a:1", "green": "b:1"}}
    with pytest.raises(ValidationError, match=said):
        NginxSettings.model_validate(facts | wrong)


@pytest.mark.parametrize(
    ("written", "test", "by_nginx"),
    [
        ({}, ["nginx", "-t"], True),
        (
            {"reload": ["/usr/sbin/nginx", "-p", "/x", "-s", "reload", "-q"]},
            ["/usr/sbin/nginx", "-p", "/x", "-q", "-t"],
            True,
        ),
        ({"reload": ["systemctl", "reload", "nginx"]}, ["nginx", "-t"], False),
        ({"reload": ["nginx", "-s", "stop"]}, ["nginx", "-t"], False),
        ({"test": ["judge"]}, ["judge"], True),
    ],
)
def test_the_test_follows_from_the_reload(written: dict[str, Any], test: list[str], by_nginx: bool) -> None:
    facts = {"upstream_file": "/x", "upstream": "trips", "variants": {"blue": "a:1", "green": "b:1"}}
    settings = NginxSettings.model_validate(facts | written)
    assert settings.test_argv() == test
    assert settings.by_nginx() is by_nginx


def test_the_pid_file_is_the_one_that_the_reload_would_read(tmp_path: Path) -> None:
    def path(reload: list[str], **other: Any) -> Path | None:
        facts = {"upstream_file": "/x", "upstream": "t", "variants": {"blue": "a:1", "green": "b:1"}}
        return NginxSettings.model_validate(facts | {"reload": reload} | other).pid_path()

    (tmp_path / "own.conf").write_text("pid logs/own.pid;\nevents { }\n")
    (tmp_path / "bare.conf").write_text("events { }\n")
    ending = ["-s", "reload"]
    assert path(["nginx", "-p", str(tmp_path), "-c", "own.conf", *ending]) == tmp_path / "logs/own.pid"
    assert path(["nginx", "-p", str(tmp_path), "-c", "bare.conf", *ending]) == Path("/run/nginx.pid")
    assert path(["nginx", "-c", "/no/such", *ending]) == Path("/run/nginx.pid")
    given = ["nginx", "-g", "daemon off; pid /run/g.pid;", "-c", str(tmp_path / "own.conf"), *ending]
    assert path(given) == Path("/run/g.pid")
    assert path(given, pid_file="/run/h.pid") == Path("/run/h.pid")
    assert path(given, pid_file="none") is None


# Traffic


async def test_new_visitors_are_answered_by_the_other_variant_when_a_change_is_done(rig: NginxRig) -> None:
    switch = rig.switch()
    assert await rig.answered_by() == "blue"
    there = await switch.apply(to_green(await switch.read()))
    assert {await rig.answered_by() for _ in range(20)} == {"green"}
    await switch.apply(to_green(there, target="blue", away=("green",)))
    assert {await rig.answered_by() for _ in range(20)} == {"blue"}
    assert rig.nginx.reloads() == 2
    assert rig.leftovers() == []


async def test_a_file_that_people_wrote_stays_theirs(rig: NginxRig) -> None:
    blue, green = rig.ports.values()
    text = f"""# café, written by hand\r
upstream other {{ server 10.0.0.1; }}
upstream trips {{
\tserver 127.0.0.1:{blue}   weight=5   max_fails=0 ;  # blue
    server   "127.0.0.1:{green}"   weight=2\tdown
             fail_timeout=7s;
    server unix:/nowhere backup;
    keepalive 3;
}}""".encode("latin-1")
    rig.file.write_bytes(text)
    rig.file.chmod(0o640)
    rig.nginx.reload()
    before = rig.file.stat()
    switch = rig.switch()
    state = await switch.read()
    assert (state.variants["blue"].weight, state.variants["green"].weight) == (5, 0)
    after = await switch.apply(to_green(state))
    assert after.variants["green"].weight == 2
    assert rig.file.read_bytes() == text.replace(b"max_fails=0 ;", b"max_fails=0 down ;").replace(
        b"\tdown", b""
    )
    now = rig.file.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert now.st_ino != before.st_ino


async def test_a_link_to_the_file_stays_a_link(rig: NginxRig) -> None:
    real = rig.nginx.folder / "elsewhere.conf"
    rig.file.rename(real)
    rig.file.symlink_to("../elsewhere.conf")
    rig.nginx.reload()
    switch = rig.switch()
    assert switch.identity == rig.switch(upstream_file=str(real)).identity
    await switch.apply(to_green(await switch.read()))
    assert rig.file.is_symlink()
    assert real.read_text() == rig.says(blue="down")
    assert await rig.answered_by() == "green"


async def test_pointing_the_link_elsewhere_is_an_edit(rig: NginxRig) -> None:
    other = rig.nginx.folder / "other.conf"
    other.write_text(rig.says(blue="down"))
    rig.file.rename(rig.nginx.folder / "first.conf")
    rig.file.symlink_to("../first.conf")
    rig.nginx.reload()
    (rig.file.parent / "new").symlink_to("../other.conf")
    (rig.file.parent / "new").rename(rig.file)
    with pytest.raises(SwitchUnreachable, match="changed after nginx was last reloaded"):
        await rig.switch().read()


async def test_a_variant_of_several_servers_moves_as_one(rig: NginxRig) -> None:
    blue, green = rig.ports.values()
    rig.file.write_text(
        f"upstream trips {{ server 127.0.0.1:{blue}; server localhost:{blue} weight=3;\n"
        f"server 127.0.0.1:{green} down; }}"
    )
    rig.nginx.reload()
    switch = rig.switch(
        variants={"blue": [f"127.0.0.1:{blue}", f"localhost:{blue}"], "green": f"127.0.0.1:{green}"}
    )
    state = await switch.read()
    assert (state.variants["blue"].weight, state.variants["blue"].total) == (4, 2)
    assert state.variants["blue"].addresses == (f"127.0.0.1:{blue}", f"localhost:{blue}")
    after = await switch.apply(to_green(state))
    assert after.live == ("green",)
    assert rig.file.read_text().count("down") == 2


async def test_a_backup_serves_only_when_nobody_else_does(rig: NginxRig) -> None:
    rig.file.write_text(rig.says(blue="down", green="backup"))
    rig.nginx.reload()
    state = await rig.switch().read()
    assert state.live == ("green",)
    rig.file.write_text(rig.says(green="backup"))
    rig.nginx.reload()
    switch = rig.switch()
    state = await switch.read()
    assert state.live == ("blue",)
    assert (await switch.apply(to_green(state))).live == ("green",)
    assert await rig.answered_by() == "green"


async def test_a_target_that_would_only_stand_by_is_refused(rig: NginxRig) -> None:
    rig.file.write_text(
        rig.says(green="backup").replace("    keepalive", "    server 10.0.0.1;\n    keepalive")
    )
    rig.nginx.reload()
    switch = rig.switch()
    with pytest.raises(SwitchRejected, match=r"'green' has only backup servers.*nothing was changed"):
        await switch.apply(to_green(await switch.read()))
    assert rig.nginx.reloads() == 1


# What nginx runs is not what the file says


async def test_an_edit_that_was_not_loaded_is_no_state_and_nothing_is_switched_on_top_of_it(
    rig: NginxRig,
) -> None:
    switch = rig.switch()
    before = await switch.read()
    rig.nginx.write({rig.ports["blue"]: "down", rig.ports["green"]: ""})
    seen = await switch.read()
    assert seen.live == ("blue",)
    assert seen.revision != before.revision
    assert "nginx has not loaded it" in seen.variants["blue"].note
    with pytest.raises(
        SwitchRejected, match=r"somebody changed the file and has not reloaded nginx.*nothing was"
    ):
        await switch.apply(to_green(seen))
    told = await switch.inspect()
    assert told is not None
    assert "the next reload, whoever asks for it, makes it live" in told
    assert rig.nginx.reloads() == 0
    rig.nginx.reload()
    assert (await switch.read()).live == ("green",)
    assert await switch.inspect() is None


async def test_a_mark_counts_at_once_loaded_or_not_and_without_it_traffic_moves_again(rig: NginxRig) -> None:
    switch, plain = rig.switch(), rig.file.read_text()
    assert (await switch.read()).paused == ""
    rig.nginx.replace("# watchdog: paused by alice\n" + plain)
    marked = await switch.read()
    assert marked.paused == "by alice"
    with pytest.raises(SwitchConflict, match=r"is paused \(by alice\); nothing was changed"):
        await switch.apply(to_green(marked))
    assert await switch.inspect() is None
    rig.nginx.reload()
    assert (await rig.switch().read()).paused == "by alice"
    # A comment is nothing to nginx: taking it away wants no reload for those who have seen what nginx runs.
    assert (await switch.read()).paused == "by alice"
    rig.nginx.replace(plain)
    free = await switch.read()
    assert (free.paused, free.live) == ("", ("blue",))
    assert (await switch.apply(to_green(free))).live == ("green",)
    assert rig.file.read_text() == rig.says(blue="down")


async def test_a_mark_that_is_set_while_the_new_text_is_judged_stops_the_change(rig: NginxRig) -> None:
    switch = rig.switch(
        test=rig.script("judge", f"echo '# watchdog: paused at the last moment' >> {rig.file}")
    )
    with pytest.raises(SwitchConflict, match="changed by somebody else; nothing was changed"):
        await switch.apply(to_green(await switch.read()))
    seen = await switch.read()
    assert (seen.live, seen.paused) == (("blue",), "at the last moment")
    assert rig.nginx.reloads() == 0


async def test_who_did_not_see_what_nginx_loaded_does_not_guess(rig: NginxRig) -> None:
    rig.nginx.write({rig.ports["blue"]: "down", rig.ports["green"]: ""})
    with pytest.raises(SwitchUnreachable, match="what nginx does is unknown; reload nginx"):
        await rig.switch().read()
    rig.nginx.reload()
    assert (await rig.switch().read()).live == ("green",)


async def test_the_same_text_written_again_changes_nothing(rig: NginxRig) -> None:
    switch = rig.switch()
    before = await switch.read()
    rig.file.write_text(rig.file.read_text())
    assert await switch.read() == before


async def test_a_worker_that_crashed_and_came_again_is_no_reload(
    rig: NginxRig, eventually: Eventually
) -> None:
    switch = rig.switch()
    await switch.read()
    rig.nginx.write({rig.ports["blue"]: "down", rig.ports["green"]: ""})
    old = rig.nginx.workers()
    os.kill(min(old), signal.SIGKILL)
    await eventually(lambda: len(now := rig.nginx.workers()) == 2 and now != old)
    assert (await switch.read()).live == ("blue",)
    os.kill(max(old), signal.SIGKILL)  # by now the new one is known, too
    await eventually(lambda: rig.nginx.are_others(old))
    assert (await switch.read()).live == ("blue",)
    assert await rig.answered_by() == "blue"


async def test_a_worker_that_only_finishes_what_it_began_holds_nothing_up(rig: NginxRig) -> None:
    _, visitor = await asyncio.open_connection("127.0.0.1", rig.nginx.port)
    visitor.write(b"GET / HTTP/1.1\r\nHost: half-a-request\r\n")
    await visitor.drain()
    switch = rig.switch(timeout=timedelta(seconds=2))
    state = await switch.read()
    await rig.answered_by()  # by now the half of a request has arrived, too
    there = await switch.apply(to_green(state))
    assert there.live == ("green",)
    assert (await rig.switch().read()).live == ("green",)
    visitor.close()


async def test_reads_in_the_middle_of_reloads_always_tell_a_state_that_is(
    rig: NginxRig, eventually: Eventually
) -> None:
    switch = rig.switch()
    await switch.read()
    for number in range(6):
        name = "green" if number % 2 == 0 else "blue"
        old = rig.nginx.workers()
        rig.nginx.write({port: "" if variant == name else "down" for variant, port in rig.ports.items()})
        rig.nginx.send(signal.SIGHUP)
        assert {(await switch.read()).live for _ in range(5)} <= {("blue",), ("green",)}
        await eventually(partial(rig.nginx.are_others, old))
        assert (await switch.read()).live == (name,)
        assert await rig.answered_by() == name


async def test_an_nginx_that_cannot_be_looked_at_is_taken_at_its_files_word_which_is_said(
    rig: NginxRig, eventually: Eventually
) -> None:
    switch = rig.switch(pid_file="none")
    state = await switch.read()
    assert "nor whether it has loaded what the file says" in state.variants["green"].note
    after = await switch.apply(to_green(state))
    assert after.live == ("green",)
    assert rig.leftovers() == []
    await eventually(lambda: rig.nginx.reloads() == 1)


# What cannot be read


async def test_what_is_no_upstream_of_ours_is_told(rig: NginxRig) -> None:
    async def told(text: str | None = None, **other: Any) -> str:
        if text is not None:
            rig.file.write_text(text)
            rig.nginx.send(signal.SIGHUP)
        with pytest.raises(SwitchUnreachable) as caught:
            await rig.switch(**other).read()
        return str(caught.value)

    assert "no `upstream trisp` in it (it has: trips)" in await told(upstream="trisp")
    wrong = {"blue": f"127.0.0.1:{rig.ports['blue']}", "green": "127.0.0.2:1"}
    assert "no `server 127.0.0.2:1` in it" in await told(variants=wrong)
    assert "the file: No such file" in await told(upstream_file=str(rig.folder / "none.conf"))
    assert "the file: Is a directory" in await told(upstream_file=str(rig.folder))
    fifo = rig.folder / "fifo"
    os.mkfifo(fifo)
    assert "the file: is no regular file" in await told(upstream_file=str(fifo))
    huge = rig.folder / "huge"
    with huge.open("wb") as file:
        file.truncate(nginx_file.LARGEST + 1)
    assert "has more than 4 MiB" in await told(upstream_file=str(huge))


async def test_an_nginx_that_is_not_there_is_told(rig: NginxRig) -> None:
    pid_file = rig.folder / "some.pid"

    async def told(pid: str | None) -> str:
        if pid is not None:
            pid_file.write_text(pid)
        with pytest.raises(SwitchUnreachable) as caught:
            await rig.switch(pid_file=str(pid_file)).read()
        return str(caught.value)

    assert f"nginx: it is not running: there is no {pid_file}" in await told(None)
    assert "is empty" in await told("\n")
    assert "holds no process id" in await told("-1\n")
    assert "holds no process id" in await told("all is well")
    assert f"process {os.getpid()} of {pid_file} is no master of nginx" in await told(f"{os.getpid()}\n")
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
    gone = child.pid
    assert f"there is no process {gone}" in await told(str(gone))
    worker = min(rig.nginx.workers())
    assert "is no master of nginx" in await told(str(worker))


async def test_a_master_that_was_stopped_is_waited_for_and_then_told(rig: NginxRig) -> None:
    switch = rig.switch(timeout=SHORT)
    rig.nginx.freeze()
    with pytest.raises(SwitchUnreachable, match=r"was stopped \(SIGSTOP\)"):
        await switch.read()
    reading = asyncio.create_task(switch.read())
    await asyncio.wait([reading], timeout=0.1)
    rig.nginx.thaw()
    assert (await reading).live == ("blue",)


# What goes wrong in a change


async def untouched(rig: NginxRig, inode: int) -> bool:
    return (
        rig.file.stat().st_ino == inode
        and rig.file.read_text() == rig.says(green="down")
        and rig.nginx.reloads() == 0
        and await rig.answered_by() == "blue"
    )


async def test_what_is_broken_already_is_told_in_nginxs_words_and_nothing_is_touched(rig: NginxRig) -> None:
    switch = rig.switch()
    state = await switch.read()
    inode = rig.file.stat().st_ino
    (rig.file.parent / "broken.conf").write_text("servr { }\n")
    with pytest.raises(
        SwitchRejected, match=r'not valid.*unknown directive "servr" in .*broken.conf:1.*nothing was'
    ):
        await switch.apply(to_green(state))
    assert await untouched(rig, inode)
    told = await switch.inspect()
    assert told is not None
    assert 'unknown directive "servr"' in told


async def test_a_new_text_that_is_not_valid_is_put_back_before_nginx_is_told(rig: NginxRig) -> None:
    judge = rig.script(
        "judge", f"grep -q '{rig.ports['green']} down' {rig.file} || {{ echo 'green must not' >&2; exit 1; }}"
    )
    switch = rig.switch(test=judge)
    state = await switch.read()
    with pytest.raises(
        SwitchRejected, match="not valid, `test` ended with 1: green must not; nothing was changed"
    ):
        await switch.apply(to_green(state))
    assert rig.file.read_text() == rig.says(green="down")
    assert rig.nginx.reloads() == 0
    # The file is younger than the workers now; the record says that they run it all the same.
    assert (await rig.switch().read()) == state
    assert (await switch.read()) == state
    again = rig.switch()
    assert (await again.apply(to_green(state))).live == ("green",)
    assert rig.leftovers() == []


async def test_a_test_that_hangs_is_killed_and_the_old_text_is_back(rig: NginxRig) -> None:
    for turn, never_touched in ((1, True), (2, False)):
        switch = rig.switch(test=rig.held(f"judge{turn}", turn=turn), timeout=SHORT)
        state = await switch.read()
        changed = rig.file.stat().st_ctime_ns
        with pytest.raises(
            SwitchUnreachable, match=r"`test` did not end within 0.7 s and was killed; nothing was"
        ):
            await switch.apply(to_green(state))
        assert (rig.file.stat().st_ctime_ns == changed) is never_touched
        assert rig.file.read_text() == rig.says(green="down")
        assert (await switch.read()) == state
    assert rig.nginx.reloads() == 0


async def test_a_test_that_is_not_there_changes_nothing(rig: NginxRig) -> None:
    inode = rig.file.stat().st_ino
    switch = rig.switch(test=["/no/such/nginx", "-t"])
    with pytest.raises(SwitchRejected, match=r"`test` could not be started.*nothing was changed"):
        await switch.apply(to_green(await switch.read()))
    assert await untouched(rig, inode)
    told = await switch.inspect()
    assert told is not None
    assert "`test` could not be started: /no/such/nginx does not exist" in told


async def test_nginxs_own_reload_that_fails_is_taken_back(rig: NginxRig) -> None:
    own = rig.script("nginx", "echo 'no permission to signal' >&2; exit 1")
    switch = rig.switch(
        reload=[*own, "-s", "reload"], test=rig.nginx.test_argv, pid_file=str(rig.nginx.pid_file)
    )
    state = await switch.read()
    with pytest.raises(
        SwitchRejected, match="`reload` ended with 1: no permission to signal; nothing was changed"
    ):
        await switch.apply(to_green(state))
    assert rig.file.read_text() == rig.says(green="down")
    assert (await switch.read()) == state


async def test_a_reload_that_is_not_there_is_taken_back(rig: NginxRig) -> None:
    switch = rig.switch(reload=["/no/such"], test=rig.nginx.test_argv, pid_file=str(rig.nginx.pid_file))
    state = await switch.read()
    with pytest.raises(SwitchRejected, match="`reload` could not be started"):
        await switch.apply(to_green(state))
    assert (await rig.switch().read()) == state


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 1", "`reload` ended with 1, saying nothing; the file holds the change"),
        ("kill -9 $$", "`reload` ended with -9"),
        ("sleep 600", "`reload` did not end within 0.7 s and was killed; the file holds the change"),
        ("exit 0", "nginx was told to reload, but its workers are still those of before: see its error log"),
    ],
)
async def test_a_reload_of_which_nothing_is_known_is_unknown_and_the_next_read_tells(
    rig: NginxRig, text: str, said: str
) -> None:
    reload = rig.script("reload", text)
    switch = rig.switch(
        reload=reload, test=rig.nginx.test_argv, pid_file=str(rig.nginx.pid_file), timeout=SHORT
    )
    state = await switch.read()
    with pytest.raises(SwitchUnknown, match=said):
        await switch.apply(to_green(state))
    for one in (switch, rig.switch()):
        seen = await one.read()
        assert seen.live == ("blue",)
        assert seen.revision != state.revision
    # The file holds our own change: the same change goes on with it, once the reload works.
    again = rig.switch()
    assert (await again.apply(to_green(await again.read()))).live == ("green",)
    assert await rig.answered_by() == "green"
    assert rig.nginx.reloads() == 1
    assert rig.leftovers() == []


async def test_a_change_that_nginx_never_loaded_is_not_made_by_that_of_another_service_in_the_file(
    rig: NginxRig,
) -> None:
    rig.file.write_text(
        rig.file.read_text() + "upstream tours { server 127.0.0.1:1; server 127.0.0.1:2 down; }\n"
    )
    rig.nginx.reload()
    others = {"blue": "127.0.0.1:1", "green": "127.0.0.1:2"}
    other = rig.switch(upstream="tours", variants=others)
    failing = rig.switch(
        reload=rig.script("reload", "exit 1"), test=rig.nginx.test_argv, pid_file=str(rig.nginx.pid_file)
    )
    with pytest.raises(SwitchUnknown):
        await failing.apply(to_green(await failing.read()))

    assert (await other.apply(to_green(await other.read()))).live == ("green",)

    assert (await rig.switch().read()).live == (await failing.read()).live == ("blue",)
    assert await rig.answered_by() == "blue"


async def test_an_edit_between_the_read_and_the_write_is_not_overwritten(rig: NginxRig) -> None:
    edit = rig.script("judge", f"echo '# mine' >> {rig.file}")
    switch = rig.switch(test=edit)
    with pytest.raises(SwitchConflict, match="changed by somebody else; nothing was changed"):
        await switch.apply(to_green(await switch.read()))
    assert rig.file.read_text() == rig.says(green="down") + "# mine\n"


async def test_an_edit_while_the_new_text_is_judged_is_not_overwritten_either(rig: NginxRig) -> None:
    edit = rig.script(
        "judge",
        f"grep -q '{rig.ports['green']} down' {rig.file} && exit 0; echo '# mine' >> {rig.file}; exit 1",
    )
    switch = rig.switch(test=edit)
    with pytest.raises(SwitchUnknown, match="whether the old text is back and in force is not known"):
        await switch.apply(to_green(await switch.read()))
    assert rig.file.read_text() == rig.says(blue="down") + "# mine\n"
    assert (await switch.read()).live == ("blue",)


async def test_a_reload_by_somebody_else_while_the_new_text_is_judged_is_seen(rig: NginxRig) -> None:
    judge = rig.script(
        "judge",
        f"grep -q '{rig.ports['green']} down' {rig.file} && exit 0\n"
        f"{shlex.join(rig.nginx.reload_argv)}; sleep 0.4; exit 1",
    )
    switch = rig.switch(test=judge)
    with pytest.raises(SwitchUnknown, match="somebody else reloaded nginx meanwhile"):
        await switch.apply(to_green(await switch.read()))


async def test_a_file_that_cannot_be_written_is_refused_and_nothing_is_left(rig: NginxRig) -> None:
    switch = rig.switch()
    state = await switch.read()
    inode = rig.file.stat().st_ino
    (rig.file.parent / f"{LEFTOVERS}.new").mkdir()
    with pytest.raises(SwitchRejected, match="cannot be written: Is a directory; nothing was changed"):
        await switch.apply(to_green(state))
    assert await untouched(rig, inode)


@pytest.mark.parametrize("room", [0, 400])
async def test_without_room_for_the_new_text_nothing_is_touched_and_nothing_left(
    rig: NginxRig, room: int
) -> None:
    rig.file.write_text(f"#{'x' * 1000}\n" + rig.says(green="down") if room else rig.says(green="down"))
    rig.nginx.reload()
    facts = rig.facts(pid_file="none" if room else str(rig.nginx.pid_file), test=["true"]) | {"timeout": "5s"}
    before = rig.file.stat()
    daemon = await asyncio.create_subprocess_exec(
        *("prlimit", f"--fsize={room}", sys.executable, "-m", "tests.traffic.nginx_apply", json.dumps(facts)),
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await daemon.communicate()
    assert b"cannot be written: File too large; nothing was changed" in said, said.decode()
    now = rig.file.stat()
    assert (now.st_ino, now.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert rig.leftovers() == []


async def test_what_a_killed_writer_left_is_no_obstacle(rig: NginxRig) -> None:
    for ending in ("", ".new", ".tmp"):
        (rig.file.parent / f"{LEFTOVERS}{ending}").write_text("half a rec")
    switch = rig.switch()
    assert (await switch.apply(to_green(await switch.read()))).live == ("green",)
    assert await rig.answered_by() == "green"


async def test_two_changes_in_one_folder_take_turns(rig: NginxRig, eventually: Eventually) -> None:
    switch = rig.switch(test=rig.held("judge", turn=1), timeout=timedelta(seconds=3))
    state = await switch.read()
    first = asyncio.create_task(switch.apply(to_green(state)))
    await eventually(lambda: rig.holding("judge"))
    impatient = rig.switch(timeout=SHORT)
    with pytest.raises(SwitchUnreachable, match=r"another change in .* is under way; nothing was changed"):
        await impatient.apply(to_green(state))
    second = asyncio.create_task(rig.switch().apply(to_green(state)))
    await asyncio.wait([second], timeout=0.1)
    rig.release("judge")
    with pytest.raises(SwitchRejected, match="`test` ended with"):
        await first
    assert (await second).live == ("green",)


async def test_a_cancelled_change_leaves_what_a_read_can_tell(rig: NginxRig, eventually: Eventually) -> None:
    switch = rig.switch(test=rig.held("judge", turn=2))
    call = asyncio.create_task(switch.apply(to_green(await switch.read())))
    pid = await eventually(lambda: rig.holding("judge"))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: not Path(f"/proc/{pid}").exists(), what="the test command is gone")
    seen = await switch.read()
    assert seen.live == ("blue",)
    again = rig.switch()
    assert (await again.apply(to_green(await again.read()))).live == ("green",)


# The daemon is killed in the middle


INSTANTS = [
    ("before it wrote", "test", 1, "blue", 1),
    ("after it wrote, before nginx judged it", "test", 2, "blue", 1),
    ("before nginx was told", "reload", 1, "blue", 1),
    ("after nginx was told", "reloaded", 1, "green", 1),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("instant", "what", "turn", "live", "reloads"), INSTANTS, ids=[one[0] for one in INSTANTS]
)
async def test_killed_at_any_instant_the_next_read_is_true_and_the_change_is_made_once(
    rig: NginxRig, eventually: Eventually, instant: str, what: str, turn: int, live: str, reloads: int
) -> None:
    own = rig.nginx.reload_argv
    other = {
        "test": {"test": rig.held("test", turn=turn, after=rig.nginx.test_argv)},
        "reload": {"reload": rig.held("reload", turn=1, after=own), "test": rig.nginx.test_argv},
        "reloaded": {"reload": rig.held("reloaded", turn=1, before=own), "test": rig.nginx.test_argv},
    }[what]
    facts = rig.facts(pid_file=str(rig.nginx.pid_file), **other) | {"timeout": "30s"}
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.traffic.nginx_apply", json.dumps(facts), cwd=ROOT
    )
    await eventually(lambda: rig.holding(what), within=15)
    daemon.kill()
    await daemon.wait()
    rig.release(what)

    # A change that begins here waits for the one that nginx is in.
    await eventually(lambda: rig.nginx.reloads() == (live == "green"))
    again = rig.switch()
    seen = await again.read()
    assert seen.live == (live,)
    assert await rig.answered_by() == live
    after = await again.apply(to_green(seen))
    assert after.live == ("green",)
    assert await rig.answered_by() == "green"
    assert rig.file.read_text() == rig.says(blue="down")
    assert rig.nginx.reloads() == reloads
    assert (await rig.switch().read()).live == ("green",)


# With the rights of a daemon that has none: it asks a socket


async def test_a_daemon_without_rights_asks_a_socket_for_test_and_reload(rig: NginxRig) -> None:
    own = shlex.join(rig.nginx.test_argv[:-1])
    (rig.folder / "bin").mkdir()
    rig.script("bin/nginx", f'exec {own} "$@"')

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What systemd does behind a socket with `Accept=yes`."""
        child = await asyncio.create_subprocess_exec(
            ROOT / "systemd/answer-nginx",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": f"{rig.folder}/bin:/usr/bin:/bin"},
        )
        said, _ = await child.communicate(await reader.readline())
        writer.write(said)
        writer.close()

    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        socket = Path(short) / "nginx.sock"
        server = await asyncio.start_unix_server(answer, socket)
        async with server:
            ask = ["env", f"NGINX_SOCKET={socket}", sys.executable, "-I", str(ROOT / "systemd/ask-nginx")]
            switch = rig.switch(
                test=[*ask, "test"], reload=[*ask, "reload"], pid_file=str(rig.nginx.pid_file)
            )
            assert await switch.inspect() is None
            assert (await switch.apply(to_green(await switch.read()))).live == ("green",)
            assert await rig.answered_by() == "green"
            (rig.file.parent / "broken.conf").write_text("servr { }\n")
            told = await switch.inspect()
            assert told is not None
            assert 'unknown directive "servr"' in told
            other = rig.switch(test=[*ask, "stop"], pid_file=str(rig.nginx.pid_file))
            told = await other.inspect()
            assert told is not None
            assert "`test` ended with 1: test or reload, nothing else" in told

"""The command switch runs real scripts: they succeed, refuse, hang, flood, die and leave others behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from pydantic import SecretStr, ValidationError

from tests.contracts.traffic_rigs import SCRIPT, SECRET
from tests.eventually import Eventually
from watchdog.aio.child import Finished, NotStarted, run
from watchdog.core.errors import SwitchConflict, SwitchError, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState
from watchdog.testing.clock import StillClock
from watchdog.traffic.command import CommandSettings, CommandSwitch

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATIENT, SHORT = timedelta(seconds=8), timedelta(seconds=0.5)


class StateFile:
    """The JSON file behind the script."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "state.json"
        self.put(
            variants={"blue": {"weight": 100, "version": "v2"}, "green": {"weight": 0, "version": "v1"}},
            revision=1,
        )

    def put(self, **facts: Any) -> None:
        self.file.write_text(json.dumps((self.get() if self.file.exists() else {}) | facts))

    def get(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.file.read_text())
        return state

    def settings(self, **other: Any) -> CommandSettings:
        script = [sys.executable, "-I", "-S", str(SCRIPT), str(self.file)]
        facts = {
            "read": [*script, "read"],
            "apply": [*script, "apply", "{variant}", "{expect}", "{mark}"],
            "environment": {"TOKEN": SecretStr(SECRET), "REGION": "eu"},
            "timeout": PATIENT,
        }
        return CommandSettings.model_validate(facts | other)

    def switch(self, **other: Any) -> CommandSwitch:
        return CommandSwitch(self.settings(**other), name="trips", clock=StillClock(NOW))


@pytest.fixture
def state_file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path)


def to_green(state: TrafficState, **other: Any) -> Change:
    facts: dict[str, Any] = {"target": "green", "away": ("blue",), "expect": state.revision, "mark": "rb-1"}
    return Change(**(facts | other))


def printing(text: str | bytes) -> list[str]:
    """A command that prints this and nothing else."""
    data = text.encode() if isinstance(text, str) else text
    return [sys.executable, "-I", "-S", "-c", f"import sys; sys.stdout.buffer.write({data!r})"]


def alive(pid: int) -> bool:
    """A process that was not waited for yet (its parent is gone) is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Settings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"apply": ["switch"]}, r"no argument holds \{variant\}"),
        ({"apply": ["switch", "{varient}"]}, r"unknown placeholder \{varient\}; did you mean \{variant\}\?"),
        (
            {"apply": ["switch", "{variant}", "{0x}{what}"]},
            r"unknown placeholder \{what\}.*\{expect\}, \{mark\}",
        ),
        ({"read": ["show", "{variant}"]}, r"(?s)read.*unknown placeholder \{variant\} \(known here: none\)"),
        ({"verify": ["look", "{when}"]}, r"(?s)verify.*unknown placeholder \{when\}"),
        ({"read": []}, "at least 1"),
        ({"read": [""]}, "starts with the program"),
        ({"read": ["a\0b"]}, "no zero byte"),
        ({"read": "show traffic"}, "valid list"),
        ({"environment": {"A=B": "c"}}, "pattern"),
        ({"environment": {"WATCHDOG_VARIANT": "c"}}, "set by the watchdog itself"),
        ({"environment": {"A": "c\0"}}, "zero byte"),
        ({"shell": True}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    state_file: StateFile, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        state_file.settings(**wrong)


def test_a_misspelt_placeholder_is_told_beside_other_mistakes(state_file: StateFile) -> None:
    with pytest.raises(ValidationError) as caught:
        state_file.settings(apply=["switch", "{varient}"], verify=["look", "{when}"], verfy=["look"])

    told = {error["loc"]: error["msg"] for error in caught.value.errors()}
    assert "did you mean {variant}?" in told[("apply",)]
    assert "unknown placeholder {when}" in told[("verify",)]
    assert ("verfy",) in told


def test_braces_that_are_no_placeholder_stay_as_they_are(state_file: StateFile) -> None:
    apply = ["awk", "{print $1}", '{"weight": 1}', "{}", "{variant}"]
    assert state_file.settings(apply=apply).apply == apply


def test_the_identity_depends_on_the_commands_and_shows_none(state_file: StateFile) -> None:
    one, same = state_file.switch(), state_file.switch(timeout=SHORT, environment={})
    other = state_file.switch(read=["cat", "/etc/traffic"])
    assert one.identity == same.identity != other.identity
    assert one.identity.startswith("command:")
    assert str(state_file.file) not in one.identity


def test_it_does_not_promise_to_know_readiness(state_file: StateFile) -> None:
    assert not CommandSwitch.knows_readiness(state_file.settings())
    assert CommandSwitch.Settings is CommandSettings
    assert CommandSettings.model_fields["timeout"].default == timedelta(seconds=10)


# What `read` prints


async def test_only_the_weight_is_needed(state_file: StateFile) -> None:
    text = '{"variants": {"blue": {"weight": 1}, "green": {"weight": 0, "ready": null, "colour": "green"}}, "x": 1}'
    state = await state_file.switch(read=printing(text)).read()
    assert state.live == ("blue",)
    green = state.variants["green"]
    assert (green.version, green.ready, green.total, green.requests, green.addresses) == (
        None,
        None,
        None,
        None,
        (),
    )
    assert green.note == "the command does not tell"
    assert state.read_at == NOW


async def test_everything_it_prints_is_taken(state_file: StateFile) -> None:
    text = json.dumps(
        {
            "variants": {
                "blue": {
                    "weight": 100,
                    "version": 2,
                    "ready": 3,
                    "total": 4,
                    "requests": 17,
                    "address": "a:1",
                },
                "green": {"weight": 0, "version": "v1", "addresses": ["b:1", "b:2"], "note": "asleep"},
            },
            "revision": 12,
        }
    )
    state = await state_file.switch(read=printing(text)).read()
    blue, green = state.variants["blue"], state.variants["green"]
    assert (blue.version, blue.ready, blue.total, blue.requests, blue.addresses) == ("2", 3, 4, 17, ("a:1",))
    assert (green.addresses, green.note) == (("b:1", "b:2"), "asleep")
    assert state.revision == "12"


async def test_without_a_revision_weights_and_versions_are_the_revision(state_file: StateFile) -> None:
    async def revision(**blue: Any) -> str:
        text = json.dumps({"variants": {"blue": {"weight": 100, "version": "v1"} | blue}})
        return (await state_file.switch(read=printing(text)).read()).revision

    first = await revision()
    assert first == await revision(ready=1, total=2, requests=99)
    assert len({first, await revision(weight=50), await revision(version="v2")}) == 3


@pytest.mark.parametrize(
    ("mark", "paused"),
    [
        ({}, ""),
        ({"paused": None}, ""),
        ({"paused": False}, ""),
        ({"paused": True}, "no reason given"),
        ({"paused": ""}, "no reason given"),
        ({"paused": "  database\n migration\u0007 "}, "database migration"),
        ({"paused": "x" * 500}, "x" * 199 + "…"),
    ],
)
async def test_anything_but_no_and_nothing_stops_the_automation(
    state_file: StateFile, mark: dict[str, Any], paused: str
) -> None:
    text = json.dumps({"variants": {"blue": {"weight": 100}}, **mark})
    assert (await state_file.switch(read=printing(text)).read()).paused == paused


@pytest.mark.parametrize(
    "text",
    [
        "",
        "all is well",
        "[]",
        "null",
        "{}",
        '{"variants": {}}',
        '{"variants": {"blue": {}}}',
        '{"variants": {"blue": {"weight": "100"}}}',
        '{"variants": {"blue": {"weight": -1}}}',
        '{"variants": {"blue": {"weight": 0.5}}}',
        '{"variants": {"blue": {"weight": true}}}',
        '{"variants": {"blue": {"weight": NaN}}}',
        '{"variants": {"blue": {"weight": 1, "ready": -1}}}',
        '{"variants": {"blue": {"weight": 1, "ready": 3, "total": 2}}}',
        '{"variants": {"blue": {"weight": 1}}, "revision": ""}',
        '{"variants": {"blue": {"weight": 1}}, "paused": 1}',
        '{"variants": {"blue": {"weight": 1}}, "paused": ["yes"]}',
        '{"variants": {"blue": {"weight": 1}}, "revision": "a\\u0000b"}',
        '{"variants": {"--force": {"weight": 1}}}',
        '{"variants": {"a\\nb": {"weight": 1}}}',
        '{"variants": {"blue": {"weight": 1}}} {"variants": {}}',
        b'{"variants": {"bl\xff": {"weight": 1}}}',
    ],
)
async def test_what_is_not_the_promised_json_is_unreachable(state_file: StateFile, text: str | bytes) -> None:
    with pytest.raises(SwitchUnreachable, match="what `read` printed is not usable"):
        await state_file.switch(read=printing(text)).read()


# Children that do wrong


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("fail", r"`read` ended with 1: cannot reach the load balancer, token \*\*\*"),
        ("conflict", "`read` ended with 3: somebody else was here"),
        ("garbage", "not usable"),
        ("flood", "printed more than 1048576 bytes and was killed"),
        ("die", "ended with -9, saying nothing"),
    ],
)
async def test_a_read_that_goes_wrong_is_unreachable(state_file: StateFile, wrong: str, said: str) -> None:
    state_file.put(misbehave={"read": wrong})
    with pytest.raises(SwitchUnreachable, match=said):
        await state_file.switch().read()


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ("conflict", SwitchConflict, "somebody else was here"),
        ("refuse", SwitchRejected, "not on a Friday"),
        ("fail", SwitchUnknown, r"`apply` ended with 1: .*token \*\*\*"),
        ("late-fail", SwitchUnknown, "`apply` ended with 1"),
        ("die", SwitchUnknown, "`apply` ended with -9"),
    ],
)
async def test_an_apply_that_goes_wrong_says_what_is_certain(
    state_file: StateFile, wrong: str, error: type[SwitchError], said: str
) -> None:
    switch = state_file.switch()
    state = await switch.read()
    state_file.put(misbehave={"apply": wrong})
    with pytest.raises(error, match=said):
        await switch.apply(to_green(state))
    assert len(state_file.get().get("applied", [])) == (wrong == "late-fail")


async def test_an_apply_that_talks_a_lot_is_not_killed_for_it(state_file: StateFile) -> None:
    switch = state_file.switch()
    state = await switch.read()
    state_file.put(misbehave={"apply": "late-flood"})
    assert (await switch.apply(to_green(state))).live == ("green",)


@pytest.mark.parametrize("verb", ["read", "apply"])
async def test_a_command_that_hangs_is_killed(state_file: StateFile, verb: str) -> None:
    state = await state_file.switch().read()
    state_file.put(misbehave={verb: "hang"})
    switch = state_file.switch(timeout=timedelta(seconds=1.5) if verb == "apply" else SHORT)
    began = asyncio.get_running_loop().time()
    with pytest.raises(SwitchUnreachable if verb == "read" else SwitchUnknown, match="was killed"):
        await switch.apply(to_green(state))
    assert asyncio.get_running_loop().time() - began < 4
    assert not children()


async def test_a_cancelled_command_is_killed_before_the_call_ends(
    state_file: StateFile, eventually: Eventually
) -> None:
    state_file.put(misbehave={"read": "hang"})
    call = asyncio.create_task(state_file.switch().read(), name="a read")
    await eventually(children, what="the command runs")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not children()


@pytest.mark.parametrize("verb", ["read", "apply"])
async def test_a_grandchild_that_holds_our_pipe_is_killed_and_not_waited_for(
    state_file: StateFile, verb: str, eventually: Eventually
) -> None:
    switch = state_file.switch()
    state = await switch.read()
    state_file.put(misbehave={verb: "grandchild" if verb == "read" else "late-grandchild"})
    began = asyncio.get_running_loop().time()
    if verb == "read":
        assert (await switch.read()).live == ("blue",)
    else:
        assert (await switch.apply(to_green(state))).live == ("green",)
    assert asyncio.get_running_loop().time() - began < 4
    grandchild = int(state_file.file.with_name("grandchild").read_text())
    await eventually(lambda: not alive(grandchild))


async def test_a_grandchild_dies_with_a_command_that_hangs(
    state_file: StateFile, eventually: Eventually
) -> None:
    note = state_file.file.with_name("grandchild")
    code = (
        "import pathlib, subprocess, sys, signal;"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); signal.pause()"
    )
    with pytest.raises(SwitchUnreachable, match="was killed"):
        await state_file.switch(read=[sys.executable, "-c", code], timeout=timedelta(seconds=1.5)).read()
    await eventually(lambda: not alive(int(note.read_text())))


@pytest.mark.parametrize(
    ("argv", "other", "said"),
    [
        (["/nowhere/at-all", "{variant}"], {}, "/nowhere/at-all: No such file or directory"),
        (["/etc/passwd", "{variant}"], {}, "/etc/passwd: Permission denied"),
    ],
)
async def test_a_command_that_cannot_be_started_did_nothing(
    state_file: StateFile, argv: list[str], other: dict[str, Any], said: str
) -> None:
    switch = state_file.switch(apply=argv)
    state = await switch.read()
    with pytest.raises(SwitchRejected, match=f"{said}; nothing was changed"):
        await switch.apply(to_green(state))
    with pytest.raises(SwitchUnreachable, match=said):
        await state_file.switch(read=argv[:1]).read()


class Crowded(CommandSwitch):
    """There is room for a look, and for no process more."""

    async def _run(self, argv: list[str], until: float, values: Mapping[str, str]) -> Finished:
        if values:
            raise NotStarted("could not be started: Resource temporarily unavailable", passing=True)
        return await super()._run(argv, until, values)


async def test_a_command_that_cannot_be_started_for_a_moment_is_tried_again(state_file: StateFile) -> None:
    switch = Crowded(state_file.settings(), name="trips", clock=StillClock(NOW))
    state = await switch.read()
    with pytest.raises(SwitchUnreachable, match="temporarily unavailable; nothing was changed"):
        await switch.apply(to_green(state))


def test_that_there_is_no_room_for_a_process_passes() -> None:
    """In a process that has no descriptors left."""
    code = """if True:
        import asyncio, os, resource
        from watchdog.aio.child import NotStarted, run

        async def main():
            limit = max(map(int, os.listdir("/proc/self/fd"))) + 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            try:
                await run(["/bin/true"], cwd=None, environment={}, timeout=9, within=9, stop_when_full=True)
            except NotStarted as error:
                print(error.passing)

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.stdout == "True\n", done.stderr


async def test_a_missing_folder_is_named(state_file: StateFile, tmp_path: Path) -> None:
    with pytest.raises(SwitchUnreachable, match="no-such-folder: No such file"):
        await state_file.switch(cwd=tmp_path / "no-such-folder").read()


# What they are given


def test_only_what_was_looked_up_is_a_secret() -> None:
    settings = CommandSettings.model_validate(
        {
            "apply": ["/usr/bin/switch", "{variant}"],
            "read": ["/usr/bin/look"],
            "environment": {"TOKEN": SecretStr(SECRET), "REGION": "eu"},
        }
    )

    assert settings.environment == {"TOKEN": SecretStr(SECRET), "REGION": "eu"}


async def test_the_apply_command_gets_its_words_and_only_its_own_environment(
    state_file: StateFile, tmp_path: Path
) -> None:
    switch = state_file.switch(cwd=tmp_path)
    state = await switch.read()
    await switch.apply(to_green(state, mark="rb-$(id)"))
    seen = state_file.get()
    assert seen["applied"] == [["1", "rb-$(id)"]]
    environment = seen["environment"]
    assert environment["TOKEN"] == SECRET
    assert environment["REGION"] == "eu"
    words = {name: environment[name] for name in environment if name.startswith("WATCHDOG_")}
    assert words == {"WATCHDOG_VARIANT": "green", "WATCHDOG_EXPECT": "1", "WATCHDOG_ROLLBACK": "rb-$(id)"}
    assert environment["PATH"] == os.environ["PATH"]
    assert set(environment) - set(words) <= {"TOKEN", "REGION", "PATH", "HOME", "LANG", "LC_CTYPE"}


@pytest.mark.parametrize(
    ("code", "expected"), [(0, None), (1, "`verify` ended with 1: blue"), (3, "`verify` ended with 3: blue")]
)
async def test_verify_must_agree(state_file: StateFile, code: int, expected: str | None) -> None:
    text = "import sys; print('blue', file=sys.stderr); sys.exit(int(sys.argv[2]) if sys.argv[1] == 'green' else 9)"
    switch = state_file.switch(verify=[sys.executable, "-c", text, "{variant}", str(code)])
    change = to_green(await switch.read())
    if expected is None:
        assert (await switch.apply(change)).live == ("green",)
    else:
        with pytest.raises(SwitchUnknown, match=expected):
            await switch.apply(change)
    assert len(state_file.get()["applied"]) == 1


@pytest.mark.parametrize(
    "verify",
    [["/nowhere/at-all"], [sys.executable, "-c", "import signal; signal.pause()"]],
    ids=["none", "hangs"],
)
async def test_a_verify_that_does_not_answer_makes_it_unknown(
    state_file: StateFile, verify: list[str]
) -> None:
    switch = state_file.switch(verify=verify, timeout=timedelta(seconds=2))
    change = to_green(await switch.read())
    with pytest.raises(SwitchUnknown, match="`apply` ended well, but `verify`"):
        await switch.apply(change)


async def test_a_read_back_that_fails_makes_it_unknown(state_file: StateFile) -> None:
    code = (
        "import json, pathlib, sys; file = pathlib.Path(sys.argv[1]); state = json.loads(file.read_text());"
        "file.write_text(json.dumps(state | {'misbehave': {'read': 'garbage'}}))"
    )
    switch = state_file.switch(apply=[sys.executable, "-c", code, str(state_file.file), "{variant}"])
    change = to_green(await switch.read())
    with pytest.raises(SwitchUnknown, match="not read back"):
        await switch.apply(change)


async def test_what_it_says_is_cut(state_file: StateFile) -> None:
    code = "import sys; sys.stderr.write('no\\n\\x1b[31m' * 1000); sys.exit(1)"
    with pytest.raises(SwitchUnreachable) as caught:
        await state_file.switch(read=[sys.executable, "-c", code]).read()
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


async def test_a_command_for_which_no_time_is_left_is_not_started() -> None:
    with pytest.raises(NotStarted, match="the 5 s were over"):
        await run(["true"], cwd=None, environment={}, timeout=0, within=5, stop_when_full=True)


async def test_a_word_no_program_can_be_given_starts_none() -> None:
    with pytest.raises(NotStarted, match="true: embedded null byte"):
        await run(["true", "a\0b"], cwd=None, environment={}, timeout=5, within=5, stop_when_full=True)


def test_it_does_the_same_on_the_daemon_s_own_loop(state_file: StateFile) -> None:
    async def there_and_nearly_back() -> None:
        after = await state_file.switch().apply(to_green(await state_file.switch().read()))
        assert after.live == ("green",)
        for wrong, said in (("flood", "printed more than"), ("hang", "was killed"), ("fail", "ended with 1")):
            state_file.put(misbehave={"read": wrong})
            with pytest.raises(SwitchUnreachable, match=said):
                await state_file.switch(timeout=SHORT if wrong == "hang" else PATIENT).read()
        state_file.put(misbehave={"read": "grandchild"})
        assert (await state_file.switch().read()).live == ("green",)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(there_and_nearly_back())
    assert not children()


def children() -> list[int]:
    """Our children that run the script."""
    own = Path(f"/proc/{os.getpid()}/task")
    pids = [int(pid) for task in own.iterdir() for pid in (task / "children").read_text().split()]
    return [pid for pid in pids if SCRIPT.name in _command(pid) and alive(pid)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


# What would keep a change from being started


async def test_programs_that_cannot_be_started_are_told_before_they_are_needed(
    state_file: StateFile, tmp_path: Path
) -> None:
    (tmp_path / "move").touch(mode=0o600)
    (tmp_path / "check").touch(mode=0o700)
    facts: dict[str, Any] = {"apply": ["./move", "{variant}"], "cwd": tmp_path}
    told = await state_file.switch(**facts, verify=["no-such-program"]).inspect()
    assert told is not None
    assert "`apply` could not be started: ./move may not be executed by this user" in told
    assert "`verify` could not be started: no-such-program is in no folder of PATH" in told
    assert "`read`" not in told
    (tmp_path / "move").chmod(0o700)
    path = {"PATH": str(tmp_path)}
    assert await state_file.switch(**facts, verify=["check"], environment=path).inspect() is None
    assert "./move does not exist" in str(await state_file.switch(apply=facts["apply"]).inspect())
    gone = state_file.switch(**facts | {"cwd": tmp_path / "gone"})
    assert "gone does not exist" in str(await gone.inspect())

"""The probe `command` runs real programs: they pass, fail, hang, flood, fork, and are not there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tests.eventually import Eventually
from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.core.variables import fill_settings
from watchdog.probes.command import CommandProbe, CommandProbeSettings

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.fixture
async def probe() -> AsyncIterator[CommandProbe]:
    made = CommandProbe()
    yield made
    await made.aclose()


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code, *words]


async def pulse(probe: CommandProbe, argv: list[str], **settings: Any) -> Pulse:
    wanted = CommandProbeSettings.model_validate({"argv": argv, **settings})
    seen = await probe.check(wanted.model_dump(), now=NOW)
    assert isinstance(seen, Pulse), seen
    return seen


async def unable(probe: CommandProbe, argv: list[str], **settings: Any) -> str:
    seen = await probe.check({"argv": argv, **settings}, now=NOW)
    assert isinstance(seen, Failed), seen
    assert seen.reason is FailReason.UNABLE
    return seen.detail


async def test_exit_code_zero_is_alive_and_any_other_is_dead(probe: CommandProbe) -> None:
    good = await pulse(probe, ["true"])
    assert (good.passed, good.detail.startswith("exit code 0 after "), good.asked) == (True, True, "true")
    bad = await pulse(probe, python("import sys; print('no', file=sys.stderr); print('x'); sys.exit(3)"))
    assert not bad.passed
    assert bad.detail.startswith("exit code 3 after ")
    assert bad.detail.endswith(": no")
    silent = await pulse(probe, ["false"])
    assert silent.detail.endswith(", saying nothing")


async def test_what_a_signal_ended_is_dead(probe: CommandProbe) -> None:
    seen = await pulse(probe, python("import os; os.kill(os.getpid(), 9)"))
    assert (seen.passed, seen.detail.startswith("ended by signal 9 after")) == (False, True)


HOSTILE = "a b; touch spoiled \"'`$(touch spoiled)`\n*"


async def test_a_value_stays_inside_its_argument(probe: CommandProbe, tmp_path: Path) -> None:
    look = "import json, os, sys; open('seen', 'w').write(json.dumps([sys.argv[1:], os.environ['LABEL']]))"
    written = CommandProbeSettings.model_validate(
        {
            "argv": python(look, "--at=$label.x", "$label.x"),
            "environment": {"LABEL": "$label.x"},
            "cwd": tmp_path,
        }
    ).model_dump(mode="json")
    filled = fill_settings(written, {"label.x": HOSTILE}, {})
    seen = await probe.check(filled, now=NOW)
    assert isinstance(seen, Pulse)
    assert seen.passed, seen
    assert sorted(file.name for file in tmp_path.iterdir()) == ["seen"]
    assert json.loads((tmp_path / "seen").read_text()) == [[f"--at={HOSTILE}", HOSTILE], HOSTILE]


async def test_it_sees_nothing_of_the_daemons_environment(probe: CommandProbe) -> None:
    os.environ["PROBED_SECRET"] = "hunter2"
    try:
        code = (
            "import os, sys; sys.exit(bool(set(os.environ) - {'PATH', 'HOME', 'LANG', 'LC_CTYPE', 'MINE'}))"
        )
        assert (await pulse(probe, python(code), environment={"MINE": "1"})).passed
    finally:
        del os.environ["PROBED_SECRET"]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_a_family_that_ignores_sigterm_is_killed_when_the_time_is_over(
    probe: CommandProbe, tmp_path: Path, eventually: Eventually
) -> None:
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.fork(); os.fork()\n"
        "open(f'{os.getpid()}.pid', 'w').close()\n"
        "time.sleep(600)"
    )
    seen = await pulse(probe, python(code), cwd=tmp_path, timeout="1s")
    assert (seen.passed, seen.detail) == (False, "the command did not end within 1 s and was killed")
    pids = [int(file.stem) for file in tmp_path.iterdir()]
    assert len(pids) == 4
    await eventually(lambda: all(gone(pid) for pid in pids))


async def test_children_left_behind_do_not_hold_a_check_up_and_are_killed(
    probe: CommandProbe, tmp_path: Path, eventually: Eventually
) -> None:
    code = (
        "import os, sys, time\n"
        "if os.fork(): sys.exit(0)\n"
        "open(f'{os.getpid()}.pid', 'w').close()\n"
        "time.sleep(600)"
    )
    assert (await pulse(probe, python(code), cwd=tmp_path)).passed
    await eventually(lambda: all(gone(int(file.stem)) for file in tmp_path.iterdir()))


async def test_a_flood_is_read_and_dropped(probe: CommandProbe) -> None:
    flood = "import sys\nfor _ in range(1600): sys.stdout.buffer.write(b'x' * 65536)"
    assert (await pulse(probe, python(flood))).passed
    seen = await pulse(probe, python(flood + "\nsys.exit(1)"))
    assert len(seen.detail) < 300
    endless = await pulse(probe, ["yes"], timeout="500ms")
    assert (endless.passed, "was killed" in endless.detail) == (False, True)


async def test_what_cannot_be_started_is_our_own_inability(probe: CommandProbe, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\nexit 0\n")
    assert "No such file" in await unable(probe, ["/no/such/program"])
    assert "No such file" in await unable(probe, ["no-such-program"])
    assert "Permission denied" in await unable(probe, [str(plain)])
    assert "No such file" in await unable(probe, ["true"], cwd=str(tmp_path / "nowhere"))
    plain.chmod(0o755)
    assert (await pulse(probe, [str(plain)])).passed
    plain.write_text("neither a script nor a program\n")
    assert "Exec format error" in await unable(probe, [str(plain)])
    plain.write_text("#!/no/such/interpreter\n")
    assert "No such file" in await unable(probe, [str(plain)])


async def test_a_secret_is_handed_over_and_not_shown(probe: CommandProbe) -> None:
    code = "import os, sys; sys.exit(os.environ['TOKEN'] + ' is wrong')"
    seen = await pulse(probe, python(code), environment={"TOKEN": SecretStr("hunter2")})
    assert (seen.passed, "*** is wrong" in seen.detail, "hunter2" in repr(seen)) == (False, True, False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "argv"),
        ({"argv": "true"}, "list"),
        ({"argv": []}, "starts with the program"),
        ({"argv": [""]}, "starts with the program"),
        ({"argv": ["a", "\0"]}, "zero byte"),
        ({"argv": ["$label.program"]}, "the program itself is written out"),
        ({"argv": ["{address}"]}, "the program itself is written out"),
        ({"argv": ["a"], "shell": True}, "shell"),
        ({"argv": ["a"], "environment": {"A B": "c"}}, "'A B' is no name"),
        ({"argv": ["a"], "environment": {"A": "\0"}}, "zero byte"),
    ],
)
def test_settings_refuse_what_cannot_work(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        CommandProbeSettings.model_validate(settings)

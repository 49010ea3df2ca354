"""Every example of every command's `--help`, played on a real stage, word for word but for names and ids."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.e2e.daemon import TOKEN, Said
from tests.e2e.stage import Stage
from tests.eventually import eventually
from tests.servers.process import ROOT
from watchdog.cli.help import CONFIG
from watchdog.cli.main import app

#: Examples that other tests play: a daemon that runs until it is stopped, and the demo.
ELSEWHERE = {
    f"watchdog run -c {CONFIG}",  # tests/e2e: the stage's own daemon
    "watchdog demo",  # tests/demo/test_play.py
    "watchdog demo --json",  # tests/demo/test_play.py
    "watchdog demo --keep",  # tests/docs
}
#: Commands that look at files alone.
WITHOUT_DAEMON = re.compile(r"watchdog (backtest|lab|rules|schema) ")


def examples() -> set[str]:
    """Every line under "Examples:", of every command."""
    found: set[str] = set()

    def walk(command: Any) -> None:
        block = (command.epilog or "").partition("Examples:\n")[2].partition("\n\n")[0]
        found.update(line.strip() for line in block.splitlines())
        for inner in getattr(command, "commands", {}).values():
            walk(inner)

    walk(typer.main.get_command(app))
    return found - {""}


class Script:
    """Runs examples in a shell; `names` are what the examples' names and ids are here."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        self.played: set[str] = set()
        self.names = {CONFIG: str(stage.daemon.config)}
        folder.mkdir()
        command = folder / "watchdog"
        command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m watchdog "$@"\n')
        command.chmod(0o755)

    async def plays(self, example: str, *, code: int = 0, inside: str = "{}") -> Said:
        """Run it, and see that it ends as it should, with something said and no traceback."""
        self.played.add(example)
        words = example
        for name, here in self.names.items():
            words = words.replace(name, here)
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            "set -o pipefail; " + inside.format(words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={
                "PATH": f"{self.folder}{os.pathsep}/usr/bin:/bin",
                "WATCHDOG_URL": self.stage.daemon.url,
                "WATCHDOG_TOKEN": TOKEN,
            },
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        said = Said(process.returncode, out.decode(), err.decode())
        assert said.code == code, f"{example}: {said}"
        assert "Traceback" not in said.err, said
        return said


@pytest.mark.timeout(400)
async def test_every_example_in_the_help_does_what_it_says(stage: Stage, tmp_path: Path) -> None:
    stage.versions = {"blue": "v1.4.1", "green": "v1.4.2"}
    stage.service["mode"] = "approve"
    stage.service["rollback"]["verify"] = "1s"
    stage.service["rollback"]["soak"] = "6s"  # longer than a command takes on a busy machine: see `_rejected`
    script = Script(stage, tmp_path / "shell")
    await stage.open()
    await _while_all_is_well(script)
    await _silences(script)
    await _outbox(script)
    await _rejected(script)
    await _approved(script)
    await _afterwards(script)
    asked = {example for example in examples() if not WITHOUT_DAEMON.match(example)}
    assert script.played | ELSEWHERE == asked, "every example is played, and nothing else"


@pytest.mark.timeout(200)
async def test_every_example_that_needs_no_daemon_does_what_it_says(stage: Stage, tmp_path: Path) -> None:
    script = Script(stage, tmp_path / "shell")
    await stage.open(begin=False)
    stage.daemon.settings["services"] = [stage.service]
    stage.daemon.rules = stage.rules
    stage.daemon.write()
    await _schemas(script)
    await _rules(script)
    await _lab(script)
    await _backtests(script)
    alone = {example for example in examples() if WITHOUT_DAEMON.match(example)}
    assert script.played == alone, "every example is played, and nothing else"


async def _while_all_is_well(script: Script) -> None:
    plays = script.plays
    await plays(f"watchdog check -c {CONFIG}")
    await plays(f"watchdog check -c {CONFIG} --json")
    await plays(f"watchdog doctor -c {CONFIG}")
    await plays(f"watchdog doctor -c {CONFIG} --json")
    assert "Kubernetes" in (await plays(f"watchdog doctor -c {CONFIG} --role", code=1)).err
    assert "a test of channel log" in (await plays(f"watchdog doctor -c {CONFIG} --send-test log")).err
    assert "step 1 of" in (await plays(f"watchdog routes test -c {CONFIG} service=trips")).out
    await plays(f"watchdog routes test -c {CONFIG} service=trips --severity low --at 2026-03-07T03:00:00Z")
    await plays(f"watchdog routes test -c {CONFIG} team=booking environment=production --json")
    await plays(
        'watchdog gitops resume trips --reason "v1.4.2 is reverted in Git"', code=1
    )  # nothing suspended
    assert "trips" in (await plays("watchdog status")).out
    await plays("watchdog status trips")
    await plays(f"watchdog status -c {CONFIG} --json")
    script.names["http://127.0.0.1:9911"] = script.stage.daemon.url
    await plays("watchdog status --url http://127.0.0.1:9911")
    await plays("watchdog rollback --help")
    for_a_while = "timeout --foreground --preserve-status -s INT 8 {}"  # one Ctrl-C, not two
    watched = await plays("watchdog status --watch --interval 5s", inside=for_a_while)
    assert "no open incidents" in watched.out
    await plays('watchdog pause trips --reason "database migration"')
    await plays("watchdog resume trips")
    await plays("watchdog pause --all")
    await plays("watchdog resume --all")
    await plays('watchdog taint trips v1.4.1 --reason "leaks memory"')
    await plays('watchdog untaint trips v1.4.1 --reason "it was the database"')
    await plays('watchdog mark-good trips v1.4.1 --reason "served for a year"')


async def _rejected(script: Script) -> None:
    """A bad version, and a rollback that nobody approves: somebody does it by hand."""
    plays, stage = script.plays, script.stage
    await plays("watchdog deploy trips --version v1.4.2 --variant green")
    async with asyncio.TaskGroup() as group:
        group.create_task(
            plays("watchdog deploy trips --version v1.4.2 --variant green --wait --timeout 40m", code=3)
        )
        stage.apps["green"].control(fail_every=2)
        stage.move("green")
        await _asked(script)
        await plays("watchdog incidents")
        await plays("watchdog incidents --service trips --all --limit 50")
        await plays("watchdog incidents inc-1f3a")
        await plays("watchdog incidents show inc-1f3a")
        await plays("watchdog incidents inc-1f3a --json")
        await plays("watchdog ack inc-1f3a")
        await plays("watchdog ack inc-1f3a --for 4h")
        await plays('watchdog unack inc-1f3a --reason "not my service"')
        await plays('watchdog reject inc-1f3a --reason "it is the load test"')
        await plays("watchdog explain inc-1f3a")
        await plays("watchdog explain rb-1f3a")
        await plays('watchdog incidents close inc-1f3a --reason "false alarm: load test"')
        stage.apps["green"].control(fail_every=0)
        await plays('watchdog rollback trips --reason "checkout is broken"')
        await _over(stage, 2)
    stage.move("green")
    await eventually(lambda: _live(stage, "green"), within=15, what="a daemon that sees green")
    await plays('watchdog rollback trips --to v1.4.1 --reason "checkout is broken"')
    await _over(stage, 3)


async def _approved(script: Script) -> None:
    """The next one, and somebody approves."""
    stage = script.stage
    await stage.replace("green", "v1.4.3")
    await stage.announce("green", "v1.4.3")
    stage.apps["green"].control(fail_every=2)
    stage.move("green")
    await _asked(script)
    await script.plays("watchdog approve inc-1f3a")
    await eventually(lambda: stage.live() == {"blue"}, within=15, what="traffic on blue")


async def _afterwards(script: Script) -> None:
    plays = script.plays
    await plays(
        "watchdog deploy trips --version v1.4.2 --variant green --rollback forbidden --label commit=4f2c"
    )
    script.names["9f2c"] = (await script.stage.daemon.get("audit?limit=1"))[0]["hash"]
    await plays(f"watchdog audit verify -c {CONFIG}")
    await plays(f"watchdog audit verify -c {CONFIG} --head 9f2c")
    await plays(f"watchdog audit export -c {CONFIG} | gzip > audit.jsonl.gz")
    assert (script.folder / "audit.jsonl.gz").stat().st_size > 1000


async def _silences(script: Script) -> None:
    plays = script.plays
    made = await plays('watchdog silence --service trips --for 2h --reason "load test"')
    await plays(
        'watchdog silence --service trips --rule error-rate --for 30m --reason "known, being repaired"'
    )
    await plays(
        'watchdog silence --match label.team=booking --severity medium --for 1d --reason "moving house"'
    )
    await plays("watchdog silences")
    await plays("watchdog silences --all --json")
    script.names["sil-1f3a"] = made.out.partition(":")[0]
    await plays("watchdog silences expire sil-1f3a")


async def _outbox(script: Script) -> None:
    """The receiver refuses a message for good; it is tried again once it does not."""
    plays, daemon = script.plays, script.stage.daemon
    script.stage.people.answer(403)
    await daemon.post("services/trips/pause", reason="nobody hears of this")

    async def dead() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await daemon.get("outbox?state=dead")
        return [one for one in found if one["kind"] == "paused"]

    refused = await eventually(dead, within=15, what="a message that was given up")
    script.stage.people.answer(200)
    script.names["KEY"] = refused[0]["id"]
    assert "403" in (await plays("watchdog outbox --state dead")).out
    await plays("watchdog outbox --state pending --channel log --json")
    await plays("watchdog outbox retry KEY")
    assert script.names["KEY"] in (await plays("watchdog outbox")).out
    heard = script.stage.people.heard
    await eventually(lambda: heard("paused"), within=15, what="the message that was tried again")
    await daemon.post("services/trips/resume", reason="done")


async def _schemas(script: Script) -> None:
    """Examples of commands that only print something."""
    for example in sorted(examples()):
        if re.match(r"watchdog (schema|schemas) ", example):
            await script.plays(example)


async def _rules(script: Script) -> None:
    """Tests of rules need no daemon; the packs' stand in the repository."""
    (script.folder / "rules").symlink_to(ROOT / "rules")
    assert " 0 failed" in (await script.plays("watchdog rules test rules/web.test.yaml")).out
    assert "rule reached" in (await script.plays("watchdog rules test rules/canary.test.yaml --coverage")).out
    assert '"ok": true' in (await script.plays("watchdog rules test rules --filter blip --json")).out
    await script.plays("watchdog rules test rules/*.test.yaml -k errors --junit report.xml")
    assert "<testsuite " in (script.folder / "report.xml").read_text()
    (script.folder / "docs").symlink_to(ROOT / "docs")
    series = "watchdog rules suggest --csv docs/samples/series"
    said = await script.plays(f"{series}/latency/api.csv --unit none --direction above")
    assert "\nthreshold:\n  warning: " in said.out
    said = await script.plays(f"{series}/crashes --unit count --direction above --json")
    assert '"per_week"' in said.out
    asked = f"watchdog rules suggest -c {CONFIG} --rule error-rate --service trips --last 14d"
    assert "keeps no history" in (await script.plays(asked, code=1)).err  # the stage has no Prometheus


async def _lab(script: Script) -> None:
    plays = script.plays
    assert "3 series, 5 events" in (await plays("watchdog lab score docs/samples/series")).out
    await plays("watchdog lab score docs/samples/series --json")
    await plays("watchdog lab score docs/samples/series --rules docs/samples/crashes.yaml --rule crashes")
    await plays("watchdog lab simulate --weeks 1 --faults 20")
    await plays(
        "watchdog lab simulate --weeks 1 --faults 20 --blips 2 --blip-length 3m --blip-share 5% --json"
    )
    await plays(
        "watchdog lab simulate rules/web.yaml --rule error-rate --rate 10 --fault 20% --weeks 1 --faults 20"
    )


async def _backtests(script: Script) -> None:
    """The stage scrapes: it leaves no history but in files."""
    plays = script.plays
    nothing = await plays(f"watchdog backtest -c {CONFIG} --last 30d", code=1)
    assert "keeps no history" in nothing.err
    await plays(f"watchdog backtest -c {CONFIG} --from 2026-10-01 --to 2026-11-01 --html report.html", code=1)
    lines = [f"{1767225600 + 30 * sample},0.001,600" for sample in range(100)]
    (script.folder / "errors.csv").write_text("\n".join(["TimeStamp,Value,Events", *lines]))
    budget = "--max-rollbacks 0 --max-noise 2 --json"
    told = await plays(f"watchdog backtest -c {CONFIG} --rule error-rate --csv errors.csv {budget}")
    assert '"known": 100' in told.out


async def _asked(script: Script) -> None:
    """Wait until somebody is asked to approve; its incident and its rollback are those of the examples."""

    async def asked() -> bool:
        waiting = [one for one in await script.stage.rollbacks() if one["state"] == "awaiting_approval"]
        if waiting:
            script.names["inc-1f3a"] = waiting[0]["incident"]
            script.names["rb-1f3a"] = waiting[0]["id"]
        return bool(waiting)

    await eventually(asked, within=15, every=0.1, what="a rollback that waits for approval")


async def _over(stage: Stage, number: int) -> None:
    """So many rollbacks were made, and the newest is done."""

    async def done() -> bool:
        found = await stage.rollbacks()
        return len(found) == number and all(one["over"] for one in found)

    await eventually(done, within=60, every=0.1, what=f"the end of rollback {number}")


async def _live(stage: Stage, variant: str) -> bool:
    traffic = (await stage.daemon.get("services/trips"))["traffic"]
    return bool(traffic["variants"][variant]["live"])

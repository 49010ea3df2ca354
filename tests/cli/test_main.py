from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.conftest import invoke
from watchdog import __version__
from watchdog.cli.main import app

#: Every command of this release (design §8).
COMMANDS = [
    ["run"],
    ["check"],
    ["doctor"],
    ["demo"],
    ["status"],
    ["incidents"],
    ["incidents", "show"],
    ["incidents", "close"],
    ["explain"],
    ["deploy"],
    ["rollback"],
    ["ack"],
    ["unack"],
    ["approve"],
    ["reject"],
    ["pause"],
    ["resume"],
    ["taint"],
    ["untaint"],
    ["mark-good"],
    ["silence"],
    ["silences"],
    ["silences", "expire"],
    ["outbox"],
    ["outbox", "retry"],
    ["gitops", "resume"],
    ["backtest"],
    ["routes", "test"],
    ["rules", "test"],
    ["rules", "suggest"],
    ["lab", "score"],
    ["lab", "simulate"],
    ["audit", "verify"],
    ["audit", "export"],
    ["schema", "config"],
    ["schema", "rules"],
    ["schema", "rule-tests"],
]
#: What takes long to import and is not needed to explain a command.
HEAVY = {
    "aiohttp",
    "alembic",
    "asyncio",
    "msgspec",
    "numpy",
    "prometheus_client",
    "pydantic",
    "rich",
    "sqlalchemy",
    "yaml",
}


def test_help_lists_every_command() -> None:
    text = invoke("--help").output
    for command in COMMANDS:
        assert re.search(rf"^  {command[0]}\b", text, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_examples_and_exit_codes(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert f"Examples:\n    watchdog {' '.join(command)}" in result.output
    assert "Exit codes:\n    0  " in result.output
    assert "    2  called wrongly" in result.output
    summaries = [line for line in result.output.splitlines() if not line.startswith("Usage:")]
    cut = [line for line in summaries if line.endswith("...") and "ARGS" not in line]
    assert not cut, "summaries of subcommands must fit"


def test_the_list_of_commands_is_complete() -> None:
    assert sorted(commands()) == sorted(COMMANDS)


def commands() -> list[list[str]]:
    """Every command there is, as the words that call it; a group that can be called itself is one, too."""
    found: list[list[str]] = []

    def walk(command: Any, words: list[str]) -> None:
        inner = getattr(command, "commands", {})
        if words and (not inner or command.invoke_without_command):
            found.append(words)
        for name, one in inner.items():
            walk(one, [*words, name])

    walk(typer.main.get_command(app), [])
    return found


def test_the_version_is_told() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.output) == (0, f"rollback-watchdog {__version__}\n")


@pytest.mark.parametrize(
    "args",
    [["nope"], ["check"], ["status", "--nope"], ["rollback", "trips"], ["deploy", "trips"], ["pause"]],
    ids=str,
)
def test_a_command_called_wrongly_exits_2_with_a_sentence(args: list[str]) -> None:
    result = invoke(*args)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert result.stdout == ""


#: Runs `watchdog ARGS…` and tells on standard error what was imported for it.
LOADED = """
import sys
from watchdog.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
finally:
    print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("args", "environment"),
    [
        (["--help"], {}),
        (["--version"], {}),
        (["silence", "--help"], {}),
        (["deploy", "--help"], {}),
        ([], {"_WATCHDOG_COMPLETE": "complete_bash", "COMP_WORDS": "watchdog pa", "COMP_CWORD": "1"}),
        ([], {"_WATCHDOG_COMPLETE": "complete_bash", "COMP_WORDS": "watchdog pause t", "COMP_CWORD": "2"}),
    ],
    ids=str,
)
def test_nothing_heavy_is_imported_to_explain_or_to_complete_a_command(
    args: list[str], environment: dict[str, str]
) -> None:
    environment = {**os.environ, "WATCHDOG_URL": "http://127.0.0.1:1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *args],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=15,
    )
    assert (
        done.stdout.startswith(("Usage: watchdog", "rollback-watchdog", "pause")) or not done.stdout.strip()
    )
    # Typer reads the options of a command with pydantic; the list of commands needs none.
    needed = set() if args in (["--help"], ["--version"]) else {"pydantic"}
    assert (HEAVY - needed) & set(done.stderr.split()) == set()


def test_a_store_that_is_new_or_up_to_date_needs_no_migrations(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from watchdog.store.sqlite import SqliteStore

async def main():
    for _ in range(2):
        store = SqliteStore("sqlite:///{tmp_path}/watchdog.db")
        await store.open()
        await store.aclose()

asyncio.run(main())
print(*{{name.split('.')[0] for name in sys.modules}})
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20
    )
    assert {"alembic", "mako"} & set(done.stdout.split()) == set()


@pytest.mark.parametrize("start", [["-m", "watchdog"], ["-c", "from watchdog.cli.main import main; main()"]])
def test_the_package_is_the_command(start: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *start, "--version"], capture_output=True, text=True, check=True, timeout=15
    )
    assert done.stdout == f"rollback-watchdog {__version__}\n"
    assert done.stderr == ""

"""`watchdog audit`: proves the record, and hands it over. Reads the store directly, beside the daemon or without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchdog.cli.failure import Failure, PoliteGroup
from watchdog.cli.help import CONFIG, epilog
from watchdog.cli.options import ConfigFile, Json

if TYPE_CHECKING:
    from pathlib import Path

    from watchdog.store.interface import Reader

audit = typer.Typer(
    cls=PoliteGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Prove and hand over the audit record.",
)


@audit.command(
    epilog=epilog(
        f"watchdog audit verify -c {CONFIG}",
        f"watchdog audit verify -c {CONFIG} --head 9f2c",
        done="the chain is whole (and holds the head)",
        codes={1: "it is not"},
    )
)
def verify(
    config: ConfigFile,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="HASH", help="A head of the chain as a message told it; it must be part of the chain."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Walk the whole audit chain. Exit 1 at the first record that does not hold."""
    import asyncio

    from watchdog.cli.output import say, say_json

    outcome = asyncio.run(_verified(_reader(config), head.strip().lower() if head else None))
    if json:
        say_json(outcome)
    elif outcome["ok"]:
        say(f"{outcome['records']} records, unbroken; head {outcome['head']}")
        if head:
            say(f"the given head is record {outcome['given_head_at']}")
    if outcome["ok"]:
        return
    if json:
        raise typer.Exit(1)
    fault = outcome["fault"]
    place = f"record {fault['seq']}: " if fault["seq"] is not None else ""
    raise Failure(
        f"{place}{fault['why']}; {outcome['records']} records before it hold, head {outcome['head']}"
    )


@audit.command(epilog=epilog(f"watchdog audit export -c {CONFIG} | gzip > audit.jsonl.gz", done="all of it"))
def export(config: ConfigFile) -> None:
    """Print every audit record, oldest first, one JSON object a line."""
    import asyncio

    asyncio.run(_exported(_reader(config)))


def _reader(config: Path) -> Reader:
    import os

    from watchdog.config.load import load
    from watchdog.store.registry import make_reader

    return make_reader(load(config, environ=os.environ).store)


async def _verified(reader: Reader, wanted: str | None) -> dict[str, Any]:
    from watchdog.core.audit import GENESIS, ChainHead
    from watchdog.core.audit import verify as walk

    head, fault = ChainHead(), None
    found: int | None = 0 if wanted == GENESIS else None
    try:
        async for record in reader.chain():
            head, fault = walk([record], start=head)
            if fault is not None:
                break
            if head.hash == wanted:
                found = head.seq
    finally:
        await reader.aclose()
    told = None if fault is None else {"seq": fault.seq, "why": fault.why}
    if told is None and wanted is not None and found is None:
        why = "the given head is nowhere in the chain: records were removed or rewritten, or it is of another store"
        told = {"seq": None, "why": why}
    return {"ok": told is None, "records": head.seq, "head": head.hash, "given_head_at": found, "fault": told}


async def _exported(reader: Reader) -> None:
    import sys

    import msgspec

    try:
        async for record in reader.chain():
            sys.stdout.buffer.write(msgspec.json.encode(record) + b"\n")
        sys.stdout.buffer.flush()
    finally:
        await reader.aclose()

"""A process that commits turns as fast as it can and prints the number of each one that was acknowledged.

`python -m tests.store.committer URL [TURNS]`; goes on for ever without TURNS. It waits for its input to end before it
closes the store, so that a test may keep the store open as long as it likes.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from tests.store import samples
from watchdog.store.sqlite import SqliteStore


async def main(url: str, turns: int | None) -> None:
    store = SqliteStore(url)
    await store.open()
    await store.claim(now=samples.DAY)
    head = (await store.load(now=samples.DAY)).head
    print("open", flush=True)  # noqa: T201
    for number in (
        itertools.count(head.seq + 1) if turns is None else range(head.seq + 1, head.seq + 1 + turns)
    ):
        turn = samples.whole_turn(number, head)
        await store.commit(turn)
        head = samples.head_of(turn.audit)
        print(number, flush=True)  # noqa: T201
    sys.stdin.read()
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None))

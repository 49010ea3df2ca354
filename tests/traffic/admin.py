"""A stand-in for HAProxy's admin socket that does as a test says: for faults a real one cannot be brought to."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

#: What is done with one connection's line: an answer, or no answer at all.
Answer = str | bytes | None
HEADER = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight"
    " srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state"
    " srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port"
    " srv_check_addr srv_agent_addr srv_agent_port"
)


def state_row(
    name: str, *, op: int = 2, admin: int = 0, weight: int = 100, check: int = 6, address: str = "127.0.0.1"
) -> str:
    """One row of `show servers state trips`."""
    return (
        f"3 trips 1 {name} {address} {op} {admin} {weight} {weight} 1 6 3 4 {check} 0 0 0 - 8081 - 0 0 - - 0"
    )


def dump(*rows: str, header: str = HEADER) -> str:
    """The answer to `show servers state trips`."""
    return "\n".join(["1", header, *rows, "", ""])


def stat(*names: str, check: str = "L7OK", backup: str = "0", tracked: str = "") -> str:
    """The answer to `show stat trips 4 -1`."""
    rows = [f"trips,{name},0,23,{check},{backup},{tracked},http," for name in names]
    return "\n".join(["# pxname,svname,qcur,stot,check_status,bck,tracked,mode,", *rows, "", ""])


class Admin:
    """Answers each connection with the next of `answers`, the last one for ever; remembers the lines.

    A string is sent and the connection closed, `None` keeps it open and silent; `b""` closes without a word.
    """

    def __init__(self, answers: Sequence[Answer | Callable[[], Answer]]) -> None:
        self._answers = list(answers)
        self._folder = Path(tempfile.mkdtemp(prefix="wd-", dir="/tmp"))
        self.socket = self._folder / "admin.sock"
        self.lines: list[str] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.socket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def close(self) -> None:
        """Nobody listens any more; the file stays."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            self.lines.append((await reader.readline()).decode().rstrip("\n"))
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if callable(answer):
                answer = answer()
            if answer is None:
                await reader.read()
                return
            writer.write(answer.encode() if isinstance(answer, str) else answer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()

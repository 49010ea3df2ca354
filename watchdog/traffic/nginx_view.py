"""What the running nginx does with the upstream: the file, the workers, and the text that these workers have loaded.

This module must never guess what nginx has loaded: what is neither remembered nor proved by start times is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, ParamSpec, TypeVar

from watchdog.aio.clock import Clock
from watchdog.core.errors import SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState, VariantState
from watchdog.settings.registry import nearest
from watchdog.traffic import nginx_file, nginx_master
from watchdog.traffic.nginx_file import Record, Seen, digest
from watchdog.traffic.nginx_master import NotRunning, Running, Stopped, Worker
from watchdog.traffic.nginx_settings import NginxSettings
from watchdog.traffic.nginx_text import Server, UpstreamError, paused_in, same_to_nginx, servers_of

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Between two looks at the workers, in seconds.
POLL: Final = 0.02
#: How long workers of two generations may both take connections in a reload, in seconds: nginx waits a tenth.
_SETTLE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The file, the workers (`None` where they cannot be looked at), the text they run, and the state that this is.

    `ours`: the file holds what we wrote, and nginx has not loaded it.
    """

    file: Seen
    nginx: Running | None
    running: str
    ours: bool
    state: TrafficState

    @property
    def loaded(self) -> bool:
        return self.running == self.file.text


class NginxView:
    """Looks at one upstream, and remembers what the workers that it saw run."""

    def __init__(self, settings: NginxSettings, *, name: str, clock: Clock) -> None:
        """`name` is the service's, for messages; `clock` gives the time of a read."""
        self.where = f"nginx upstream {settings.upstream} in {settings.upstream_file} (service {name})"
        self._settings = settings
        self._clock = clock
        self._timeout = settings.timeout.total_seconds()
        self._known: tuple[frozenset[Worker], str] | None = None
        # A file system that hangs holds this one thread, not those that everything else shares.
        self._hand = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nginx")

    def close(self) -> None:
        """Let the thread end. Idempotent, never raises."""
        self._hand.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What `work` answers or raises. When cancelled, it may go on."""
        return await asyncio.get_running_loop().run_in_executor(self._hand, partial(work, *args, **kwargs))

    def took(self, nginx: Running, text: str) -> None:
        """Remember that these workers run this text, as was proved."""
        self._known = nginx.workers, text

    def look(self) -> Running | None:
        """The workers now; `None` where they cannot be looked at. Raises `NotRunning`; blocks for microseconds."""
        pid_file = self._settings.pid_path()
        return None if pid_file is None else nginx_master.look(pid_file)

    async def see(self, until: float) -> Snapshot:
        """The file and the workers that go with it: the file is the same before and after the look at them."""
        path = self._settings.upstream_file
        try:
            async with asyncio.timeout_at(until):
                while True:
                    file = await self.in_thread(nginx_file.read, path)
                    record = await self.in_thread(nginx_file.recall, file.path)
                    nginx = await self._settled(file, record, until)
                    if await self.in_thread(nginx_file.read, path) == file:
                        return self._snapshot(file, nginx, record)
        except TimeoutError:
            raise SwitchUnreachable(f"{self.where}: no answer within {self._timeout:g} s") from None
        except NotRunning as error:
            raise SwitchUnreachable(f"{self.where}: nginx: {error}") from error
        except UpstreamError as error:
            raise SwitchUnreachable(f"{self.where}: {error}") from error
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise SwitchUnreachable(f"{self.where}: the file: {why}") from error

    async def _settled(self, file: Seen, record: Record | None, until: float) -> Running | None:
        """The workers, once they are of one generation: in the middle of a reload both take connections."""
        pid_file = await self.in_thread(self._settings.pid_path)
        if pid_file is None:
            return None
        loop = asyncio.get_running_loop()
        patience = loop.time() + _SETTLE
        while True:
            try:
                nginx = await self.in_thread(nginx_master.look, pid_file)
            except Stopped:
                # It may go on in time. Until then it would not reload either.
                if loop.time() + 2 * POLL > until:
                    raise
                await asyncio.sleep(POLL)
                continue
            known = next((workers for workers, _ in self._memories(nginx, record)), None)
            if known is None:
                known = frozenset(worker for worker in nginx.workers if worker.before(file.changed))
            old = known & nginx.workers
            if not old or old == nginx.workers or loop.time() > patience:
                return nginx
            await asyncio.sleep(POLL)

    def _memories(self, nginx: Running, record: Record | None) -> Iterator[tuple[frozenset[Worker], str]]:
        """What is remembered of any of these workers: they, and the text they run."""
        if self._known is not None and self._known[0] & nginx.workers:
            yield self._known
        if record is not None and record.boot == nginx_master.boot():
            workers = frozenset(Worker(*worker) for worker in record.workers)
            if workers & nginx.workers:
                yield workers, record.running

    def _snapshot(self, file: Seen, nginx: Running | None, record: Record | None) -> Snapshot:
        running, ours = file.text, False
        if nginx is not None:
            memories = dict.fromkeys(text for _, text in self._memories(nginx, record))
            if memories:
                running = next(iter(memories))
            elif any(worker.before(file.changed) for worker in nginx.workers):
                raise SwitchUnreachable(
                    f"{self.where}: the file was changed after nginx was last reloaded, so what nginx does is "
                    "unknown; reload nginx (nginx -t && nginx -s reload)"
                )
            if running != file.text and same_to_nginx(running, file.text):
                running = file.text
            self._known = nginx.workers, running
            if record is not None and running != file.text:
                ours = (record.running, record.written) == (running, digest(file.text))
        note = "nginx does not tell"
        if nginx is None:
            note = f"{note}, nor whether it has loaded what the file says (no `pid_file`)"
        elif running != file.text:
            note = f"{note}; the file was changed, and nginx has not loaded it"
        state = TrafficState(
            variants=self.variants_of(running, note),
            revision=digest(file.text) if running == file.text else digest(running, file.text),
            read_at=self._clock.now(),
            paused=paused_in(file.text, self._settings.upstream),
        )
        return Snapshot(file=file, nginx=nginx, running=running, ours=ours, state=state)

    def variants_of(self, text: str, note: str) -> dict[str, VariantState]:
        """What this text makes of the variants. Raises `UpstreamError`, also for an address that no line has."""
        servers = servers_of(text, self._settings.upstream)
        # A backup server takes traffic only when no other one may.
        backups_wait = any(not server.down and not server.backup for server in servers)
        variants = {}
        for name, addresses in self._settings.variants.items():
            lines = [server for server in servers if server.address in addresses]
            for address in addresses:
                if not any(server.address == address for server in lines):
                    raise UpstreamError(f"no `server {address}` in it{_hint(address, servers)}")
            serving = [one for one in lines if not one.down and not (one.backup and backups_wait)]
            variants[name] = VariantState(
                weight=sum(one.weight for one in serving),
                total=len(lines),
                addresses=tuple(one for one in addresses if not one.startswith("unix:")),
                note=note,
            )
        return variants


def reached(variants: Mapping[str, VariantState], change: Change) -> bool:
    """Whether the change is there."""
    return variants[change.target].live and not any(variants[name].live for name in change.away)


def _hint(address: str, servers: Sequence[Server]) -> str:
    known = [server.address for server in servers]
    if guess := nearest(address, known):
        return f"; did you mean {guess!r}?"
    return f" (it has: {', '.join(known[:10])})" if known else ""

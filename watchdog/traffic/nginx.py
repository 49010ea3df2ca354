"""The traffic switch of nginx: `down` on the servers of one upstream in a file that nginx includes, and a reload.

What a file says is not what nginx does. A reload is asynchronous, and one that fails is only logged: the old workers
go on. So a state is that of the *running* nginx, told by its workers (`nginx_master`): they run what the file says
when they were started after it was last changed, or what is remembered of them (in memory, and in the record that is
written beside the file before anything else). When neither is so, the state is unknown, and a read says so.

A change, alone in its folder (a lock):

1. read again, compare; the test command must find what is there valid (what is broken already is not of our making);
2. record what the workers run now; write the new text under a temporary name, rename it over the file;
3. the test command judges the new text where it will be read. nginx can judge a file nowhere else: what includes it,
   and what else it needs, are in the whole configuration. Not valid: the old text is put back, nginx was told nothing;
4. reload; the proof is that no worker of before takes new connections and others do; then read back.

Killed after 2, nginx runs the old text and the file holds the new one: the next read says so, from the record, and
the same change again begins at 3. Between 2 and 4 a reload by somebody else makes the change early. Where there is no
`pid_file` (nginx in a container, another host), nothing can be proved, and a state says that it is what the file says.

nginx cannot refuse a stale write, so this is tier B. Old workers finish what they have begun, and take new connections
for about 100 ms after a reload. This module must never reload a configuration that somebody else has edited and not
loaded yet, and must never put an old text back when nginx may have been told to reload.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from watchdog.aio.child import Finished, NotStarted, Overrun, missing, run
from watchdog.aio.clock import Clock, SystemClock
from watchdog.core.errors import (
    SwitchConflict,
    SwitchError,
    SwitchRejected,
    SwitchUnknown,
    SwitchUnreachable,
)
from watchdog.core.traffic import Change, Tier, TrafficState
from watchdog.settings.registry import nearest
from watchdog.traffic import nginx_file, nginx_master
from watchdog.traffic.nginx_file import Changed, Record, Seen, digest
from watchdog.traffic.nginx_master import NotRunning
from watchdog.traffic.nginx_settings import NginxSettings
from watchdog.traffic.nginx_text import UpstreamError, servers_of, switched
from watchdog.traffic.nginx_view import POLL, NginxView, Snapshot, reached

_UNTOUCHED: Final = "nothing was changed"
#: How long putting an old text back may take, in seconds.
_BACK: Final = 0.4
#: What may pass by itself; all else that a file system says is a lack of rights.
_PASSING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE}
#: Debian keeps nginx in /usr/sbin, which is not on every PATH.
_PLACES: Final = "/usr/local/sbin:/usr/sbin:/sbin"


class NginxSwitch:
    """Moves traffic within one upstream."""

    Settings = NginxSettings
    TIER = Tier.B

    def __init__(self, settings: NginxSettings, *, name: str, clock: Clock | None = None) -> None:
        """`name` is the service's, for messages; `clock` gives the time of a read, default the machine's."""
        self._settings = settings
        self._timeout = settings.timeout.total_seconds()
        self._identity = f"nginx:{os.path.realpath(settings.upstream_file)}:{settings.upstream}"
        self._view = NginxView(settings, name=name, clock=clock or SystemClock())

    @staticmethod
    def knows_readiness(_: NginxSettings) -> bool:
        """Whether it can tell that a variant is ready: never, nginx asks no server that has no traffic."""
        return False

    @staticmethod
    def addresses(settings: NginxSettings) -> list[str]:
        """Every `HOST:PORT` that it could give traffic to, for the loader."""
        return [address for group in settings.variants.values() for address in group]

    @property
    def tier(self) -> Tier:
        return self.TIER

    @property
    def identity(self) -> str:
        return self._identity

    async def read(self) -> TrafficState:
        return (await self._view.see(self._deadline())).state

    async def apply(self, change: Change) -> TrafficState:
        self._know(change)
        until = self._deadline()
        async with self._alone(until):
            before = await self._view.see(until)
            if reached(before.state.variants, change):
                return before.state
            if before.state.revision != change.expect:
                raise SwitchConflict(
                    f"{self._view.where} is at revision {before.state.revision}, not {change.expect}; {_UNTOUCHED}"
                )
            if before.state.paused:
                raise SwitchConflict(f"{self._view.where} is paused ({before.state.paused}); {_UNTOUCHED}")
            text = self._planned(before, change)
            until = self._deadline()
            await self._judge(until)
            written = before.file if text == before.file.text else await self._write(before, text, until)
            await self._load(before, written, until)
            try:
                return (await self._view.see(until)).state
            except SwitchUnreachable as error:
                raise SwitchUnknown(f"nginx was reloaded, but not read back: {error}") from error

    async def inspect(self) -> str | None:
        """Rights to the folder and to nginx's master, the programs, and whether the configuration is valid now."""
        until = self._deadline()
        try:
            troubles = list(self._troubles(await self._view.see(until)))
            if not troubles:
                await self._judge(until)
        except SwitchError as error:
            return str(error)
        return f"{self._view.where}: {'; '.join(troubles)}" if troubles else None

    async def aclose(self) -> None:
        self._view.close()

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    def _troubles(self, seen: Snapshot) -> Iterator[str]:
        if not os.access(seen.file.path.parent, os.W_OK | os.X_OK):
            yield f"this user may not write to {seen.file.path.parent}, where the file is replaced"
        if not seen.loaded:
            yield (
                "the file was changed, and nginx has not loaded it: the next reload, whoever asks for it, makes it "
                "live; reload nginx, or put the file back"
            )
        for name, argv in (("test", self._settings.test_argv()), ("reload", self._settings.reload)):
            if why := missing(argv, cwd=None, environment=self._environment):
                yield f"`{name}` could not be started: {why}"
        if seen.nginx is not None and self._settings.by_nginx() and not nginx_master.may_signal(seen.nginx):
            yield f"this user may not signal nginx (process {seen.nginx.master}), so `reload` would fail"

    def _know(self, change: Change) -> None:
        known = self._settings.variants
        for variant in (change.target, *change.away):
            if variant not in known:
                guess = nearest(variant, known)
                hint = f"; did you mean {guess!r}?" if guess else ""
                raise SwitchRejected(f"{self._view.where} has no variant {variant!r}{hint}; {_UNTOUCHED}")
        if change.target in change.away:
            raise SwitchRejected(
                f"{self._view.where}: {change.target!r} is both target and away; {_UNTOUCHED}"
            )

    @contextlib.asynccontextmanager
    async def _alone(self, until: float) -> AsyncIterator[None]:
        """No other writer of ours in this folder: two changes under test at once would judge each other."""
        folder = self._settings.upstream_file.resolve().parent
        lock = await self._locked(folder, until)
        try:
            yield
        finally:
            os.close(lock)

    async def _locked(self, folder: Path, until: float) -> int:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return nginx_file.lock(folder)
            except BlockingIOError:
                if loop.time() + POLL > until:
                    raise SwitchUnreachable(
                        f"{self._view.where}: another change in {folder} is under way; {_UNTOUCHED}"
                    ) from None
            except OSError as error:
                why = f"{self._view.where}: {folder}: {error.strerror}; {_UNTOUCHED}"
                raise SwitchUnreachable(why) from error
            await asyncio.sleep(POLL)

    def _planned(self, before: Snapshot, change: Change) -> str:
        """The text that makes the change true. Refuses what nginx would not do with it, and another's unloaded edit."""
        if not before.loaded and not before.ours:
            raise SwitchRejected(
                f"{self._view.where}: somebody changed the file and has not reloaded nginx; a switch would make "
                f"that edit live: reload nginx, or put the file back; {_UNTOUCHED}"
            )
        # Not what the file says: an unloaded change of ours may be another service's, given up long ago.
        text = before.running
        variants = self._settings.variants
        try:
            text = switched(
                text,
                servers_of(text, self._settings.upstream),
                up=variants[change.target],
                down=[address for name in change.away for address in variants[name]],
            )
            after = self._view.variants_of(text, "")
        except UpstreamError as error:
            raise SwitchRejected(f"{self._view.where}: {error}; {_UNTOUCHED}") from error
        if not reached(after, change):
            raise SwitchRejected(
                f"{self._view.where}: {change.target!r} has only backup servers, and others would take its traffic; "
                f"{_UNTOUCHED}"
            )
        return text

    async def _judge(self, until: float) -> None:
        """Let nginx judge the whole configuration. Raises `SwitchRejected` with its words, or `SwitchUnreachable`."""
        try:
            done = await self._run(self._settings.test_argv(), until)
        except NotStarted as error:
            late = asyncio.get_running_loop().time() >= until
            raise (SwitchUnreachable if late or error.passing else SwitchRejected)(
                f"{self._view.where}: `test` {error}; {_UNTOUCHED}"
            ) from error
        except Overrun as error:
            raise SwitchUnreachable(f"{self._view.where}: `test` {error}; {_UNTOUCHED}") from error
        if done.code != 0:
            raise SwitchRejected(
                f"{self._view.where}: not valid, `test` ended with {done.code}{_said(done)}; {_UNTOUCHED}"
            )

    async def _write(self, before: Snapshot, text: str, until: float) -> Seen:
        """Record what runs, then replace the file."""
        given_up = threading.Event()

        def write() -> None:
            if before.nginx is not None:
                record = Record(
                    boot=nginx_master.boot(),
                    workers=frozenset((worker.pid, worker.started) for worker in before.nginx.workers),
                    running=before.running,
                    written=digest(text),
                )
                nginx_file.remember(before.file.path, record)
            nginx_file.replace(before.file, text, withdrawn=given_up.is_set)

        try:
            async with asyncio.timeout_at(until):
                await self._view.in_thread(write)
        except TimeoutError:
            raise SwitchUnknown(
                f"{self._view.where}: the file was not written within {self._timeout:g} s"
            ) from None
        except Changed as error:
            raise SwitchConflict(
                f"{self._view.where}: the file was changed by somebody else; {_UNTOUCHED}"
            ) from error
        except (OSError, ValueError) as error:
            raise self._unwritten(error) from error
        finally:
            # A thread cannot be stopped: it looks here before it renames.
            given_up.set()
        try:
            async with asyncio.timeout_at(until):
                written = await self._view.in_thread(nginx_file.read, before.file.path)
        except (OSError, ValueError, TimeoutError) as error:
            raise SwitchUnknown(f"{self._view.where}: written, but not seen again: {error}") from error
        if written.text != text:
            raise SwitchUnknown(f"{self._view.where}: somebody else replaced the file right after the change")
        return written

    def _unwritten(self, error: OSError | ValueError) -> SwitchError:
        if not isinstance(error, OSError):
            return SwitchConflict(f"{self._view.where}: the file {error}; {_UNTOUCHED}")
        kind = SwitchUnreachable if error.errno in _PASSING else SwitchRejected
        place = error.filename or self._settings.upstream_file
        return kind(f"{self._view.where}: {place} cannot be written: {error.strerror}; {_UNTOUCHED}")

    async def _load(self, before: Snapshot, written: Seen, until: float) -> None:
        """Have the new text judged where it stands, loaded, and prove that it was."""
        try:
            await self._judge(until)
        except (SwitchRejected, SwitchUnreachable) as error:
            raise await self._put_back(before, written, error) from error
        try:
            done = await self._run(self._settings.reload, until)
        except NotStarted as error:
            told = SwitchRejected(f"{self._view.where}: `reload` {error}; {_UNTOUCHED}")
            raise await self._put_back(before, written, told) from error
        except Overrun as error:
            raise SwitchUnknown(f"{self._view.where}: `reload` {error}; the file holds the change") from error
        if done.code != 0:
            words = f"{self._view.where}: `reload` ended with {done.code}{_said(done)}"
            if self._settings.by_nginx():
                raise await self._put_back(before, written, SwitchRejected(f"{words}; {_UNTOUCHED}"))
            raise SwitchUnknown(f"{words}; the file holds the change")
        await self._prove(before, written, until)

    async def _put_back(self, before: Snapshot, written: Seen, told: SwitchError) -> SwitchError:
        """Put back what nginx runs. Answers what to raise: `told`, or that the outcome is not known."""
        back = partial(nginx_file.replace, written, before.running, withdrawn=lambda: False)
        try:
            async with asyncio.timeout(_BACK):
                await self._view.in_thread(back)
                if before.nginx is None:
                    return told
                now = await self._view.in_thread(self._view.look)
        except (OSError, ValueError, TimeoutError, Changed, NotRunning) as error:
            why = str(error) or type(error).__name__
            return SwitchUnknown(f"{told}; but whether the old text is back and in force is not known: {why}")
        if now is not None and before.nginx.workers.isdisjoint(now.workers):
            return SwitchUnknown(f"{told}; but somebody else reloaded nginx meanwhile")
        return told

    async def _prove(self, before: Snapshot, written: Seen, until: float) -> None:
        """Wait until none of the workers of before takes new connections."""
        if before.nginx is None:
            return
        why = "its workers are still those of before: see its error log"
        try:
            async with asyncio.timeout_at(until):
                while True:
                    try:
                        now = await self._view.in_thread(self._view.look)
                    except NotRunning as error:
                        now, why = None, str(error)
                    if now is not None and before.nginx.workers.isdisjoint(now.workers):
                        break
                    await asyncio.sleep(POLL)
        except TimeoutError:
            raise SwitchUnknown(f"{self._view.where}: nginx was told to reload, but {why}") from None
        self._view.took(now, written.text)
        await self._view.in_thread(nginx_file.forget, written.path)

    @property
    def _environment(self) -> Mapping[str, str]:
        return {"PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), _PLACES])}

    async def _run(self, argv: list[str], until: float) -> Finished:
        left = until - asyncio.get_running_loop().time()
        return await run(
            argv,
            cwd=None,
            environment=self._environment,
            timeout=left,
            within=self._timeout,
            stop_when_full=False,
        )


def _said(done: Finished) -> str:
    """What the command printed last, in one line."""
    text = (done.stderr or done.stdout).decode("utf-8", errors="replace")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if not line:
        return ", saying nothing"
    return f": {line if len(line) <= 500 else line[:499] + '…'}"

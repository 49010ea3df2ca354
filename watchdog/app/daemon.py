"""The daemon: what lives as long as the process, and one term of leading after the other. Builds the rest.

Alone (`leader: {kind: single}`): lock, load, restore, act, from the start to the stop. One of several: follow, and show
what the store has; act from the moment in which the lead is acquired to that in which it is lost; then follow again.
Nothing that is acted with outlives a term. This module must never decide anything.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace

from watchdog.aio.clock import SteadyClock
from watchdog.aio.supervise import Supervisor, TaskEnded, Work
from watchdog.api.app import GUARD, make_app
from watchdog.api.auth import Guard
from watchdog.api.listener import Listener, listen
from watchdog.app.build import build_leadership
from watchdog.app.changeover import needs_restart
from watchdog.app.standby import Standby, bare
from watchdog.app.term import STOP_WITHIN, Term, is_deposed
from watchdog.app.unwell import Unwell
from watchdog.channels.interface import Receiving
from watchdog.config.loaded import Configuration
from watchdog.core.errors import ConfigError, StoreError, WatchdogError
from watchdog.core.request import Request
from watchdog.core.traffic import Tier
from watchdog.core.view import View
from watchdog.engine.pause import PauseFile
from watchdog.store.registry import make_store
from watchdog.telemetry.metrics import Metrics
from watchdog.telemetry.redact import register_secret

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

STALLED_AFTER = timedelta(seconds=15)
#: After a term that could not begin or was cut short, another process is given this time to do better.
STAND_BACK = timedelta(seconds=2)
#: What only follows along ends at once.
_END_WITHIN = timedelta(seconds=2)


class Daemon:
    """Everything of one running watchdog. `start`, `wait`, `stop`; each once."""

    stalled_after = STALLED_AFTER

    def __init__(self, configuration: Configuration, *, clock: SteadyClock, seed: int) -> None:
        self._began = self._configuration = configuration
        self._clock = clock
        self._seed = seed
        self._guard: Guard | None = None
        self._supervisor = Supervisor()
        self._listener: Listener | None = None
        self._stopped = False
        self._turning = asyncio.Lock()
        """Held while one term gives way to the next, and while a configuration is taken in."""
        self._metrics = Metrics(self._measured, cluster=lambda: self._term.parts.cluster_costs)
        self._pause = PauseFile(configuration.pause_file)
        self._store = make_store(configuration.store)
        self._alone = configuration.leader.alone
        self._leadership = build_leadership(configuration, clock=clock)
        self._term = self._next_term(configuration)
        self._unwell = Unwell(self._tell, clock=clock)
        self._standby = Standby(
            self._store,
            configuration,
            leads=lambda: self._leadership.is_leader,
            unwell=self._unwell,
            clock=clock,
        )

    def _next_term(self, configuration: Configuration) -> Term:
        return Term(
            configuration,
            began=self._began,
            store=self._store,
            leadership=self._leadership,
            metrics=self._metrics,
            pause=self._pause,
            guard=lambda: self._guard,
            clock=self._clock,
            seed=self._seed,
        )

    @property
    def url(self) -> str:
        """Where the API listens, once started."""
        return self._listener.url if self._listener else ""

    @property
    def term(self) -> Term:
        """The term that runs, or the one that would be next."""
        return self._term

    def view(self) -> View | None:
        """The newest view, a follower's from the store; `None` before the start is done."""
        view = self._term.view() or self._standby.view()
        if view is None:
            return None
        leads = view.leader and self._leadership.is_leader
        return replace(view, leader=leads, holder=self._leadership.holder)

    def _measured(self) -> View | None:
        """What goes into the metrics: a follower has measured nothing, and only says that it follows."""
        if self._alone or self._leadership.is_leader:
            return self._term.view()
        return bare(self._clock.now())

    def progress_at(self) -> datetime:
        """The reactor's last progress; to follow is progress."""
        return self._term.turn_at() or self._clock.now()

    async def start(self) -> None:
        """Alone: lead; else: follow, and lead when it may. Raises `WatchdogError` (a sentence for the user).

        All is closed then.
        """
        try:
            await self._start()
        except BaseException:
            self._stopped = True
            await self._supervisor.stop(STOP_WITHIN)
            await self._close()
            raise

    async def _start(self) -> None:
        if not self._alone:
            self._refuse_single_writers()
        await self._term.or_tell(self._store.open())
        self._store.on_request(self._asked)
        if self._alone:
            await self._leadership.acquire()
            await self._term.begin()
            self._supervisor.start("term", self._term.wait, critical=True)
        await self._listen()
        if not self._alone:
            self._supervisor.start("standby", self._standby.run, critical=False)
            self._supervisor.start("leadership", self._lead, critical=True)
        _log.info("started", url=self.url, services=len(self._configuration.services))

    def _refuse_single_writers(self) -> None:
        """What loading cannot know of a switch of somebody else's making."""
        for name, switch in self._term.parts.switches.items():
            if switch.tier is Tier.B:
                raise ConfigError(
                    f"the traffic switch of {name} cannot refuse a stale write, so it has a single writer only: "
                    "beside it write `leader: {kind: single}`"
                )

    async def _listen(self) -> None:
        server = self._configuration.server
        app = make_app(
            reader=self._store,
            desk=self._store,
            live=self,
            server=server,
            rules=lambda: self._term.configuration.rules,
            metrics=self._metrics.render,
            clock=self._clock,
            receivers=self._receivers,
        )
        self._guard = app[GUARD]
        self._listener = await listen(app, host=server.host, port=server.port)

    def _receivers(self, kind: str) -> dict[str, Receiving]:
        """The channels of a kind that take callbacks; a follower's, too, which stores what is asked for the leader."""
        parts = self._term.parts
        kinds = {name: one.kind for name, one in parts.configuration.channels.items()}
        return {
            name: channel
            for name, channel in parts.channels.items()
            if kinds.get(name) == kind and isinstance(channel, Receiving) and channel.receives
        }

    def _asked(self, request: Request) -> None:
        self._term.asked(request)

    async def _tell(self, error: StoreError) -> None:
        await self._term.tell_store_failed(error)

    async def _lead(self) -> None:
        """Lead whenever it may, one term after the other. Raises `TaskEnded` for what a new term cannot mend."""
        while True:
            _log.info("follows", identity=self._leadership.identity)
            await self._leadership.acquire()
            try:
                await self._lead_once()
            except WatchdogError as error:
                if isinstance(error, TaskEnded) and not is_deposed(error):
                    raise
                _log.error("lead_cut_short", error=str(error))
                if isinstance(error, StoreError):
                    self._unwell.fails("claim", error)
            await self._step_down()
            await self._clock.sleep(STAND_BACK.total_seconds())

    async def _lead_once(self) -> None:
        """Return once the lead is lost. Raises `WatchdogError` when the term cannot begin, or a part of it ends."""
        async with self._turning:
            await self._term.begin(anew=self._leadership.identity)
        self._unwell.works("claim")
        lost = asyncio.ensure_future(self._leadership.lost())
        ended = asyncio.ensure_future(self._term.wait())
        try:
            await asyncio.wait({lost, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
            _log.warning("lead_lost")
        finally:
            for one in (lost, ended):
                one.cancel()
            await asyncio.gather(lost, ended, return_exceptions=True)

    async def _step_down(self) -> None:
        """Fall silent, let another one lead, and be ready for the next term."""
        await self._term.drop()
        await self._leadership.release()
        async with self._turning:
            self._configuration = self._term.configuration
            over, self._term = self._term, self._next_term(self._configuration)
            self._standby.follow(self._configuration)
            await over.aclose()

    def beside(self, name: str, work: Work) -> None:
        """Run something beside the engine until the stop; when it fails it is started again."""
        self._supervisor.start(name, work, critical=False)

    async def take(self, configuration: Configuration) -> bool:
        """Put another configuration in force (`Changeover.take`). After `start` only."""
        async with self._turning:
            if self._alone or self._term.leading:
                return await self._term.changeover.take(configuration)
            return await self._take_following(configuration)

    async def _take_following(self, configuration: Configuration) -> bool:
        """The next term is built from it. Raises `WatchdogError` when it cannot be, with everything as it was."""
        before = self._configuration
        for token in configuration.server.tokens:
            register_secret(token.token.get_secret_value())
        changed = configuration.trail.digest != before.trail.digest or configuration != before
        if changed:
            over, self._term = self._term, self._next_term(configuration)
            self._configuration = configuration
            self._standby.follow(configuration)
            self._pause.move(configuration.pause_file)
            server = configuration.server
            if self._guard is not None:
                self._guard.change(server.tokens, open_metrics=server.metrics == "open")
            restart = needs_restart(self._began, configuration)
            _log.info("config_reloaded", how="by a follower", restart_needed_for=restart)
            await over.aclose()
        self._metrics.config_taken(self._clock.now())
        return changed

    async def refuse(self, problems: tuple[str, ...]) -> bool:
        """Tell people that a changed configuration cannot be used (`Changeover.refuse`); a follower only logs it."""
        async with self._turning:
            if self._alone or self._term.leading:
                return await self._term.changeover.refuse(problems)
        self._metrics.config_refused()
        _log.error("config_refused", how="by a follower", problems=list(problems))
        return True

    async def settle(self) -> None:
        """Take what had to wait (`Changeover.settle`)."""
        async with self._turning:
            if self._alone or self._term.leading:
                await self._term.changeover.settle()

    async def wait(self) -> None:
        """Run until `stop`, or until a part the daemon cannot do without has ended (`TaskEnded`)."""
        try:
            await self._supervisor.wait()
        except TaskEnded as error:
            if isinstance(error.__cause__, TaskEnded):  # which part of the term it was
                raise error.__cause__ from error.__cause__.__cause__
            raise

    async def stop(self) -> None:
        """A clean stop; within `TimeoutStopSec` of the unit. Everything is closed, whatever fails. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        _log.info("stopping")
        try:
            await self._wind_down()
        finally:
            await self._close()
        _log.info("stopped")

    async def _wind_down(self) -> None:
        self._term.halt()
        if self._listener is not None:
            await self._listener.aclose()
        await self._supervisor.stop(_END_WITHIN)
        if self._alone or self._leadership.is_leader:
            await self._term.finish()
        else:
            await self._term.drop()

    async def _close(self) -> None:
        """The lead is given up when nothing can be written any more, and before anything else is waited for."""
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._store.aclose)
            closing.push_async_callback(self._leadership.aclose)
            closing.push_async_callback(self._term.aclose)
            closing.push_async_callback(self._unwell.aclose)

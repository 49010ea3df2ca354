"""The world as the store has it, under a configuration: where a leader goes on, and what a follower shows.

This module must never ask anybody.
"""

from __future__ import annotations

from datetime import datetime

from watchdog.app.build import places
from watchdog.config.loaded import Configuration
from watchdog.core.orphans import orphans
from watchdog.core.restore import restore_service, restore_sources
from watchdog.core.step import Stepped
from watchdog.core.storming import restored as restore_storm
from watchdog.core.world import World
from watchdog.store.interface import Saved


def restored(configuration: Configuration, saved: Saved, *, leader: bool, epoch: int) -> World:
    """Everything that is configured, with what was stored of it."""
    records = {record.name: record for record in saved.services}
    services = {
        name: restore_service(
            entry.service,
            configuration.rules,
            record=records.get(name),
            deployments=saved.deployments,
            incidents=saved.incidents,
            rollbacks=saved.rollbacks,
            checks=saved.checks,
        )
        for name, entry in configuration.services.items()
    }
    return World(
        services=services,
        sources=restore_sources(configuration.sources, saved.incidents),
        storm=restore_storm(saved.incidents, services),
        limits=configuration.limits,
        routes=configuration.routes,
        silences={one.id: one for one in saved.silences},
        leader=leader,
        epoch=epoch,
        recheck=configuration.intervals.recheck,
        places=places(configuration),
    )


def left_behind(configuration: Configuration, world: World, saved: Saved, *, now: datetime) -> Stepped:
    """The end of what belongs to nothing that is configured any more.

    Of no service while nothing was discovered yet (a new disk): what is found in a moment goes on as it was.
    """
    discovery = configuration.discovery
    if discovery is None or discovery.file.exists():
        return orphans(world, saved.incidents, saved.rollbacks, now=now)
    return orphans(world, (one for one in saved.incidents if not one.of_service), (), now=now)

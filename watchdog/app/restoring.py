"""The world as the store has it, under a configuration: where a leader goes on, and what a follower shows.

This module must never ask anybody.
"""

from __future__ import annotations

from watchdog.app.build import places
from watchdog.config.loaded import Configuration
from watchdog.core.restore import restore_service, restore_sources
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

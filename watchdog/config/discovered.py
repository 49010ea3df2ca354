"""Services that were not listed but found: a file that the daemon writes itself, read beside the configuration.

A mistake in one of them is its owner's alone: that service is left out, which is told, and everything else loads. This
module must never write that file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from watchdog.config.document import read
from watchdog.config.fields import Name
from watchdog.config.loaded import Problem
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems
from watchdog.config.trail import Trail
from watchdog.core.service import Mode
from watchdog.settings.model import Settings

DISCOVERED_FILE = Path("/var/lib/watchdog/discovered.yaml")


class DiscoverShape(Settings):
    """`discover`: services that objects in the cluster ask for, by the annotation `rollback-watchdog.io/watch`."""

    namespaces: tuple[Name, ...] = Field(min_length=1)
    """Where to look."""
    kinds: tuple[Literal["deployments", "services"], ...] = Field(
        default=("deployments", "services"), min_length=1
    )
    """What is looked at."""
    rules: tuple[Any, ...] = ()
    """Names of rules, or `{tag: TAG}`, for objects that name none."""
    mode: Mode = Mode.ENFORCE
    """For objects that do not say."""
    environment: Name = "production"
    """For objects that do not say."""
    file: Path = DISCOVERED_FILE
    """Where what was found is written, and read from."""


class Discovered:
    """The services that were found, but for those that turn out to have mistakes, over the passes of one load."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._nodes: list[Node] = []
        self._left_out: dict[int, Problem] = {}

    @property
    def notes(self) -> tuple[Problem, ...]:
        """Why services are left out."""
        return tuple(
            Problem(at=one.at, message=f"left out: {one.message}") for one in self._left_out.values()
        )

    def services(self, file: Path, trail: Trail, problems: Problems) -> list[Node]:
        """What stands in the file; nothing where it is not there yet.

        One that is there and cannot be read is a mistake: it says nothing, and not that no service is asked for.
        """
        root = read(file, problems if file.exists() else Problems(), secrets=None, trail=trail)
        place = None if root is None else root.get("services")
        if root is not None and (place is None or place.items is None):
            problems.add(root.at, "expected `services: [...]`, as the watchdog wrote it; remove the file")
        self._file, self._nodes = file, [] if place is None else list(place.items or ())
        return [node for index, node in enumerate(self._nodes) if index not in self._left_out]

    def blame(self, problems: Iterable[Problem]) -> bool:
        """Leave out every service that one of these mistakes stands in; answers whether there was any."""
        starts = [node.at.line for node in self._nodes]
        before = len(self._left_out)
        for problem in problems:
            if problem.at.file == self._file and starts and problem.at.line >= starts[0]:
                index = max(place for place, line in enumerate(starts) if line <= problem.at.line)
                self._left_out.setdefault(index, problem)
        return len(self._left_out) > before

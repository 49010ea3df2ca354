"""What annotations on an object ask for: to be watched, as which service, by which rules.

Whoever deploys says it where he deploys, and no platform team has to edit a list. The answer is a service as it could
stand in the configuration, and is read as such. This module must never believe an annotation to be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from watchdog.cluster.marks import PREFIX
from watchdog.cluster.objects import DEPLOYMENTS, SERVICES, Kind, Metadata

#: `"true"`: watch this object.
WATCH: Final = PREFIX + "watch"
#: The service's name, where it is not the object's.
SERVICE: Final = PREFIX + "service"
#: Names of rules, separated by commas; `tag:web` for all that have a tag.
RULES: Final = PREFIX + "rules"
#: `observe`, `approve` or `enforce`.
MODE: Final = PREFIX + "mode"
#: The environment, where it is not the usual one.
ENVIRONMENT: Final = PREFIX + "environment"
#: On a Service: the label key whose value is switched.
SELECTOR: Final = PREFIX + "selector"

#: The kinds that can ask, by their plural.
ASKING: Final[dict[str, Kind[Any]]] = {one.plural: one for one in (DEPLOYMENTS, SERVICES)}


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What holds where an object does not say."""

    rules: tuple[Any, ...] = ()
    mode: str = "enforce"
    environment: str = "production"


def service_of(kind: Kind[Any], metadata: Metadata, defaults: Defaults) -> dict[str, Any] | None:
    """The service that an object asks for; `None` for one that does not ask."""
    notes = metadata.annotations
    if notes.get(WATCH, "").strip().lower() != "true":
        return None
    key = kind.name.lower()  # what its switch calls the object
    traffic = {"kind": f"kubernetes-{key}", "namespace": metadata.namespace, key: metadata.name}
    if key == "service":
        traffic["selector"] = notes.get(SELECTOR, "version").strip()
    return {
        "name": notes.get(SERVICE, metadata.name).strip(),
        "environment": notes.get(ENVIRONMENT, defaults.environment).strip(),
        "labels": _team(metadata.labels),
        "rules": list(_rules(notes[RULES]) if RULES in notes else defaults.rules),
        "mode": notes.get(MODE, defaults.mode).strip(),
        "traffic": traffic,
    }


def services_of(found: Iterable[tuple[Kind[Any], Metadata]], defaults: Defaults) -> dict[str, dict[str, Any]]:
    """Every service that is asked for, in order, by the object that asks (`deployments prod/trips`)."""
    asked = {}
    for kind, metadata in found:
        service = service_of(kind, metadata, defaults)
        if service is not None:
            asked[f"{kind.plural} {metadata.namespace}/{metadata.name}"] = service
    return dict(sorted(asked.items()))


def _rules(text: str) -> Iterable[Any]:
    for word in text.split(","):
        name = word.strip()
        if name.startswith("tag:"):
            yield {"tag": name.removeprefix("tag:").strip()}
        elif name:
            yield name


def _team(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that routes go by most: whose it is, and what it belongs to."""
    names = {"team": "team", "app.kubernetes.io/part-of": "part_of"}
    return {names[name]: labels[name] for name in names if labels.get(name)}

"""Teaches a real API server kinds that it does not have by itself, by the manifests in `crds/`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import yaml

from tests.eventually import eventually
from tests.servers.kubernetes import Kubernetes
from watchdog.cluster.objects import Kind

_FOLDER = Path(__file__).parent / "crds"
_known: WeakKeyDictionary[Kubernetes, set[str]] = WeakKeyDictionary()


async def taught(server: Kubernetes, *kinds: Kind[Any]) -> None:
    """Sees to it that these kinds are served; those the API server knows by itself are no work, nor are known ones."""
    known = _known.setdefault(server, set())
    wanted = {name: kind for kind in kinds if (name := f"{kind.plural}.{kind.group}") not in known}
    manifests = [one for name, one in _manifests().items() if name in wanted]
    if not manifests:
        return
    await asyncio.to_thread(server.apply, *manifests)
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        path = wanted[name].path("default")

        def served(path: str = path) -> bool:
            return '"kind"' in server.kubectl("get", "--raw", path, check=False)

        await eventually(lambda: asyncio.to_thread(served), within=60, every=0.1, what=f"{name} is served")
        known.add(name)


def _manifests() -> dict[str, dict[str, Any]]:
    """Every manifest by the name of its definition."""
    found = [
        one for path in sorted(_FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text("utf-8"))
    ]
    return {one["metadata"]["name"]: one for one in found}

"""What somebody may do in a cluster: what is needed, the Role that grants exactly that, and what is granted.

Whoever needs something says so as `Right`s (`Entitled`); the Role for a configuration is made of nothing else. This
module must never need a right to answer: everybody may ask about himself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from watchdog.cluster.client import Cluster
from watchdog.cluster.look import decode
from watchdog.cluster.objects import Kind

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_RBAC: Final = "rbac.authorization.k8s.io"


class Right(msgspec.Struct, frozen=True, kw_only=True):
    """One verb on one resource (`deployments`, or `pods/status`) in one namespace; without `name`, on all of them.

    `create`, `list` and `watch` cannot be held to a name: RBAC does not know it at that moment.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        target = f" {self.name!r}" if self.name else ""
        return f"{self.verb} {resource}{target} in namespace {self.namespace}"


@runtime_checkable
class Entitled(Protocol):
    """A part that needs rights in a cluster."""

    @property
    def rights(self) -> Sequence[Right]:
        """Everything it needs, and nothing that it can do without. Never raises."""
        ...


def reading(kind: Kind[Any], namespace: str) -> tuple[Right, ...]:
    """What looking at objects of a kind and watching them takes."""
    return tuple(
        Right(verb=verb, group=kind.group, resource=kind.plural, namespace=namespace)
        for verb in ("get", "list", "watch")
    )


def changing(kind: Kind[Any], namespace: str, name: str, *, verb: str = "patch") -> Right:
    """What changing one object takes."""
    return Right(verb=verb, group=kind.group, resource=kind.plural, namespace=namespace, name=name)


#: What an intruder would want of us first, and what no switch, source or leader here ever does.
NEVER: Final = (
    ("get", "", "secrets"),
    ("list", "", "secrets"),
    ("create", "", "pods"),
    ("delete", "", "pods"),
    ("create", "", "pods/exec"),
    ("create", "", "serviceaccounts/token"),
    ("delete", "apps", "deployments"),
    ("delete", "", "services"),
    ("create", _RBAC, "rolebindings"),
    ("escalate", _RBAC, "roles"),
    ("impersonate", "", "serviceaccounts"),
)


def excess(namespace: str, needed: Iterable[Right]) -> tuple[Right, ...]:
    """What must not be granted in a namespace, but for what is needed there."""
    wanted = {(one.verb, one.group, one.resource) for one in needed if one.namespace == namespace}
    return tuple(
        Right(verb=verb, group=group, resource=resource, namespace=namespace)
        for verb, group, resource in NEVER
        if (verb, group, resource) not in wanted
    )


async def granted(cluster: Cluster, right: Right, *, timeout: timedelta) -> bool:
    """Whether we have it, by a SelfSubjectAccessReview. Raises `ClusterError`."""
    resource, _, part = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": part,
        "namespace": right.namespace,
        "name": right.name,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {name: text for name, text in attributes.items() if text}},
    }
    return decode(await cluster.post(_REVIEWS, body, timeout=timeout), _Review).status.allowed


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    allowed: bool = False


class _Review(msgspec.Struct, frozen=True, kw_only=True):
    status: _Status


def roles(rights: Iterable[Right], *, name: str, account: str, home: str) -> list[dict[str, Any]]:
    """A Role and its RoleBinding for every namespace, in order: exactly these rights.

    For the service account `account` in the namespace `home`.
    """
    spaces = sorted({right.namespace for right in rights})
    found = list(rights)
    made: list[dict[str, Any]] = []
    for space in spaces:
        metadata = {"name": name, "namespace": space}
        made += [
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "Role",
                "metadata": metadata,
                "rules": _rules(right for right in found if right.namespace == space),
            },
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": home}],
            },
        ]
    return made


def _rules(rights: Iterable[Right]) -> list[dict[str, Any]]:
    """Rules for one namespace: the verbs of one resource together, named objects of one resource together."""
    verbs: dict[tuple[str, str, str], set[str]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.resource, right.name), set()).add(right.verb)
    names: dict[tuple[str, str, tuple[str, ...], bool], list[str]] = {}
    for (group, resource, name), asked in verbs.items():
        needless = asked - verbs.get((group, resource, ""), set()) if name else asked
        if needless:
            names.setdefault((group, resource, tuple(sorted(needless)), bool(name)), []).append(name)
    rules = []
    for (group, resource, asked_for, named), who in sorted(names.items()):
        rule: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": list(asked_for)}
        if named:
            rule["resourceNames"] = sorted(who)
        rules.append(rule)
    return rules

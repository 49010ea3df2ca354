"""A Kubernetes API in memory, over HTTP on loopback: what stands in for the real one where its binaries are not.

It keeps what the watchdog relies on: a `resourceVersion` that grows with every change and is a precondition when a
write names one, merge patches and JSON patches with `test`, label selectors, lists, watches, `Status` objects as
errors. It runs no controllers and validates nothing. Tests change objects by hand (`put`, `patch`, `delete`) and say
what goes wrong (`fault`, `before`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self
from uuid import uuid4

from aiohttp import web

from tests.cluster.patches import PatchFailed, json_patched, merged
from watchdog.cluster.access import Access
from watchdog.cluster.client import JSON_PATCH, Cluster
from watchdog.cluster.objects import Kind
from watchdog.cluster.settings import ClusterSettings

_PATH = re.compile(
    r"(?P<root>/api/v1|/apis/[^/]+/[^/]+)(/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(/(?P<name>[^/]+)(/(?P<part>[^/]+))?)?"
)
Json = dict[str, Any]
#: Root, plural, namespace and name of an object.
Key = tuple[str, str, str, str]


class Fault(StrEnum):
    """What becomes of one request instead of an answer."""

    HANG = "hang"  #: nothing, until `resume`; then it is served
    BUSY = "busy"  #: 429 with Retry-After
    DENY = "deny"  #: 403
    UNSERVED = "unserved"  #: 404 in plain text, as for a kind that is not installed
    BREAK = "break"  #: 500, nothing done
    LIE = "lie"  #: done, and 500
    LOSE = "lose"  #: done, and hung up without an answer
    CUT = "cut"  #: hung up, nothing done


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    plural: str
    namespace: str
    name: str
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def write(self) -> bool:
        """Whether it would change anything."""
        return self.method != "GET"


class _Refused(Exception):
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class FakeApi:
    """`async with FakeApi() as api:` listens at `api.url`; `api.cluster()` is a connection to it.

    `asked` are all requests so far. `before` is called before a request is served: what somebody does between our
    read and our write. `fault` says what becomes of a request.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], None] = lambda _: None
        self.fault: Callable[[Asked], Fault | None] = lambda _: None
        #: Called with the plural after every change: what a controller does at once.
        self.after: Callable[[str], None] = lambda _: None
        self.retry_after = 1
        #: Watches stay open and say nothing: they lag behind.
        self.withheld = False
        self.namespaces: set[str] = set()
        #: What a SelfSubjectAccessReview says no to, as verb and resource.
        self.forbidden: set[tuple[str, str]] = set()
        self._objects: dict[Key, Json] = {}
        self._changes: dict[Key, int] = {}
        self._log: list[tuple[int, str, Key, Json]] = []
        self._forgotten = 0
        self._numbers = itertools.count(1000)
        self._version = 1000
        self._moved = asyncio.Event()
        self._free = asyncio.Event()
        self._ended = 0
        self._over = False
        self._clusters: list[Cluster] = []
        self._runner: web.AppRunner | None = None
        self._port = 0

    # What a test does by hand

    def put(self, kind: Kind[Any], namespace: str, thing: Json) -> Json:
        """Create an object, or replace it; also into what kubectl could not write, such as a status."""
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        named = {"apiVersion": kind.api_version, "kind": kind.name, **copy.deepcopy(thing)}
        if namespace:
            named["metadata"] = {**named["metadata"], "namespace": namespace}
            self.namespaces.add(namespace)
        return self._store((root, kind.plural, namespace, named["metadata"]["name"]), named)

    def get(self, kind: Kind[Any], namespace: str, name: str) -> Json:
        """An object as it is now."""
        return copy.deepcopy(self._objects[self._key(kind, namespace, name)])

    def all(self, kind: Kind[Any], namespace: str) -> list[Json]:
        """Every object of a kind in a namespace, by name."""
        return [copy.deepcopy(self._objects[key]) for key in self._below(self._key(kind, namespace, ""))]

    def patch(self, kind: Kind[Any], namespace: str, name: str, body: Json) -> Json:
        """Somebody's merge patch."""
        key = self._key(kind, namespace, name)
        return self._store(key, merged(self._objects[key], body))

    def delete(self, kind: Kind[Any], namespace: str, name: str) -> None:
        """An object goes at once, without a grace period."""
        self._remove(self._key(kind, namespace, name))

    def changes(self, kind: Kind[Any], namespace: str, name: str) -> int:
        """How often an object was changed since it was created, by whomever."""
        return self._changes[self._key(kind, namespace, name)]

    def writes(self) -> list[Asked]:
        """The requests so far that would have changed something."""
        return [asked for asked in self.asked if asked.write]

    def hang(self) -> None:
        """From now on nothing is answered."""
        self.fault = lambda _: Fault.HANG

    def resume(self) -> None:
        """No faults any more; what hung is served now."""
        self.fault = lambda _: None
        self._free.set()
        self._free = asyncio.Event()

    def end_watches(self) -> None:
        """The API server ends every watch, as it does every few minutes."""
        self._ended += 1
        self._wake()

    def forget(self) -> None:
        """Etcd is compacted: a watch from before this is answered 410."""
        self._forgotten = self._version
        self._log.clear()
        self.end_watches()

    def cluster(self, url: str | None = None, **settings: Any) -> Cluster:
        """A connection to it (or to `url`, a proxy in front of it), closed at the end."""

        async def find(_: ClusterSettings) -> Access:
            return Access(
                url=url or self.url, ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), configuration=NoAuth()
            )

        made = Cluster(ClusterSettings(**settings), find=find)
        self._clusters.append(made)
        return made

    # How it listens

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for made in self._clusters:
            await made.aclose()
        await self.stop()

    async def start(self) -> None:
        """Listen; after `stop` at the same port again, with everything that was there."""
        self._over = False
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Nobody listens any more, every connection is cut. Idempotent."""
        self._over = True
        self._free.set()
        self._wake()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # How it answers

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = await _asked(request)
        self.asked.append(asked)
        self.before(asked)
        fault = self.fault(asked)
        if fault is Fault.HANG:
            await self._free.wait()
            fault = Fault.CUT if self._over else None
        if fault is Fault.CUT:
            return _hung_up(request)
        if fault is Fault.BUSY:
            headers = {"Retry-After": str(self.retry_after)}
            return _status(429, "TooManyRequests", "too many requests, please try again later", headers)
        if fault is Fault.BREAK:
            return _status(500, "InternalError", "etcdserver: request timed out")
        if fault in {Fault.DENY, Fault.UNSERVED}:
            return _no(fault, asked)
        try:
            if asked.query.get("watch"):
                return await self._watch(request, asked)
            body = self._serve(asked, request.content_type)
        except _Refused as refused:
            return _status(refused.status, refused.reason, str(refused))
        if fault is Fault.LOSE:
            return _hung_up(request)
        if fault is Fault.LIE:
            return _status(500, "InternalError", "etcdserver: request timed out")
        return web.json_response(body)

    def _serve(self, asked: Asked, content: str) -> Json:
        found = _PATH.fullmatch(asked.path)
        assert found is not None
        key = (found["root"], asked.plural, asked.namespace, asked.name)
        if asked.method == "GET":
            return self._one(key) if asked.name else self._list(key, asked.query)
        if asked.plural == "selfsubjectaccessreviews":
            wanted = asked.body["spec"]["resourceAttributes"]
            return {"status": {"allowed": (wanted["verb"], wanted["resource"]) not in self.forbidden}}
        if asked.method == "POST":
            return self._create(key, asked.body)
        old = self._one(key)
        if asked.method == "DELETE":
            self._remove(key)
            return {"kind": "Status", "status": "Success"}
        if asked.method == "PUT":
            new = {**old, **asked.body, "metadata": {**old["metadata"], **asked.body["metadata"]}}
        elif content == JSON_PATCH:
            try:
                new = json_patched(old, asked.body)
            except PatchFailed:
                words = "the server rejected our request due to an error in our request"
                raise _Refused(422, "Invalid", words) from None
        else:
            new = merged(old, asked.body)
        self._fence(key, old, new)
        return self._store(key, new) if new != old else old

    def _fence(self, key: Key, old: Json, new: Json) -> None:
        if new["metadata"].get("resourceVersion") in {None, "", old["metadata"]["resourceVersion"]}:
            return
        raise _Refused(
            409,
            "Conflict",
            f'Operation cannot be fulfilled on {_resource(key)} "{key[3]}": the object has been modified; '
            "please apply your changes to the latest version and try again",
        )

    def _create(self, key: Key, body: Json) -> Json:
        root, plural, namespace, _ = key
        if namespace and namespace not in self.namespaces:
            raise _Refused(404, "NotFound", f'namespaces "{namespace}" not found')
        metadata = {"namespace": namespace, **body["metadata"]}
        name = metadata.get("name") or f"{metadata['generateName']}{next(self._numbers)}"
        key = (root, plural, namespace, name)
        if key in self._objects:
            raise _Refused(409, "AlreadyExists", f'{_resource(key)} "{name}" already exists')
        return self._store(key, {**body, "metadata": {**metadata, "name": name}})

    def _one(self, key: Key) -> Json:
        if key not in self._objects:
            raise _Refused(404, "NotFound", f'{_resource(key)} "{key[3]}" not found')
        return copy.deepcopy(self._objects[key])

    def _list(self, key: Key, query: dict[str, str]) -> Json:
        items = [copy.deepcopy(self._objects[one]) for one in self._below(key)]
        chosen = [item for item in items if _selected(item, query)]
        return {"kind": "List", "metadata": {"resourceVersion": str(self._version)}, "items": chosen}

    def _below(self, key: Key) -> Iterator[Key]:
        for one in sorted(self._objects):
            if one[:2] == key[:2] and key[2] in {"", one[2]}:
                yield one

    async def _watch(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        found = _PATH.fullmatch(asked.path)
        assert found is not None
        key = (found["root"], asked.plural, asked.namespace, "")
        since, life = int(asked.query.get("resourceVersion") or self._version), self._ended
        if since < self._forgotten:
            raise _Refused(410, "Expired", f"too old resource version: {since} ({self._forgotten})")
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not self._over and life == self._ended:
                moved = self._moved
                for version, what, of, thing in [] if self.withheld else list(self._log):
                    if version > since and of[:2] == key[:2] and key[2] in {"", of[2]}:
                        since = version
                        if _selected(thing, asked.query):
                            await answer.write(json.dumps({"type": what, "object": thing}).encode() + b"\n")
                await moved.wait()
        return answer

    def _store(self, key: Key, thing: Json) -> Json:
        old = self._objects.get(key)
        self._version = next(self._numbers)
        metadata = {
            "uid": str(uuid4()),
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "generation": 1,
            **({} if old is None else {name: old["metadata"][name] for name in ("uid", "creationTimestamp")}),
            **thing["metadata"],
            "resourceVersion": str(self._version),
        }
        if old is not None and old.get("spec") != thing.get("spec"):
            metadata["generation"] = old["metadata"]["generation"] + 1
        self._objects[key] = {**thing, "metadata": metadata}
        self._changes[key] = 0 if old is None else self._changes[key] + 1
        self._tell("ADDED" if old is None else "MODIFIED", key)
        self.after(key[1])
        return copy.deepcopy(self._objects[key])

    def _remove(self, key: Key) -> None:
        self._version = next(self._numbers)
        self._objects[key]["metadata"]["resourceVersion"] = str(self._version)
        self._tell("DELETED", key)
        del self._objects[key]
        self.after(key[1])

    def _tell(self, what: str, key: Key) -> None:
        self._log.append((self._version, what, key, copy.deepcopy(self._objects[key])))
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    @staticmethod
    def _key(kind: Kind[Any], namespace: str, name: str) -> Key:
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        return root, kind.plural, namespace, name


class NoAuth:
    """In the place of kubernetes-asyncio's configuration: nobody asks who we are."""

    async def auth_settings(self) -> dict[str, Any]:
        return {}


async def _asked(request: web.Request) -> Asked:
    found = _PATH.fullmatch(request.path)
    text = await request.read()
    return Asked(
        method=request.method,
        path=request.path,
        plural=found["plural"] if found else "",
        namespace=(found["namespace"] or "") if found else "",
        name=(found["name"] or "") if found else "",
        query=dict(request.query),
        body=json.loads(text) if text else None,
    )


def _hung_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _no(fault: Fault | None, asked: Asked) -> web.Response:
    if fault is Fault.UNSERVED:
        return web.Response(status=404, text="404 page not found\n")
    return _status(403, "Forbidden", _denied(asked))


def _status(status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return web.json_response(
        {**body, "reason": reason, "message": message, "code": status}, status=status, headers=headers
    )


def _denied(asked: Asked) -> str:
    verb = {"GET": "get" if asked.name else "list", "POST": "create", "PUT": "update"}.get(
        asked.method, asked.method.lower()
    )
    what = f'{asked.plural} "{asked.name}"' if asked.name else asked.plural
    return (
        f'{what} is forbidden: User "system:serviceaccount:watchdog:watchdog" cannot {verb} resource '
        f'"{asked.plural}" in the namespace "{asked.namespace}"'
    )


def _resource(key: Key) -> str:
    group = key[0].split("/")[2] if key[0].startswith("/apis/") else ""
    return f"{key[1]}.{group}" if group else key[1]


def _selected(thing: Json, query: dict[str, str]) -> bool:
    labels = thing["metadata"].get("labels", {})
    for term in filter(None, query.get("labelSelector", "").split(",")):
        name, equals, value = term.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        name, _, value = term.partition("=")
        assert name in {"metadata.name", "metadata.namespace"}, name
        if thing["metadata"].get(name.removeprefix("metadata.")) != value:
            return False
    return True


@contextlib.asynccontextmanager
async def fake_api() -> AsyncIterator[FakeApi]:
    """A running one."""
    async with FakeApi() as api:
        yield api

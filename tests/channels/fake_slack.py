"""Slack on loopback, as its documentation has it: tokens, scopes, limits of blocks, threads, uploads, buttons, sockets.

It refuses what Slack refuses, under the same names, and keeps what it took. A test makes it busy, broken, slow or gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import WSMsgType, web

TOKEN = "xoxb-canary-7c1d-bot-token"
APP_TOKEN = "xapp-canary-9f2e-app-token"
SIGNING_SECRET = "canary-3b6a-signing-secret"
WEBHOOK_SECRET = "canary4d5fWebhookPath"
CHANNEL, NAME = "C024BE91LMN", "#ops"
SCOPES = frozenset({"chat:write", "files:write", "usergroups:read", "channels:read", "channels:history"})

_NEEDS = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
    "usergroups.users.list": "usergroups:read",
    "conversations.info": "channels:read",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "auth.test": "",
}
#: What an answer may be instead of the right one.
Trick = Callable[[web.Request], Awaitable[web.StreamResponse]]


def error(name: str, **more: Any) -> Trick:
    """Slack's usual way to say no: HTTP 200, and a name."""
    return answer(200, {"ok": False, "error": name, **more})


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Trick:
    async def tell(_: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        kind = "text/html" if isinstance(body, str) else "application/json"
        return web.Response(status=status, text=text, headers=headers, content_type=kind)

    return tell


async def hang(_: web.Request) -> web.StreamResponse:
    """Take it, and say nothing."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def close(request: web.Request) -> web.StreamResponse:
    """Take it, and hang up."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@dataclass
class Posted:
    """One message as it stands now; `history` are its earlier forms."""

    channel: str
    ts: str
    body: dict[str, Any]
    thread_ts: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def blocks(self) -> list[dict[str, Any]]:
        inner = [block for one in self.body.get("attachments") or () for block in one.get("blocks") or ()]
        return [*(self.body.get("blocks") or ()), *inner]

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """By label."""
        found = [one for block in self.blocks if block["type"] == "actions" for one in block["elements"]]
        return {one["text"]["text"]: one for one in found}

    @property
    def shown(self) -> str:
        """All text that people see."""
        return "\n".join(_texts(self.blocks)) or self.body["text"]


class FakeSlack:
    """One workspace with one app in it."""

    def __init__(self) -> None:
        self.scopes = SCOPES
        self.archived = False
        self.member = True
        self.posts: list[Posted] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.hooked: list[dict[str, Any]] = []
        """What came by the incoming webhook."""
        self.files: list[dict[str, Any]] = []
        """What was uploaded and shared."""
        self.told: list[dict[str, Any]] = []
        """What people were answered after a press."""
        self.groups: dict[str, list[str]] = {"S0ONCALL": ["U0GROUPED"]}
        self.rate: float | None = None
        """Seconds between two messages in one channel; `None`: no limit."""
        self.port = 0
        self.opened = 0
        """How many sockets were ever open."""
        self.sockets: list[web.WebSocketResponse] = []
        self.acknowledged: list[str] = []
        """Envelopes that were acknowledged."""
        self._tricks: dict[str, deque[Trick]] = defaultdict(deque)
        self._always: dict[str, Trick] = {}
        self._numbers = itertools.count(1)
        self._uploads: dict[str, bytes | None] = {}
        self._last: dict[str, float] = {}
        self._tickets: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/"

    @property
    def webhook(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T0/B0/{WEBHOOK_SECRET}"

    def trick(self, method: str, *tricks: Trick) -> None:
        """Answer the next calls of a method so; `webhook`, `upload` and `response` are methods, too."""
        self._tricks[method].extend(tricks)

    def always(self, method: str, trick: Trick | None) -> None:
        """Answer every call of a method so, until told otherwise."""
        if trick is None:
            self._always.pop(method, None)
        else:
            self._always[method] = trick

    def called(self, method: str) -> list[dict[str, Any]]:
        """The bodies of the calls of a method, those that failed too."""
        return [body for name, body in self.calls if name == method]

    @property
    def roots(self) -> list[Posted]:
        return [post for post in self.posts if not post.thread_ts]

    def thread(self, ts: str) -> list[Posted]:
        return [post for post in self.posts if post.thread_ts == ts]

    def find(self, ts: str) -> Posted | None:
        return next((post for post in self.posts if post.ts == ts), None)

    # What a person does

    def payload(
        self, post: Posted, label: str, *, user: str = "U0ALLOWED", name: str = "ana", **changes: Any
    ) -> dict[str, Any]:
        """What Slack sends when somebody presses a button."""
        button = post.buttons[label]
        number = next(self._numbers)
        return {
            "type": "block_actions",
            "user": {"id": user, "username": name, "name": name, "team_id": "T0"},
            "api_app_id": "A0",
            "team": {"id": "T0", "domain": "example"},
            "container": {"type": "message_attachment", "message_ts": post.ts, "channel_id": post.channel},
            "trigger_id": f"12345.98765.{number}",
            "channel": {"id": post.channel, "name": NAME[1:]},
            "message": {"ts": post.ts, "text": post.body.get("text", "")},
            "response_url": f"http://127.0.0.1:{self.port}/actions/T0/{number}/answer",
            "actions": [
                {
                    "type": "button",
                    "action_id": button["action_id"],
                    "block_id": "rollback_watchdog",
                    "text": button["text"],
                    "value": button["value"],
                    "action_ts": f"1767270605.{number:06}",
                }
            ],
            **changes,
        }

    async def press(self, post: Posted, label: str, **who: Any) -> str:
        """Press a button; over one open socket, as Slack does. Answers the envelope's id."""
        return await self.push(self.payload(post, label, **who))

    async def push(self, payload: Any, *, kind: str = "interactive", envelope: str = "") -> str:
        identity = envelope or f"env-{next(self._numbers)}"
        said = {
            "envelope_id": identity,
            "type": kind,
            "accepts_response_payload": False,
            "payload": payload,
        }
        await self.sockets[-1].send_str(json.dumps(said))
        return identity

    async def disconnect(self, reason: str) -> None:
        """What Slack sends before it closes a socket."""
        await self.sockets[-1].send_str(json.dumps({"type": "disconnect", "reason": reason}))

    # What Slack is

    async def api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        body = await _body(request)
        self.calls.append((method, body))
        if (trick := self._trick(method)) is not None:
            return await trick(request)
        wrong = self._wrong(request, method)
        if wrong is not None:
            return await wrong(request)
        handler: Callable[[dict[str, Any]], dict[str, Any]] = getattr(self, "_" + method.replace(".", "_"))
        result = handler(body)
        if result.get("error") == "ratelimited":
            return web.json_response(result, status=429, headers={"Retry-After": "1"})
        return web.json_response(result, headers={"X-OAuth-Scopes": ",".join(sorted(self.scopes))})

    def _trick(self, method: str) -> Trick | None:
        return self._tricks[method].popleft() if self._tricks[method] else self._always.get(method)

    def _wrong(self, request: web.Request, method: str) -> Trick | None:
        given = request.headers.get("Authorization", "")
        wanted = APP_TOKEN if method == "apps.connections.open" else TOKEN
        if not given:
            return error("not_authed")
        if given != f"Bearer {wanted}":
            return error("invalid_auth")
        needed = _NEEDS.get(method, "")
        if needed and needed not in self.scopes:
            return error("missing_scope", needed=needed, provided=",".join(sorted(self.scopes)))
        return None

    def _auth_test(self, _body: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "user": "watchdog", "team": "example", "bot_id": "B0"}

    def _chat_postMessage(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        refused = self._place(body) or faults(body)
        if refused:
            return {"ok": False, "error": refused}
        if self._too_fast(CHANNEL):
            return {"ok": False, "error": "ratelimited"}
        thread = str(body.get("thread_ts") or "")
        root = self.find(thread) if thread else None
        if thread and (root is None or root.thread_ts):
            return {"ok": False, "error": "thread_not_found"}
        number = next(self._numbers)
        post = Posted(channel=CHANNEL, ts=f"17672706{number:02}.{number:06}", body=body, thread_ts=thread)
        self.posts.append(post)
        return {"ok": True, "channel": CHANNEL, "ts": post.ts, "message": {"text": body.get("text", "")}}

    def _chat_update(self, body: dict[str, Any]) -> dict[str, Any]:
        post = self.find(str(body.get("ts", "")))
        if post is None or body.get("channel") != post.channel:  # unlike posting, it takes no name
            return {"ok": False, "error": "message_not_found"}
        if refused := faults(body):
            return {"ok": False, "error": refused}
        post.history.append(post.body)
        post.body = {**post.body, **body}
        return {"ok": True, "channel": post.channel, "ts": post.ts}

    def _conversations_info(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("channel") != CHANNEL:
            return {"ok": False, "error": "channel_not_found"}
        return {
            "ok": True,
            "channel": {"id": CHANNEL, "is_archived": self.archived, "is_member": self.member},
        }

    def _conversations_history(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("channel") != CHANNEL:
            return {"ok": False, "error": "channel_not_found"}
        return {"ok": True, "messages": [_seen(post, body) for post in reversed(self.roots)]}

    def _conversations_replies(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "messages": [_seen(post, body) for post in self.thread(str(body.get("ts")))]}

    def _usergroups_users_list(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("usergroup") not in self.groups:
            return {"ok": False, "error": "no_such_subteam"}
        return {"ok": True, "users": self.groups[body["usergroup"]]}

    def _files_getUploadURLExternal(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        if not body.get("filename") or int(body.get("length", 0)) <= 0:
            return {"ok": False, "error": "missing_argument"}
        if len(str(body.get("alt_txt", ""))) > 1000:
            return {"ok": False, "error": "alt_txt_too_large"}
        identity = f"F{next(self._numbers):08}"
        self._uploads[identity] = None
        address = f"http://127.0.0.1:{self.port}/upload/v1/{identity}"
        return {"ok": True, "upload_url": address, "file_id": identity}

    def _files_completeUploadExternal(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        for one in body["files"]:
            content = self._uploads.get(one["id"])
            if content is None:
                return {"ok": False, "error": "file_not_found"}
            if body.get("thread_ts") and self.find(body["thread_ts"]) is None:
                return {"ok": False, "error": "invalid_thread_ts"}
            place = {"channel": body.get("channel_id"), "thread_ts": body.get("thread_ts")}
            self.files.append({**one, **place, "content": content})
        return {"ok": True, "files": body["files"]}

    def _apps_connections_open(self, _body: dict[str, Any]) -> dict[str, Any]:
        if len(self.sockets) >= 10:
            return {"ok": False, "error": "too_many_websockets"}
        ticket = f"ticket-{next(self._numbers)}"
        self._tickets.add(ticket)
        return {"ok": True, "url": f"ws://127.0.0.1:{self.port}/link/?ticket={ticket}"}

    def _place(self, body: dict[str, Any]) -> str:
        if body.get("channel") not in {CHANNEL, NAME, NAME[1:]}:
            return "channel_not_found"
        if self.archived:
            return "is_archived"
        return "" if self.member else "not_in_channel"

    def _too_fast(self, channel: str) -> bool:
        now = asyncio.get_running_loop().time()
        if self.rate is not None and now - self._last.get(channel, -1e9) < self.rate:
            return True
        self._last[channel] = now
        return False

    async def take_and_go(self, request: web.Request) -> web.StreamResponse:
        """A trick: post what came, and let the answer be lost."""
        self._chat_postMessage(self.calls[-1][1])
        return await close(request)

    async def hook(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        self.calls.append(("webhook", body))
        if (trick := self._trick("webhook")) is not None:
            return await trick(request)
        if request.match_info["secret"] != WEBHOOK_SECRET:
            return web.Response(status=404, text="no_service")
        if self.archived:
            return web.Response(status=410, text="channel_is_archived")
        if refused := faults(body):
            return web.Response(status=400, text=refused)
        self.hooked.append(body)
        return web.Response(text="ok")

    async def upload(self, request: web.Request) -> web.StreamResponse:
        if (trick := self._trick("upload")) is not None:
            return await trick(request)
        assert "Authorization" not in request.headers, "the token is for the API alone"
        self._uploads[request.match_info["file"]] = await request.read()
        return web.Response(text="OK - 1")

    async def respond(self, request: web.Request) -> web.StreamResponse:
        if (trick := self._trick("response")) is not None:
            return await trick(request)
        self.told.append(await request.json())
        return web.Response(text="ok")

    async def link(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:  # one socket a ticket
            return web.Response(status=403)
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        self.opened += 1
        try:
            await socket.send_str(json.dumps({"type": "hello", "num_connections": len(self.sockets)}))
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.acknowledged.append(json.loads(message.data)["envelope_id"])
        finally:
            self.sockets.remove(socket)
        return socket


def signed(
    payload: dict[str, Any] | None, *, secret: str = SIGNING_SECRET, at: float | None = None, raw: bytes = b""
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a callback over HTTP."""
    body = raw or urlencode({"payload": json.dumps(payload)}).encode()
    stamp = str(int(time.time() if at is None else at))
    mark = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={mark}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return headers, body


def faults(body: dict[str, Any]) -> str:
    """The name under which Slack refuses a message's shape; empty when it does not."""
    if not body.get("text") and not body.get("blocks") and not body.get("attachments"):
        return "no_text"
    if len(str(body.get("text", ""))) > 40_000:
        return "msg_too_long"
    if len(body.get("attachments") or ()) > 100:
        return "too_many_attachments"
    parts = [body.get("blocks") or [], *(one.get("blocks") or [] for one in body.get("attachments") or ())]
    if not all(len(part) <= 50 and all(_good(block) for block in part) for part in parts):
        return "invalid_blocks"
    if sum(len(json.dumps(part, ensure_ascii=False)) for part in parts) > 13_200:
        return "msg_blocks_too_long"
    if len(json.dumps(body.get("metadata", {}))) > 16_000:
        return "metadata_too_large"
    return ""


def _good(block: dict[str, Any]) -> bool:
    if len(block.get("block_id", "")) > 255:
        return False
    match block["type"]:
        case "header":
            return _text(block["text"], 150, "plain_text")
        case "section":
            fields = block.get("fields", [])
            whole = "text" not in block or _text(block["text"], 3000)
            return (
                whole
                and len(fields) <= 10
                and all(_text(one, 2000) for one in fields)
                and bool(fields or "text" in block)
            )
        case "context":
            return 1 <= len(block["elements"]) <= 10 and all(_text(one, 3000) for one in block["elements"])
        case "actions":
            names = [one["action_id"] for one in block["elements"]]
            return (
                1 <= len(names) <= 25
                and len(set(names)) == len(names)
                and all(_button(one) for one in block["elements"])
            )
        case "divider":
            return True
        case _:
            return False


def _text(text: dict[str, Any], most: int, kind: str = "") -> bool:
    right = text["type"] in ({kind} if kind else {"plain_text", "mrkdwn"})
    return right and 1 <= _long(text["text"]) <= most


def _button(button: dict[str, Any]) -> bool:
    confirm = button.get("confirm")
    fine = confirm is None or (
        _text(confirm["title"], 100, "plain_text")
        and _text(confirm["text"], 300)
        and _text(confirm["confirm"], 30, "plain_text")
        and _text(confirm["deny"], 30, "plain_text")
    )
    named = _text(button["text"], 75, "plain_text") and 1 <= len(button["action_id"]) <= 255
    styled = button.get("style", "primary") in {"primary", "danger"}
    return fine and named and styled and len(button.get("value", "")) <= 2000


def _long(text: str) -> int:
    """Nobody outside knows how Slack counts: the larger way."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _texts(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["text"]] if isinstance(part.get("text"), str) else []
        return own + [text for name, one in part.items() if name != "confirm" for text in _texts(one)]
    if isinstance(part, list):
        return [text for one in part for text in _texts(one)]
    return []


def _seen(post: Posted, body: dict[str, Any]) -> dict[str, Any]:
    seen = {"ts": post.ts, "text": post.body.get("text", "")}
    if str(body.get("include_all_metadata", "")).lower() in {"true", "1"}:
        seen["metadata"] = post.body.get("metadata", {})
    return seen


async def _body(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        found = await request.json() if request.can_read_body else {}
        return found if isinstance(found, dict) else {}
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


@contextlib.asynccontextmanager
async def slack(fake: FakeSlack | None = None) -> AsyncIterator[FakeSlack]:
    """A workspace, until the end of the test."""
    fake = fake or FakeSlack()
    app = web.Application(client_max_size=4 * 1024 * 1024)
    app.router.add_post("/api/{method}", fake.api)
    app.router.add_post("/services/T0/B0/{secret}", fake.hook)
    app.router.add_post("/upload/v1/{file}", fake.upload)
    app.router.add_post("/actions/T0/{number}/answer", fake.respond)
    app.router.add_get("/link/", fake.link)
    runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.port = runner.addresses[0][1]
    try:
        yield fake
    finally:
        for socket in list(fake.sockets):
            await socket.close()
        await runner.cleanup()

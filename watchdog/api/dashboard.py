"""The dashboard: three files that come with the package, served to everybody because they hold no data.

What the page shows it asks of the API, like everybody else and with the same tokens. The headers keep it from running
or loading anything but these files, and others from framing it. This module must never put a value into a page.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Final

from aiohttp import hdrs, web

from watchdog.api.context import Call

#: By name of the file.
MEDIA_TYPES: Final = {
    "dashboard.html": "text/html",
    "dashboard.js": "text/javascript",
    "dashboard.css": "text/css",
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    hdrs.CACHE_CONTROL: "no-cache",
}


@functools.cache
def _content(name: str) -> bytes:
    return resources.files("watchdog.api").joinpath(name).read_bytes()


def serving(name: str) -> Callable[[Call], Awaitable[web.Response]]:
    """A handler that answers with one of the files."""

    async def serve(_: Call) -> web.Response:
        body = await asyncio.to_thread(_content, name)
        return web.Response(body=body, content_type=MEDIA_TYPES[name], charset="utf-8", headers=_HEADERS)

    return serve

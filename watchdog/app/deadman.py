"""What the doctor can say of the dead-man service without a sign of life: whether somebody answers there.

Asking the address would be one, and would hide that no daemon gives any. This module must never send a request there,
or show the address.
"""

from __future__ import annotations

import asyncio
import os
import ssl

from yarl import URL

from watchdog.app.finding import Finding, Health
from watchdog.config.loaded import Configuration
from watchdog.core.units import format_duration

_WHAT = "heartbeat"
_ADVICE = "without it nobody outside notices that the watchdog is gone"


async def heartbeat(configuration: Configuration) -> list[Finding]:
    """Connect (with TLS where the address says so) and hang up. Nothing where none is configured."""
    settings = configuration.heartbeat
    if settings is None:
        return []
    try:
        url = URL(settings.url.get_secret_value())
        secure = url.scheme == "https"
        tls = ssl.create_default_context(cafile=settings.ca_file) if secure else None
        async with asyncio.timeout(settings.timeout.total_seconds()):
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=tls)
            writer.transport.abort()
    except TimeoutError:
        return [_bad(f"no connection: nothing within {format_duration(settings.timeout)}")]
    except ssl.SSLCertVerificationError as error:
        return [_bad(f"no connection: the certificate is not trusted: {error.verify_message}")]
    except (OSError, ValueError) as error:
        # Only the number of an error: its text may hold the address.
        number = error.errno if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
        said = f": {os.strerror(number)}" if number and number > 0 else ""
        return [_bad(f"no connection: {type(error).__name__}{said}")]
    every = format_duration(settings.every)
    detail = f"somebody answers there; a sign of life every {every} proves the rest, from the daemon only"
    return [Finding(what=_WHAT, health=Health.OK, detail=detail)]


def _bad(detail: str) -> Finding:
    return Finding(what=_WHAT, health=Health.BAD, detail=detail, advice=_ADVICE)

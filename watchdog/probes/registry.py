"""Every kind of probe, and where it is."""

from __future__ import annotations

KINDS = {
    "http": "watchdog.probes.http:HttpProbe",
}

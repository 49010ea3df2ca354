"""Every kind of source, and where it is."""

from __future__ import annotations

KINDS = {
    "prometheus": "watchdog.sources.prometheus:PrometheusSource",
    "scrape": "watchdog.sources.scrape:ScrapeSource",
}

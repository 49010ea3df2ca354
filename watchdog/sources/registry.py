"""Every kind of source, and where it is."""

from __future__ import annotations

KINDS = {
    "kubernetes": "watchdog.sources.kubernetes:KubernetesSource",
    "prometheus": "watchdog.sources.prometheus:PrometheusSource",
    "scrape": "watchdog.sources.scrape:ScrapeSource",
}

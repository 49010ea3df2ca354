"""Every way to decide who leads, and where it is."""

from __future__ import annotations

#: The kind that stands alone, and is meant when none is named.
ALONE = "single"

KINDS = {
    "kubernetes-lease": "watchdog.leader.kubernetes_lease:LeaseLeadership",
    "postgres": "watchdog.leader.postgres:PostgresLeadership",
    ALONE: "watchdog.leader.single:SingleLeadership",
}

"""Every kind of probe, and where it is."""

from __future__ import annotations

KINDS = {
    "command": "watchdog.probes.command:CommandProbe",
    "grpc": "watchdog.probes.grpc:GrpcProbe",
    "http": "watchdog.probes.http:HttpProbe",
    "kubernetes": "watchdog.probes.kubernetes:KubernetesProbe",
    "tcp": "watchdog.probes.tcp:TcpProbe",
}

"""A gRPC server with the standard health service, as the grpc project's own Python package has it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.servers.certificates import Certificate


class HealthServer:
    """`with HealthServer() as server:` answers at `server.port`; `tell` says what it answers about a service."""

    def __init__(self, *, certificate: Certificate | None = None, knows_health: bool = True) -> None:
        self._health = health.HealthServicer()
        self._workers = ThreadPoolExecutor(max_workers=2)
        self._server: Any = grpc.server(self._workers)
        if knows_health:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if certificate is None:
            self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        else:
            pair = certificate.key.read_bytes(), certificate.file.read_bytes()
            credentials = grpc.ssl_server_credentials([pair])
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)

    def tell(self, service: str, status: str) -> None:
        """Answer with this status from now on, such as `NOT_SERVING`."""
        self._health.set(service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait(5)
        self._workers.shutdown()

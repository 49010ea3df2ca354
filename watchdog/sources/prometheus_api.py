"""Shapes of Prometheus's HTTP API, as far as they are read.

Whatever does not fit one of these is no answer. This module must never judge what an answer says.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class Series(msgspec.Struct, frozen=True):
    """One series of an instant vector."""

    value: tuple[float, str | float]
    metric: dict[str, str] = {}


class Vector(msgspec.Struct, frozen=True, tag_field="resultType", tag="vector"):
    """The answer that is wanted."""

    result: list[Series]


class Scalar(msgspec.Struct, frozen=True, tag_field="resultType", tag="scalar"):
    """One number without labels."""

    result: tuple[float, str | float]


class Matrix(msgspec.Struct, frozen=True, tag_field="resultType", tag="matrix"):
    """A range of samples, which no rule asks for."""

    result: msgspec.Raw = msgspec.Raw()


class String(msgspec.Struct, frozen=True, tag_field="resultType", tag="string"):
    """A text, which no rule asks for."""

    result: msgspec.Raw = msgspec.Raw()


class Fault(msgspec.Struct, frozen=True):
    """The API's error shape; `status` is `error`."""

    status: str
    errorType: str = ""  # noqa: N815 - the API's own word
    error: str = ""


class Reply(msgspec.Struct, frozen=True):
    """The answer of `/query`."""

    status: str
    data: Vector | Scalar | Matrix | String | None = None
    warnings: list[str] | None = None


class Started(msgspec.Struct, frozen=True):
    """When the server was started."""

    startTime: datetime  # noqa: N815 - the API's own word


class RuntimeInfo(msgspec.Struct, frozen=True):
    """The answer of `/status/runtimeinfo`, as far as it is read."""

    data: Started


class Build(msgspec.Struct, frozen=True):
    """The server's version."""

    version: str


class BuildInfo(msgspec.Struct, frozen=True):
    """The answer of `/status/buildinfo`, as far as it is read."""

    data: Build


class Listed(msgspec.Struct, frozen=True):
    """The answer of `/label/NAME/values`."""

    data: list[str]


replies = msgspec.json.Decoder(Reply)
faults = msgspec.json.Decoder(Fault)
runtime = msgspec.json.Decoder(RuntimeInfo)
builds = msgspec.json.Decoder(BuildInfo)
listed = msgspec.json.Decoder(Listed)

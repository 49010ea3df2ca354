"""The base of every provider's settings, and the field types they share.

Settings are what a user wrote, validated: unknown keys are errors, values frozen. This module must never read a file.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr

from watchdog.core.units import format_duration, parse_duration


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(
            f"{value!r} is not a duration; write a number with a unit such as 30s, 5m, 1h or 500ms"
        )
    return parse_duration(str(value))


def _secret(value: Any) -> SecretStr:
    if isinstance(value, SecretStr):
        return value
    raise ValueError("a secret is not written here; use `!env NAME` or `!file PATH`")


# For the JSON Schemas: never narrower than what is read. `0` needs no unit.
_WrittenDuration = (
    Annotated[str, Field(pattern=r"^\s*(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+)\s*$")] | Literal[0]
)

#: A duration as people write it (`30s`); `0` is allowed.
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=_WrittenDuration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
]
#: A duration above zero.
PositiveDuration = Annotated[Duration, Field(gt=timedelta())]
_LookedUp = Annotated[str, Field(description="`!env NAME` or `!file PATH`, never in the open.")]
#: A secret; only `!env NAME` and `!file PATH` make one.
Secret = Annotated[SecretStr, BeforeValidator(_secret, json_schema_input_type=_LookedUp)]


class Settings(BaseModel):
    """Base of all settings: unknown keys are errors, no value changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class ProviderSettings(Settings):
    """What every provider takes. `kind` chose the provider and is not repeated here."""

    timeout: PositiveDuration = timedelta(seconds=5)
    """Longest time for one call to the outside."""


class HttpSettings(ProviderSettings):
    """What every provider that talks HTTP takes."""

    url: str = Field(pattern=r"^https?://[^\s]+$")
    """Base address, `http://` or `https://`."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""

"""Bodies: what may be posted. Unknown keys are errors, and every mistake is said at once with its place.

This module must never let a value through that a record, a log line or a message could not carry.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from watchdog.api.problem import Mistake, Problem
from watchdog.core.silence import LONGEST
from watchdog.settings.registry import nearest

#: A posted `started_at` may be this far ahead of our clock.
CLOCK_SKEW = timedelta(seconds=5)

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("control characters are not allowed")
    if value != value.strip():
        raise ValueError("blanks at the start or end are not allowed")
    return value


def _prose(value: str) -> str:
    if not value.replace("\n", " ").replace("\t", " ").isprintable():
        raise ValueError("control characters are not allowed")
    return value.strip()


def _moment(value: Any) -> datetime:
    if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
        raise ValueError("is not a time with a zone, such as 2026-03-14T15:09:26Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists, such as 2026-03-14T15:09:26Z") from None


Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Prose = Annotated[str, Field(max_length=2000), AfterValidator(_prose)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Link = Annotated[str, Field(max_length=2000, pattern=r"^https?://[^\s]+$"), AfterValidator(_printable)]
#: Also what Kubernetes calls a label, such as `app.kubernetes.io/name`.
LabelName = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_./-]*[A-Za-z0-9_])?$")]
LabelValue = Annotated[str, Field(max_length=200), AfterValidator(_printable)]


Labels = Annotated[dict[LabelName, LabelValue], Field(max_length=32)]


def _some(labels: dict[str, str] | None) -> dict[str, str]:
    """`null` is as if it was left out."""
    return labels or {}


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class PostedDeployment(Body):
    """A version that goes, or went, to a variant of a service."""

    service: Word
    """The service's name in the configuration."""
    version: Word
    """What was deployed: a tag, an image digest, a commit."""
    variant: Word
    """Where it lives, as the service's traffic switch names it."""
    started_at: Moment | None = None
    """When the deployment began (RFC 3339); now when left out."""
    source: Word | None = None
    """What deployed it, such as the name of a pipeline."""
    url: Link | None = None
    """Where to read more, such as the pipeline's page."""
    rollback: Literal["allowed", "forbidden"] = "allowed"
    """`forbidden`: nothing is rolled back from this version, nor to it (an irreversible migration, a hotfix)."""
    labels: Annotated[Labels | None, AfterValidator(_some)] = {}
    """Labels for routes and messages."""


class PostedRollback(Body):
    """A person's wish to move traffic back."""

    reason: Annotated[Prose, Field(min_length=1)]
    """Why; goes into the record and the messages."""
    to: Word | None = None
    """The version to go back to; the last known good one when left out."""


class PostedReason(Body):
    """Why, if anybody wants to say."""

    reason: Prose | None = None
    """Goes into the record and the messages."""


class PostedAcknowledgement(Body):
    """Somebody looks after an incident."""

    reason: Prose | None = None
    """Goes into the record."""
    for_seconds: Annotated[float, Field(gt=0, le=LONGEST.total_seconds())] | None = None
    """For how long, at most 30 days; as long as the escalation policy says when left out."""


class PostedVersion(Body):
    """A person's word on one version of a service."""

    version: Word
    """The version, as it was announced or as the switch tells it."""
    reason: Annotated[Prose, Field(min_length=1)]
    """Why; goes into the record."""


class PostedSilence(Body):
    """What nobody needs to hear of for a while. Rollbacks are made and told all the same."""

    matchers: Annotated[dict[Word, Word], Field(max_length=16)]
    """What it is about, every one of them: `service`, `environment`, `severity`, `rule`, `source`, `version`,
    `incident` or `label.NAME`, each with its value."""
    reason: Annotated[Prose, Field(min_length=1)]
    """Why; goes into the record."""
    ends_at: Moment | None = None
    """When it ends (RFC 3339), at most 30 days from now. Either this or `for_seconds`."""
    for_seconds: Annotated[float, Field(gt=0, le=LONGEST.total_seconds())] | None = None
    """How long it lasts."""


B = TypeVar("B", bound=Body)


def parse(model: type[B], raw: bytes) -> B:
    """The body as that model. Raises 400 for what is no JSON object, 422 with every mistake for the rest."""
    return checked(model, decode(raw))


def checked(model: type[B], document: dict[str, Any], *, at: str = "#") -> B:
    """A decoded object as that model; `at` points to where it stood in the body. Raises 422 with every mistake."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        mistakes = tuple(_mistake(model, dict(item), at) for item in error.errors(include_url=False))
    raise refuse(*mistakes)


def refuse(*mistakes: Mistake) -> Problem:
    """The 422 that lists these mistakes."""
    count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    listed = "; ".join(f"{mistake.pointer}: {mistake.detail}" for mistake in mistakes[:5])
    return Problem(422, f"{count} in the body: {listed}", errors=mistakes)


def decode(raw: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises 400 for anything else."""
    try:
        document = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
        # A lone surrogate is legal JSON, but no store and no answer can carry it.
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise Problem(400, "the body is not JSON in UTF-8") from None
    except ValueError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    except RecursionError:
        raise Problem(400, "the body is nested too deeply") from None
    if not isinstance(document, dict):
        raise Problem(400, "the body is not a JSON object")
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _mistake(model: type[Body], error: dict[str, Any], at: str) -> Mistake:
    place = [str(part) for part in error["loc"] if part != "[key]"]
    pointer = at + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in place)
    match error["type"]:
        case "missing":
            detail = "is required"
        case "extra_forbidden":
            guess = nearest(place[-1], model.model_fields)
            detail = "is not a known key" + (f"; did you mean {guess!r}?" if guess else "")
        case "string_too_short" | "too_short":  # the second one after blanks were taken away
            detail = "must not be empty"
        case "string_too_long":
            detail = f"has more than {error['ctx']['max_length']} characters"
        case "string_pattern_mismatch" if "[key]" in error["loc"]:
            detail = "is no name of a label: letters, digits and `_ . / -` between them, such as app.kubernetes.io/name"
        case "string_pattern_mismatch":
            detail = "is not an address that begins with http:// or https:// and has no blanks"
        case _:
            detail = str(error["msg"]).removeprefix("Value error, ")
    return Mistake(pointer=pointer, detail=detail)

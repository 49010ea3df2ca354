"""What to ask for a check over history: the same parts that the daemon asks for, of the versions that served then.

A rule that names the version is asked once for each deployment that is known, for as long as it served; where none is
known, or what it is compared with lies before its deployment, for all versions together: only the condition on the
version is widened. Which, is said. This module must never ask, and never ask for something else than the rule does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from watchdog.config.loaded import Configuration
from watchdog.core.check import CheckId
from watchdog.core.checks import filled_form
from watchdog.core.dealing import Hand, narrowed
from watchdog.core.promql import parts_of
from watchdog.core.rule import MetricForm, ProbeForm, Rule
from watchdog.core.service import Service
from watchdog.core.variables import names_in
from watchdog.core.widening import PLACES, widened
from watchdog.lab.deployments import Serving

#: The kind of source that can be asked about the past.
ASKABLE = "prometheus"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One check to ask for, from `begin` to `end`: the PromQL of every part, by the part's name.

    `version` is empty where it is asked of all together. Of the series only those with all the labels `of` are its own.
    """

    service: str
    rule: Rule
    source: str
    parts: Mapping[str, str]
    begin: datetime
    end: datetime
    version: str = ""
    of: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


class NotAskable(Exception):
    """A check that no source can be asked about over history; `str()` says why."""


def asked(
    configuration: Configuration,
    service_name: str,
    rule_name: str,
    *,
    begin: datetime,
    end: datetime,
    deployments: tuple[Serving, ...] = (),
) -> tuple[Asked, ...]:
    """What to ask for one rule on one service. `deployments` are those of the service.

    Raises `NotAskable` for a probe, for a source that has no history, and where it cannot be said what to ask;
    `KeyError` for a name that the configuration does not have.
    """
    rule = configuration.rules[rule_name]
    service = configuration.services[service_name].service
    if isinstance(rule.form, ProbeForm):
        raise NotAskable("a probe: nobody knows what it would have answered then")
    kind = configuration.sources[str(rule.source)].kind
    if kind != ASKABLE:
        raise NotAskable(f"source {rule.source!r} is of kind {kind}, which keeps no history")
    whole = Asked(service=service_name, rule=rule, source=str(rule.source), parts={}, begin=begin, end=end)
    if rule.match is not None:
        return (_matched(whole, service),)
    if not _names_place(rule):
        form = _form(rule, service, {})
        return (msgspec.structs.replace(whole, parts=_parts(rule, form)),)
    serving = [one for one in deployments if one.started_at < end and (one.ended_at or end) > begin]
    by_id = "deployment" in _names(rule)
    if serving and rule.baseline is None and not (by_id and not all(one.id for one in serving)):
        return _of_versions(whole, serving, service)
    return (_widened(whole, service, known=bool(serving)),)


def _of_versions(whole: Asked, serving: list[Serving], service: Service) -> tuple[Asked, ...]:
    """The check on each version, and on all together for the time in which none is known to have served."""
    found = [_of_version(whole, one, service) for one in serving]
    for begin, end in _gaps(whole, serving):
        gap = msgspec.structs.replace(whole, begin=begin, end=end)
        try:
            found.append(_widened(gap, service, known=False))
        except NotAskable:
            note = f"not asked from {_shown(begin)} to {_shown(end)}: no deployment is known in this time"
            found[0] = msgspec.structs.replace(found[0], notes=(*found[0].notes, note))
    return tuple(sorted(found, key=lambda one: one.begin))


def _gaps(whole: Asked, serving: list[Serving]) -> list[tuple[datetime, datetime]]:
    """When nothing is known to have served."""
    gaps: list[tuple[datetime, datetime]] = []
    known_until = whole.begin
    for one in sorted(serving, key=lambda it: it.started_at):
        if one.started_at > known_until:
            gaps.append((known_until, one.started_at))
        known_until = max(known_until, one.ended_at or whole.end)
    return [*gaps, (known_until, whole.end)] if known_until < whole.end else gaps


def _of_version(whole: Asked, serving: Serving, service: Service) -> Asked:
    """The check on one version, for as long as it served."""
    place = {"version": serving.version, "variant": serving.variant, "deployment": serving.id}
    ended_at = serving.ended_at or whole.end
    return msgspec.structs.replace(
        whole,
        parts=_parts(whole.rule, _form(whole.rule, service, place)),
        begin=max(whole.begin, serving.started_at),
        end=min(whole.end, ended_at),
        version=serving.version,
    )


def _widened(whole: Asked, service: Service, *, known: bool) -> Asked:
    """The check for whatever versions there were."""
    rule = whole.rule
    if isinstance(rule.form, ProbeForm):
        raise NotAskable("a probe")
    try:
        form = widened(rule.form)
    except ValueError as error:
        missing = "" if known else ", and no deployment is known in this time"
        raise NotAskable(f"it names the version{missing}: {error}") from None
    named = sorted(PLACES.intersection(_names(rule)))
    note = f"asked of all versions together: its condition on ${', $'.join(named)} is left open"
    if not known:
        note = f"{note} from {_shown(whole.begin)} to {_shown(whole.end)}, for no deployment is known in this time"
    filled = _form(msgspec.structs.replace(rule, form=form), service, {})
    return msgspec.structs.replace(whole, parts=_parts(rule, filled), notes=(*whole.notes, note))


def _matched(whole: Asked, service: Service) -> Asked:
    """A rule that is asked once for all services: its question for this one alone."""
    rule = whole.rule
    labels = tuple(rule.match.labels) if rule.match is not None else ()
    key = rule.match.values(service.name, service.labels) if rule.match is not None else ()
    if not all(key):
        lacking = [label for label, value in zip(labels, key, strict=True) if not value]
        raise NotAskable(f"it is matched by {', '.join(lacking)}, which the service has no value for")
    if _names_place(rule):
        raise NotAskable("it is matched and names the version")
    hand = Hand(check=CheckId(service=service.name, rule=rule.name), key=key)
    filled = _form(rule, service, {})
    return msgspec.structs.replace(
        whole,
        parts=_parts(rule, narrowed(rule, filled, [hand]), by=labels),
        of=tuple(zip(labels, key, strict=True)),
    )


def _parts(rule: Rule, form: MetricForm, *, by: tuple[str, ...] = ()) -> dict[str, str]:
    return parts_of(form, rule.window, by=by, windows=rule.windows)


def _form(rule: Rule, service: Service, place: Mapping[str, str]) -> MetricForm:
    values = dict.fromkeys(PLACES, "") | {
        "service": service.name,
        "environment": service.environment,
        **place,
        **{f"label.{name}": value for name, value in service.labels.items()},
    }
    form = filled_form(rule, values)
    if isinstance(form, ProbeForm):
        raise NotAskable("a probe")
    return form


def _names_place(rule: Rule) -> bool:
    return bool(PLACES.intersection(_names(rule)))


def _names(rule: Rule) -> tuple[str, ...]:
    return names_in(msgspec.json.encode(rule.form).decode())


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"

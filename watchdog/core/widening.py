"""Widening: a form that names one version, made the same question about whatever versions there were.

What is usual of a service, or what a rule would have done over a month, is asked of all the versions that served then.
Only the condition on the version is loosened, and only where that is certain to mean "any version": this module must
never guess, and never touch what else a selector says.
"""

from __future__ import annotations

import functools
import re

from watchdog.core.promql import with_selectors
from watchdog.core.rule import MetricForm, Query
from watchdog.core.selector import Matcher, Operator, parse_selector
from watchdog.core.variables import names_in, quote_promql

#: The variables that say which version it is.
PLACES = frozenset({"version", "variant", "deployment"})
_ANY = ".+"


@functools.lru_cache(maxsize=4096)
def widened(form: MetricForm) -> MetricForm:
    """The form for any version: `version="$version"` becomes `version=~".+"`. Other variables stay to be filled in.

    A form that names none of `$version`, `$variant` and `$deployment` stays as it is. Raises `ValueError` where what
    is left without them is not certain: in raw PromQL, in a negated condition, beside another variable.
    """
    if isinstance(form, Query):
        texts = (form.query, form.events or "", form.freshness or "")
        named = [name for text in texts for name in names_in(text) if name in PLACES]
        if named:
            raise ValueError(f"a `query` that names ${named[0]} cannot be asked of whatever version")
        return form
    return with_selectors(form, _widened)


def _widened(text: str) -> str:
    if not PLACES.intersection(names_in(text)):
        return text
    selector = parse_selector(text)
    matchers = ",".join(_written(_loosened(text, matcher)) for matcher in selector.matchers)
    return f"{selector.name}{{{matchers}}}"


def _loosened(text: str, matcher: Matcher) -> Matcher:
    names = names_in(matcher.value)
    places = [name for name in names if name in PLACES]
    if not places:
        return matcher
    if matcher.operator in (Operator.NOT_EQUAL, Operator.MATCHES_NOT):
        raise ValueError(f"{text!r}: what is left of {matcher.label!r} without ${places[0]} is not certain")
    if len(places) < len(names):
        raise ValueError(f"{text!r}: {matcher.label!r} names ${places[0]} beside another variable")
    exact = matcher.operator is Operator.EQUAL
    pattern = _replaced(matcher.value, any_version=_ANY if exact else f"(?:{_ANY})", exact=exact)
    return Matcher(matcher.label, Operator.MATCHES, pattern)


def _replaced(value: str, *, any_version: str, exact: bool) -> str:
    """`any_version` for every variable; of an exact value the letters around it stand for themselves."""
    around = re.split(r"\$\{\w+\}|\$(?:" + "|".join(sorted(PLACES)) + r")(?!\w)", value)
    return any_version.join(re.escape(part) if exact else part for part in around)


def _written(matcher: Matcher) -> str:
    return f'{matcher.label}{matcher.operator}"{quote_promql(matcher.value)}"'

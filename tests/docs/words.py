"""What a model cannot say of its keys: a default that is filled in later, a value that its neighbours judge.

Where the core holds such a default, it is taken from there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.docs import rule_tests
from watchdog.config.schema import RuleShape
from watchdog.core.rule import Evidence, Holds, Lasting, Samples
from watchdog.core.service import RollbackPolicy
from watchdog.core.units import format_duration

KINDS = {
    **rule_tests.KINDS,
    ("main", "version"): "`1`",
    ("main", "rules"): "list of patterns",
    ("main", "sources"): "mapping: name to source",
    ("main", "services"): "list of services",
    ("main", "environments"): "mapping: name to profile",
    ("main", "channels"): "mapping: name to channel",
    ("main", "routes"): "list of routes",
    ("main", "self_check"): "list of probes",
    ("main", "escalations"): "mapping: name to policy",
    ("main", "mute_windows"): "mapping: name to mute window",
    ("heartbeat", "url"): "address, `!env NAME` or `!file PATH`",
    **{("escalation", severity): "list of steps" for severity in ("critical", "high", "medium", "low")},
    ("escalation", "delegate"): "channel, kind of channel, or a list of them",
    ("escalation", "repeat"): "duration, or `never`",
    ("escalation.step", "to"): "list of channels",
    ("escalation.step", "digest"): "`weekly`",
    ("escalation.acknowledged", "for"): "duration, or `ever`",
    ("escalation.acknowledged", "remind"): "duration, or `never`",
    ("mute window", "from"): 'time such as `"22:00"`',
    ("mute window", "to"): 'time such as `"07:00"`',
    ("mute window", "days"): "list of days or ranges",
    ("reports.weekly", "at"): 'time such as `"09:00"`',
    ("backtest", "max_noise"): "rate such as `2 per 1w`",
    ("route", "notices"): "list of channels",
    ("route", "mute"): "list of mute windows",
    ("route", "repeat"): "duration, or `never`",
    ("gather", "by"): "list of labels",
    ("server", "url"): "address",
    ("rule", "dashboard"): "address",
    ("main", "leader"): "mapping with `kind`",
    ("service", "rules"): "list of rule names or `{tag: TAG}`",
    ("service", "traffic"): "mapping with `kind`",
    ("rollback", "confirm"): "`none`, a rule, or a list of rules",
    ("route", "to"): "list of channels",
    ("rule", "interval"): "`critical`, `normal`, `extended` or a duration",
    ("rule", "ratio"): "mapping",
    ("rule", "quantile"): "mapping",
    ("rule", "rate"): "selector",
    ("rule", "gauge"): "mapping",
    ("rule", "query"): "PromQL",
    ("rule", "freshness"): "PromQL",
    ("rule", "probe"): "mapping with `kind`",
    ("rule", "threshold"): "mapping",
    ("rule", "baseline"): "mapping",
    ("rule", "match"): "mapping of labels to `name` or `label.NAME`",
    ("baseline", "against"): "`before-deployment`, `previous-version`, `usual` or a duration",
    ("baseline", "test"): "`mann-whitney`, or a mapping",
    ("two_samples", "effect"): "number such as `0.71`, or percentage",
    ("baseline", "worse_by"): "mapping",
    **{
        ("worse_by", level): "percentage, a number such as `0.3`, or `4 deviations`"
        for level in ("warning", "critical")
    },
    ("worse_by", "rollback"): "percentage of critical's, a number such as `0.75`, or `6 deviations`",
    ("rule", "slo"): "mapping",
    ("slo", "objective"): "percentage such as `99.9%`, or a number such as `0.999`",
    ("slo", "burn"): "mapping",
    ("burn", "warning"): "mapping",
    ("burn", "critical"): "mapping",
    ("burn", "rollback"): "mapping, or a percentage of critical's",
    ("burn rate", "rate"): "number such as `14.4`, or `14.4x`",
    ("rule", "evidence"): "mapping, or `none`",
    ("rule", "runbook"): "address",
    ("rule", "tags"): "list of names",
    ("ratio", "bad"): "selector",
    ("ratio", "total"): "selector",
    ("quantile", "of"): "selector",
    ("gauge", "of"): "selector",
    ("evidence", "events"): "PromQL",
    ("expect", "status"): "`200`, `2xx` or a list of such",
    ("expect", "header"): "mapping: name to text or `{matches: EXPRESSION}`",
    ("expect", "body"): "mapping",
    ("expect.header", "matches"): "regular expression",
    ("expect.body", "matches"): "regular expression",
    ("expect.body", "pointer"): "mapping: pointer to value",
    ("traffic haproxy", "socket"): "path or `tcp://HOST:PORT`",
    ("traffic haproxy", "variants"): "mapping: variant to server or list of servers",
    ("traffic nginx", "variants"): "mapping: variant to address or list of addresses",
    ("traffic nginx", "pid_file"): "path, or `none`",
    ("traffic kubernetes-ingress", "variants"): "mapping: variant to Service",
    ("traffic command", "environment"): "mapping: name to text or secret",
    ("probe http", "headers"): "mapping: name to text or secret",
    ("probe command", "environment"): "mapping: name to text or secret",
    ("probe tcp", "address"): "`HOST:PORT`",
    ("probe grpc", "address"): "`HOST:PORT`",
    ("channel webhook", "headers"): "mapping: name to text or secret",
    ("channel email", "headers"): "mapping: name to text or secret",
    ("channel email", "to"): "list of addresses",
    ("channel slack", "users"): "list of members, or `anybody`",
    ("channel slack", "groups"): "list of user groups",
    ("channel slack", "mention"): "mapping: severity to a list",
    ("channel sms", "to"): "list of numbers",
    ("source prometheus", "headers"): "mapping: name to text or secret",
    ("source scrape", "headers"): "mapping: name to text or secret",
    ("source scrape", "urls"): "list of addresses",
    ("source kubernetes", "namespaces"): "list of namespaces",
    ("source kubernetes", "labels"): "list of label keys",
    ("probe kubernetes", "selector"): "`KEY=VALUE,KEY=VALUE`",
    ("probe kubernetes", "when"): "list of `crash_loop`, `image_pull`, `cannot_start`, `oom_killed`, `stuck`",
}


def written(value: Any) -> str:
    """A default as people would write it."""
    match value:
        case timedelta():
            return f"`{format_duration(value)}`"
        case Samples(count=count):
            return f"`{count} samples`"
        case Lasting(duration=duration):
            return f"`{format_duration(duration)}`"
        case float():
            return f"`{value * 100:g}%`"
        case bool():
            return f"`{str(value).lower()}`"
        case ():
            return "`none`"
        case _:
            return f"`{value}`"


_CLEAR: int = RuleShape.model_fields["clear"].get_default()
_POLICY, _EVIDENCE, _HOLDS = RollbackPolicy(), Evidence(), Holds()

DEFAULTS = {
    **rule_tests.DEFAULTS,
    ("probe kubernetes", "when"): "all",
    ("discover", "kinds"): "both",
    **{("rollback", name): written(getattr(_POLICY, name)) for name in RollbackPolicy.__struct_fields__},
    **{("evidence", name): written(getattr(_EVIDENCE, name)) for name in ("min_events", "min_bad")},
    **{("evidence", name): written(getattr(_EVIDENCE, name)) for name in ("confidence", "excess")},
    **{("hold", name): written(getattr(_HOLDS, name)) for name in ("warning", "critical", "rollback")},
    ("main", "version"): "required",
    ("main", "rules"): "required",
    ("main", "services"): "required",
    ("main", "channels"): "a channel `log`",
    ("channel email", "port"): "`587`, `465` or `25`, by `tls`",
    ("channel slack", "token"): "this or `webhook_url` is required",
    ("channel slack", "channel"): "required with `token`",
    ("channel slack", "webhook_url"): "this or `token` is required",
    ("main", "routes"): "required where there are channels",
    ("main", "leader"): "`{kind: single}`",
    ("service", "name"): "required",
    ("service", "rules"): "required",
    ("service", "traffic"): "required",
    ("service", "mode"): "the profile's, else `enforce`",
    ("service", "gitops"): "the profile's, else `veto`",
    ("service", "require_backtest"): "the profile's, else the file's",
    ("environment", "require_backtest"): "the file's",
    ("environment", "mode"): "`enforce`",
    ("environment", "gitops"): "`veto`",
    ("route", "to"): "this or `escalation` is required",
    ("route", "escalation"): "this or `to` is required",
    **{
        ("escalation", one): "the next louder one's, else the next quieter one's"
        for one in ("critical", "high", "medium", "low")
    },
    ("escalation.step", "after"): "required but for the first step",
    ("escalation.step", "to"): "required where there is no `digest`",
    ("mute window", "from"): "`00:00`",
    ("mute window", "to"): "`24:00`",
    ("mute window", "days"): "every day",
    ("reports.weekly", "at"): "`09:00`",
    ("rule", "name"): "required",
    ("rule", "unit"): "`ratio` for ratios, else `none`",
    ("rule", "source"): "the only one; required where there are several",
    ("rule", "ratio"): "one form is required",
    ("rule", "quantile"): "one form is required",
    ("rule", "rate"): "one form is required",
    ("rule", "gauge"): "one form is required",
    ("rule", "query"): "one form is required",
    ("rule", "probe"): "one form is required",
    ("rule", "threshold"): "this, `baseline` or `slo` is required",
    ("rule", "baseline"): "this, `threshold` or `slo` is required",
    ("rule", "slo"): "this, `threshold` or `baseline` is required",
    ("slo", "burn"): "as below",
    **{("burn", level): "never reached" for level in ("warning", "critical", "rollback")},
    **{("burn rate", key): "the default of its level" for key in ("rate", "long", "short")},
    ("rule", "evidence"): "for a ratio and a quantile as below, else none",
    ("rule", "blind_after"): "`3m`, or three intervals where that is longer",
    ("rule", "max_age"): "two scrape intervals as learnt, else `30s`",
    ("rule", "freshness"): "the evaluation time counts",
    ("rule", "clear"): written(Samples(_CLEAR)),
    ("worse_by", "warning"): "never warns",
    ("worse_by", "critical"): "never becomes critical",
    ("worse_by", "rollback"): "never rolls back",
    ("threshold", "warning"): "never warns",
    ("threshold", "critical"): "never becomes critical",
    ("threshold", "rollback"): "never rolls back",
    ("evidence", "events"): "required for a query",
    ("expect", "within"): "the timeout",
    ("expect of a connection", "within"): "the timeout",
    ("traffic nginx", "reload"): "`[nginx, -s, reload]`",
    ("traffic nginx", "test"): "as `reload`, with `-t`; else `[nginx, -t]`",
    ("traffic nginx", "pid_file"): "what `reload` uses, else `/run/nginx.pid`",
}

"""For each promise of the README a way of breaking it that its own tests notice.

Each is one edit of one file, and names the tests of the promise that go red with it. `also` are quick tests
(tests/core, tests/engine) beside them of which it is known that they notice it, too. `python -m tests.mutants promises`
tries them all, and lists whoever else notices.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One edit: `old` stands exactly once in `file`. `promise` are words of the promise's row in the README."""

    promise: str
    how: str
    file: str
    old: str
    new: str
    killed_by: tuple[str, ...]
    also: tuple[str, ...] = ()


BROKEN = (
    Broken(
        promise="At most one automatic switch",
        how="a version that traffic returns to is armed like a deployment, and rolled back once more",
        file="watchdog/core/sightings.py",
        old="armed=known is None,",
        new="armed=True,",
        killed_by=(
            "tests/e2e/test_undone.py::test_a_switch_that_is_undone_within_the_contest_window_is_told_and_not_made_again",
        ),
    ),
    Broken(
        promise="Silence is never read",
        how="an answer that says it is not complete is taken for a whole one",
        file="watchdog/sources/prometheus.py",
        old="warnings=tuple(_clean(it) for it in reply.warnings or () if not it.startswith(_REMARK)),",
        new="warnings=(),",
        killed_by=(
            "tests/faults/test_sources.py::test_no_lie_of_a_source_moves_traffic_and_all_of_them_are_told",
        ),
    ),
    Broken(
        promise="acts on a world it has not just read",
        how="HAProxy is written whatever it was when it was read",
        file="watchdog/traffic/haproxy.py",
        old="if before.state.revision != change.expect:",
        new="if before.state.revision == '':",
        killed_by=(
            "tests/contracts/test_traffic.py::test_what_somebody_else_did_after_the_read_is_not_overwritten",
        ),
    ),
    Broken(
        promise="The human wins",
        how="the pause file is looked at when the daemon decides, and not before it writes",
        file="watchdog/core/facts.py",
        old="fresh = replace(world, paused_by_file=paused_by_file)",
        new="fresh = world",
        killed_by=(
            "tests/engine/test_kill_switches.py::test_a_kill_switch_set_at_any_instant_before_the_write_leaves_zero_switches",
        ),
    ),
    Broken(
        promise="never rolls back to a version that is down",
        how="every server of HAProxy counts as ready",
        file="watchdog/traffic/haproxy.py",
        old="ready=None if doubts else sum(row.running for row in rows),",
        new="ready=len(rows),",
        killed_by=("tests/e2e/test_vetoes.py::test_a_target_that_is_down_is_no_target_until_it_is_up",),
    ),
    Broken(
        promise="Bounded blast radius",
        how="the share of red services alone opens the breaker, however few they are",
        file="watchdog/core/guards.py",
        old="if share > facts.max_share and facts.breaching >= facts.max_share_at_least:",
        new="if share > facts.max_share:",
        killed_by=(
            "tests/core/test_guards.py::test_breaker_has_two_limits_and_the_second_needs_share_and_number",
        ),
    ),
    Broken(
        promise="Two daemons on one target",
        how="several processes may hold the lock of a store at a time",
        file="watchdog/store/lock.py",
        old="fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        new="fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        killed_by=(
            "tests/faults/test_second_daemon.py::test_a_second_daemon_on_the_same_store_or_switch_refuses_to_start",
        ),
    ),
    Broken(
        promise="How often a healthy service would be rolled back",
        how="no share is ever believed, however many events it comes from",
        file="watchdog/core/evidence.py",
        old="return max(0.0, (bad + z * z / 2 - spread) / (events + z * z))",
        new="return 0.0 * spread",
        killed_by=("tests/core/test_evaluate_noise.py::test_nineteen_of_twenty_faults_are_decided_in_time",),
    ),
    Broken(
        promise="A typo is an error",
        how="keys that nobody knows are skipped",
        file="watchdog/settings/model.py",
        old='extra="forbid", frozen=True',
        new='extra="ignore", frozen=True',
        killed_by=(
            "tests/config/test_bad_files.py::test_a_bad_file_is_refused_with_exactly_what_it_says_itself",
        ),
    ),
    Broken(
        promise="You will be told, even if chat is down",
        how="an emergency goes to the first channel only",
        file="watchdog/engine/dispatcher.py",
        old="tell(name, lane) for name, lane in self._lanes.items()})",
        new="tell(name, lane) for name, lane in [*self._lanes.items()][:1]})",
        killed_by=(
            "tests/engine/test_dispatcher.py::test_an_emergency_goes_to_every_channel_past_the_store",
        ),
    ),
    Broken(
        promise="A configuration that cannot be used",
        how="a file that cannot be used ends the daemon",
        file="watchdog/app/reload.py",
        old="            return tuple(str(problem) for problem in error.problems)",
        new="            raise SystemExit(1) from error",
        killed_by=("tests/e2e/test_reload.py::test_a_broken_file_leaves_a_daemon_that_still_rolls_back",),
    ),
    Broken(
        promise="Every decision can be replayed",
        how="a record is not compared with its hash",
        file="watchdog/core/audit.py",
        old="        if record.hash != digest(",
        new="        if not digest(",
        killed_by=("tests/store/test_sql.py::test_a_tampered_audit_row_is_found_with_its_number",),
    ),
    Broken(
        promise="It says in daylight",
        how="the gauge says that a rollback would work",
        file="watchdog/telemetry/metrics.py",
        old="ready.add_metric([service.name], float(service.rollback_ready))",
        new="ready.add_metric([service.name], 1.0)",
        killed_by=(
            "tests/engine/test_readiness.py::test_people_hear_within_five_minutes_that_a_rollback_would_fail_and_the_gauge_says_so_at_once",
        ),
    ),
    Broken(
        promise="No secret leaves",
        how="nothing is masked on the way out",
        file="watchdog/telemetry/redact.py",
        old="return text if self._pattern is None else self._pattern.sub(MASK, text)",
        new="return text",
        killed_by=(
            "tests/telemetry/test_redact.py::test_no_text_makes_masking_raise_or_miss",
            "tests/faults/test_secrets.py::test_no_secret_is_in_anything_that_a_whole_run_writes_sends_answers_or_prints",
        ),
    ),
)

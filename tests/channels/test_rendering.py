"""Messages in words: what stands where, what a template may say, and what becomes of one that fails."""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import unescape
from html.parser import HTMLParser

import pytest
from structlog.testing import capture_logs

from tests.channels.messages import AWKWARD, USUAL, message
from watchdog.channels.context import FACTS, MEANINGS, context_of, steps_of
from watchdog.channels.rendering import NAMES, Rendering, TemplateProblem, as_text
from watchdog.channels.specimens import specimens, trials
from watchdog.channels.templating import LONGEST_TEMPLATE, Words
from watchdog.core.message import MessageKind

EVERYTHING = {**AWKWARD, **{f"trial {number}": one for number, one in enumerate(trials())}}


def test_a_message_reads_headline_first_and_audit_head_last() -> None:
    assert as_text(USUAL).splitlines() == [
        "[critical] trips: error-rate is 21% (rollback above 1.5%); traffic goes back to v1.4.1",
        "Nobody needs to do anything.",
        "service trips, version v1.4.2, environment production, 2026-01-01 12:30:05 UTC",
        "error-rate: 21%, held for 2 samples",
        "guards: all allow",
        "Next: Nothing to do now; look at why v1.4.2 fails.",
        "Runbook: https://runbooks.example.com/error-rate",
        "incident i-1, rollback r-1",
        f"audit head {'ab' * 32}",
    ]


def test_a_message_that_needs_a_person_says_so() -> None:
    told = as_text(message(needs_human=True, next_step="Call somebody."))
    assert "\nNeeds you.\n" in told
    assert "\nNext: Call somebody.\n" in told
    short = (
        Rendering()
        .of(message(needs_human=True, next_step="Call somebody. Then: watchdog doctor -c FILE"))
        .short
    )
    assert short.endswith("Needs you. Call somebody. Then: watchdog doctor -c FILE")


def test_parts_that_are_empty_leave_no_line() -> None:
    assert as_text(AWKWARD["empty"]).splitlines() == [
        "[low] ",
        "Nobody needs to do anything.",
        "2026-01-01 12:30:05 UTC",
    ]


@pytest.mark.parametrize("name", EVERYTHING)
def test_text_from_outside_stays_on_its_line(name: str) -> None:
    one = EVERYTHING[name]
    text = as_text(one)
    text.encode()
    fixed = 11  # headline, need, where, evidence, next, undo, explain, runbook, dashboard, ids, head
    assert len(text.splitlines()) <= fixed + 2 * (FACTS + 1)
    assert len(text.splitlines()) <= fixed + len(one.facts)
    assert not any(ord(character) < 0x20 and character != "\n" for character in text)


@pytest.mark.parametrize("name", EVERYTHING)
def test_our_template_of_the_text_says_what_stands_behind_it_when_it_fails(name: str) -> None:
    assert Rendering().of(EVERYTHING[name]).text == as_text(EVERYTHING[name]).strip()


@pytest.mark.parametrize("name", EVERYTHING)
def test_our_templates_bear_everything(name: str) -> None:
    rendering = Rendering()
    failed: list[str] = []
    rendering.on_failure = failed.append
    for chart in (True, False):
        made = rendering.of(EVERYTHING[name], chart=chart)
        assert "\n" not in made.headline + made.short
        assert len(made.short) <= 420
        assert made.colour.startswith("#")
        assert ("cid:chart" in made.html) is chart
        made.html.encode()
        assert _Document(made.html).open == []
    assert failed == []


@pytest.mark.parametrize("kind", MessageKind)
def test_a_text_message_says_what_is_wrong_and_whether_somebody_must_act(kind: MessageKind) -> None:
    one = specimens()[kind]
    short = Rendering().of(one).short
    assert len(short) <= 306, "two text messages"
    assert short.isascii(), "one other sign, and half as much fits"
    assert one.headline[:100] in short
    assert ("Needs you." in short) is one.needs_human
    assert ("Nobody needs to do anything." in short) is not one.needs_human


@pytest.mark.parametrize("kind", MessageKind)
def test_every_kind_says_service_version_environment_time_and_whether_somebody_must_act(
    kind: MessageKind,
) -> None:
    one = specimens()[kind]
    made = Rendering().of(one)
    said = "Needs you" if one.needs_human else "Nobody needs to do anything"
    for text in (made.text, made.html):
        assert said in text
        assert "2026-01-31 " in text
        for value in (
            one.service,
            one.version,
            one.environment,
            next(iter(steps_of(one.next_step)), [""])[0],
        ):
            assert value in unescape(text)


class _Document(HTMLParser):
    """What is open, what it may load and where it leads."""

    EMPTY = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "iframe", "object", "form", "link", "svg"}, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name == "src":
                self.loads.append(value or "")
            if name == "href":
                self.links.append(value or "")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_mail_loads_nothing_from_outside_and_runs_nothing(name: str) -> None:
    document = _Document(Rendering().of(EVERYTHING[name], chart=True).html)
    assert document.loads == ["cid:chart"]
    assert all(link.startswith("https://") for link in document.links)


def test_what_is_no_address_is_no_link() -> None:
    made = Rendering().of(message(runbook="javascript:alert(1)", dashboard="https://d.example.com/x?a=1&b=2"))
    document = _Document(made.html)
    assert document.links == ["https://d.example.com/x?a=1&b=2"]
    assert "javascript:alert(1)" in document.words


def test_a_mail_sets_commands_apart_so_that_they_can_be_copied() -> None:
    made = Rendering().of(specimens()[MessageKind.APPROVAL_WANTED]).html
    assert ">watchdog approve inc-245e0dc489</div>" in made
    assert ">watchdog reject inc-245e0dc489 --reason TEXT</div>" in made


def test_what_is_to_be_done_is_cut_at_its_commands() -> None:
    assert steps_of(
        "Look: watchdog status a. Or: watchdog rollback a --to 'v 1;' --reason TEXT. Then go."
    ) == (
        ("Look:", "watchdog status a"),
        ("Or:", "watchdog rollback a --to 'v 1;' --reason TEXT"),
        ("Then go", ""),
    )
    assert steps_of("") == ()


def test_what_a_template_sees_is_what_the_page_says() -> None:
    for one in (*trials(), *AWKWARD.values()):
        seen = context_of(one, chart=True)
        assert seen.keys() == MEANINGS.keys()
        assert all(isinstance(value, str | bool | tuple | dict) for value in seen.values())


# -- templates of the user's


def test_a_template_of_the_users_takes_the_place_of_ours() -> None:
    rendering = Rendering(
        {"headline": "{{ service | upper }}!", "text": "{{ headline }}\n{{ labels.team | default('?') }}"}
    )
    made = rendering.of(USUAL)
    assert (made.headline, made.text, made.custom) == ("TRIPS!", f"{USUAL.headline}\nbooking", True)
    assert made.short == Rendering().of(USUAL).short
    assert not Rendering({"headline": "x"}).of(USUAL).custom


def test_a_mail_s_template_escapes_what_comes_from_outside() -> None:
    rendering = Rendering({"html": "<b>{{ headline }}</b>", "text": "<b>{{ headline }}</b>"})
    made = rendering.of(AWKWARD["markup"])
    assert "<script>" not in made.html
    assert "<b>&lt;script&gt;" in made.html
    assert made.text.startswith("<b><script>")


def test_values_can_be_walked_through_compared_and_put_together() -> None:
    text = (
        "{% for name, value in facts %}{{ loop.index }}:{{ name }}={{ value }}{{ ';' if not loop.last }}{% endfor %}"
        "{% set who = labels['team'] ~ '/' ~ service %} {{ who }} {{ headline[:5] }} {{ who | replace('/', ':') }}"
        " {{ labels | items | join('-') if false else (labels | dictsort | first | join('-')) }}"
        "{{ ' urgent' if severity in ('high', 'critical') and not needs_human }}"
    )
    made = Rendering().of(USUAL)
    assert Words(text).filled(context_of(USUAL), limit=1000) == (
        "1:error-rate=21%, held for 2 samples;2:guards=all allow booking/trips trips booking:trips team-booking urgent"
    )
    assert made.text


BAD: Mapping[str, tuple[str, int, str]] = {
    "no template": ("{{ headline", 1, "unexpected end of template"),
    "unknown name": ("fine\n{{ healine }}", 2, "'healine' is undefined"),
    "unknown label": ("\n\n{{ labels.nobody }}", 3, "has no attribute 'nobody'"),
    "unknown filter": ("{{ headline | shout }}", 1, "No filter named 'shout'"),
    "a call": ("a\n{{ headline.upper() }}", 2, "calls are no part of these templates"),
    "a method": ("{{ headline.upper }}", 1, "has no attribute 'upper'"),
    "what is inside": ("{{ headline.__class__ }}", 1, "has no attribute '__class__'"),
    "what is inside, in brackets": ("{{ headline['__class__'] }}", 1, "__class__"),
    "a macro": ("{% macro f() %}{{ f() }}{% endmacro %}", 1, "`macro` is no part"),
    "a file": ("{% include '/etc/passwd' %}", 1, "`include` is no part"),
    "another one": ("{% extends 'x' %}", 1, "`extends` is no part"),
    "a range": ("{% for x in range(10) %}{% endfor %}", 1, "calls are no part"),
    "powers": ("{{ 9 ** 9 ** 9 }}", 1, "powers are no part"),
    "many": ("{{ 'x' * 1000000000 }}", 1, "multiplying is no part"),
    "formats": ("{{ '%1000000000d' % 1 }}", 1, "`%` is no part"),
    "itself": ("{% for x in facts recursive %}{% endfor %}", 1, "`recursive` is no part"),
    "unescaped": ("{{ headline | safe }}", 1, "No filter named 'safe'"),
    "no escaping": ("{% autoescape false %}{{ headline }}{% endautoescape %}", 1, "`autoescape` is no part"),
    "a list": ("{{ facts }}", 1, "a tuple is not text"),
    "loops in loops": (
        "{% for a in headline %}" * 6 + "{% endfor %}" * 6 + "x",
        1,
        "goes through more than 10000 steps of loops",
    ),
    "doubling": (
        "{% set x = headline %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}",
        1,
        "makes a text of more than",
    ),
    "doubling lists": (
        "{% set x = facts %}" + "{% set x = x + x %}" * 60 + "y",
        1,
        "makes a text of more than",
    ),
    "long replacing": (
        "{{ headline | replace('', headline ~ headline) | replace('', headline) }}",
        1,
        "makes a text",
    ),
    "too much": (
        "{% for a in headline %}{{ headline ~ headline ~ headline }}{% endfor %}",
        1,
        "makes more than",
    ),
    "deep": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", 1, "cannot be compiled"),
    "deep loops": ("{% for a in facts %}" * 60 + "{% endfor %}" * 60, 1, ""),
    "a huge number": ("{{ " + "9" * 6000 + " }}", 1, "cannot be compiled"),
    "too long": ("x" * (LONGEST_TEMPLATE + 1), 1, "is longer than"),
    "nothing": ("{% if false %}x{% endif %}", 1, "makes no text"),
    "nothing at all": ("", 1, "makes no text"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("which", ["text", "html"])
def test_a_template_that_cannot_be_used_is_said_with_its_line(name: str, which: str) -> None:
    text, line, said = BAD[name]
    began = time.process_time()
    with pytest.raises(TemplateProblem) as caught:
        Rendering({which: text})
    assert time.process_time() - began < 60, "nothing that a template says goes on for ever"
    assert (caught.value.name, caught.value.line) == (which, line)
    assert said in caught.value.message


def test_a_template_of_no_known_name_is_said() -> None:
    with pytest.raises(
        TemplateProblem, match="there is no such template; there are headline, text, short, html"
    ):
        Rendering({"hedline": "x"})


def test_a_template_is_tried_on_every_kind() -> None:
    for kind in MessageKind:
        fails = "{% if kind == '" + kind + "' %}{{ nothing }}{% endif %}x"
        with pytest.raises(TemplateProblem, match=f"of kind {kind}"):
            Rendering({"short": fails})


def test_a_set_that_cannot_be_used_leaves_the_one_before() -> None:
    rendering = Rendering({"headline": "one"})
    with pytest.raises(TemplateProblem):
        rendering.use({"headline": "{{ nothing }}"})
    assert rendering.of(USUAL).headline == "one"
    rendering.use({"headline": "two"})
    assert rendering.of(USUAL).headline == "two"
    rendering.use({})
    assert rendering.of(USUAL).headline == USUAL.headline


@pytest.mark.parametrize("name", NAMES)
def test_a_template_that_fails_when_it_matters_costs_its_looks_only(name: str) -> None:
    fails = "{% if version == 'v-odd' %}{{ labels.nobody }}{% endif %}x"
    rendering = Rendering({name: fails})
    failed: list[str] = []
    rendering.on_failure = failed.append
    odd = message(version="v-odd")

    with capture_logs() as told:
        first, second = rendering.of(odd), rendering.of(odd)

    assert getattr(first, name) == getattr(Rendering().of(odd), name) == getattr(second, name)
    assert getattr(rendering.of(USUAL), name) == "x"
    assert failed == [name, name]
    assert [(one["event"], one["template"], one["line"]) for one in told] == [("template_failed", name, 1)]


@pytest.mark.parametrize("name", NAMES)
def test_where_ours_fails_too_there_is_plain_text(name: str) -> None:
    rendering = Rendering()
    rendering._ours[name] = Words("{{ nothing }}")  # noqa: SLF001  ours cannot be made to fail from outside
    failed: list[str] = []
    rendering.on_failure = failed.append

    made = getattr(rendering.of(USUAL), name)

    assert failed == [name]
    assert "traffic goes back to v1.4.1" in made
    assert USUAL.headline in rendering.of(USUAL).headline

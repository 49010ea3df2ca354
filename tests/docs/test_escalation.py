"""The story of an escalated incident that pages show is the one that the daemon tells."""

from __future__ import annotations

from tests.docs.escalation import KIND, POLICY, timeline, told, with_timeline
from tests.docs.pages import PAGES, blocks_of
from watchdog.core.message import MessageKind


def test_the_story_that_pages_show_is_the_one_that_is_told() -> None:
    shown = [block.text for page in PAGES for block in blocks_of(page.read_text()) if block.kind == KIND]
    assert shown
    assert all(text == timeline() for text in shown), "python -m tests.docs.rewrite"


def test_a_page_gets_the_story_as_it_is_now() -> None:
    page = f"# Page\n\n```{KIND}\nan old one\n```\n"
    assert with_timeline(page) == f"# Page\n\n```{KIND}\n{timeline()}```\n"


def test_the_story_has_every_step_in_it() -> None:
    story = told()
    kinds = {kind for _, kind, _ in story.tells()}
    assert kinds >= {
        MessageKind.INCIDENT_OPENED,
        MessageKind.ESCALATED,
        MessageKind.ROLLBACK_BLOCKED,
        MessageKind.INCIDENT_ACKNOWLEDGED,
        MessageKind.ACKNOWLEDGEMENT_REMINDER,
        MessageKind.INCIDENT_UNACKNOWLEDGED,
        MessageKind.INCIDENT_CLOSED,
    }
    last_kind, last_to = story.tells()[-1][1:]
    assert last_kind is MessageKind.INCIDENT_CLOSED
    assert last_to == {"oncall", "ops", "team-lead", "mail"}
    assert set(POLICY.channels) >= last_to

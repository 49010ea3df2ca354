"""Messages that pages show: those of the specimens, in the words in which they are sent.

text message KIND          the whole message, plain
text message short KIND    what a text message says
jinja NAME                 a template of the user's by its name, which is tried like one of a configuration
"""

from __future__ import annotations

from tests.docs.pages import Block, blocks_of
from watchdog.channels.context import MEANINGS
from watchdog.channels.rendering import NAMES, Rendering
from watchdog.channels.specimens import specimens
from watchdog.core.message import MessageKind

_MESSAGE, _TEMPLATE = "text message ", "jinja "
KINDS = frozenset(
    {
        *(f"{_MESSAGE}{form}{kind}" for kind in MessageKind for form in ("", "short ")),
        *(f"{_TEMPLATE}{name}" for name in NAMES),
    }
)


def templates(page: str) -> dict[str, str]:
    """The templates that a page shows, by name."""
    return {
        block.kind.removeprefix(_TEMPLATE): block.text
        for block in blocks_of(page)
        if block.kind.startswith(_TEMPLATE)
    }


def is_message(block: Block) -> bool:
    """Whether a block shows a message."""
    return block.kind.startswith(_MESSAGE)


def shown(block: Block) -> str:
    """What a block must show; the head of the audit chain is shortened."""
    words = block.kind.removeprefix(_MESSAGE).split()
    message = specimens()[MessageKind(words[-1])]
    made = Rendering().of(message)
    text = made.short if words[0] == "short" else made.text
    return text.replace(message.audit_head, f"{message.audit_head[:12]}…") + "\n"


def with_messages(page: str) -> str:
    """The page with the messages that are sent now."""
    text = page
    for block in reversed(blocks_of(page)):
        if is_message(block):
            text = text[: block.start] + shown(block) + text[block.end :]
    return text


def names() -> list[tuple[str, str]]:
    """The names that a template sees, and what they hold."""
    return [(f"`{name}`", meaning) for name, meaning in MEANINGS.items()]

"""`python -m tests.channels.words`: writes the golden files of every kind of message anew.

One file for each form, the kinds one below the other. Of mails, what there is to read and where it leads; one of them
is kept as it is sent.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from tests.channels.sent import sent
from watchdog.channels.rendering import Rendered, Rendering
from watchdog.channels.specimens import specimens
from watchdog.core.message import MessageKind

FOLDER = Path(__file__).with_name("golden")
_HEAD = re.compile(r"<!doctype.*?<body[^>]*>", re.DOTALL)
_LOOKS = re.compile(r' (?:style|class|width|height|valign|align|bgcolor|role|border|cell\w+)="[^"]*"')
_LAYOUT = re.compile(r"</?(?:table|tr|td|body|html)>")

FORMS: dict[str, Callable[[Rendered], str]] = {
    "text": lambda made: made.text,
    "short": lambda made: made.short,
    "mail": lambda made: read(made.html),
}


def read(html: str) -> str:
    """What there is to read in a mail, without how it looks."""
    body = _LAYOUT.sub("", _LOOKS.sub("", _HEAD.sub("", html)))
    return "\n".join(line for line in map(str.strip, body.splitlines()) if line)


def written() -> dict[str, str]:
    """Every golden file by its name."""
    rendering, told = Rendering(), specimens()
    made = {kind: rendering.of(told[kind], chart=told[kind].evidence is not None) for kind in MessageKind}
    pages = {
        f"{form}.txt": "\n".join(f"=== {kind}\n{of(made[kind])}\n" for kind in MessageKind)
        for form, of in FORMS.items()
    }
    return {**pages, "mail.html": made[MessageKind.ROLLBACK_SWITCHED].html + "\n"}


def main() -> None:
    for name, text in {**{name: text.encode() for name, text in written().items()}, **sent()}.items():
        path = FOLDER / name
        if not path.exists() or path.read_bytes() != text:
            path.write_bytes(text)
            sys.stdout.write(f"{path.name} written\n")


if __name__ == "__main__":
    main()

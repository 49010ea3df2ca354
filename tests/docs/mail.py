"""`python -m tests.docs.mail [KIND] [CHART.png] > mail.html`: the mail of a kind of message, to look at in a browser.

Without a chart there is none in it. In a mail the chart is a part of its own; here it stands in the page.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from watchdog.channels.rendering import Rendering
from watchdog.channels.specimens import specimens
from watchdog.core.message import MessageKind


def mail(kind: MessageKind = MessageKind.ROLLBACK_SWITCHED, chart: bytes = b"") -> str:
    """The HTML of the mail about the specimen of a kind, with a picture in the chart's place."""
    html = Rendering().of(specimens()[kind], chart=bool(chart)).html
    return html.replace("cid:chart", f"data:image/png;base64,{base64.b64encode(chart).decode()}")


def main() -> None:
    kind, *chart = sys.argv[1:] or [MessageKind.ROLLBACK_SWITCHED.value]
    sys.stdout.write(mail(MessageKind(kind), Path(chart[0]).read_bytes() if chart else b""))


if __name__ == "__main__":
    main()

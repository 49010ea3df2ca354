"""`watchdog demo`: the whole main job on this machine, in under a minute, leaving nothing behind."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from watchdog.core.errors import WatchdogError
from watchdog.demo.play import play
from watchdog.demo.report import Report, report_of
from watchdog.demo.stage import Stage, find_haproxy
from watchdog.demo.visitors import Visitors

#: The exit code after Ctrl-C.
INTERRUPTED = 130
#: A socket's path has at most 107 bytes (unix(7)), of which HAProxy wants some for a temporary name beside it.
LONGEST_FOLDER = 50


def demo(*, json: bool, prometheus: bool, keep: bool) -> int:
    """Run the demo; 0 when the bad version was rolled back and the recovery proved."""
    return perform(json=json, prometheus=prometheus, keep=keep, haproxy=find_haproxy())


def perform(*, json: bool, prometheus: bool, keep: bool, haproxy: str | None) -> int:
    """The same with HAProxy from there, or with the small proxy."""
    out = Console(stderr=json, highlight=False)
    try:
        return asyncio.run(_run(out, json=json, prometheus=prometheus, keep=keep, haproxy=haproxy))
    except WatchdogError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("interrupted; everything was stopped\n")
        return INTERRUPTED


async def _run(out: Console, *, json: bool, prometheus: bool, keep: bool, haproxy: str | None) -> int:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(_folder(haproxy)))
        stage = Stage(folder=folder, prometheus=prometheus, haproxy=haproxy)
        source = "prometheus" if prometheus else "scrape"
        out.print(f"starting: two versions of a shop, switch {stage.switch}, source {source}, the watchdog")
        await stage.set_up(stack)
        visitors = Visitors(url=f"http://127.0.0.1:{stage.front}/")
        stream = asyncio.create_task(visitors.run(), name="visitors")
        try:
            story = await play(stage, visitors, lambda line: out.print(f"  {line}"))
            report = report_of(story, visitors, switch=stage.switch, source=source)
            _show(out, report)
            if json:
                sys.stdout.write(report.as_json() + "\n")
                sys.stdout.flush()
            if keep:
                await _keep(out, stage)
        finally:
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)
    return 0 if report.rolled_back else 1


def _folder(haproxy: str | None) -> tempfile.TemporaryDirectory[str]:
    """A new folder; where it holds HAProxy's socket, one whose name leaves room for that."""
    long = haproxy is not None and len(tempfile.gettempdir()) > LONGEST_FOLDER
    return tempfile.TemporaryDirectory(prefix="watchdog-demo-", dir="/tmp" if long else None)  # noqa: S108 - made anew


def _show(out: Console, report: Report) -> None:
    timeline = Table(title="when", show_header=False)
    for name, when in report.rows():
        timeline.add_row(name, when)
    requests = Table("requests", "sent", "failed")
    for row in report.requests():
        requests.add_row(*row)
    out.print(timeline)
    out.print(requests)
    if report.rolled_back:
        out.print("rolled back, and proved: traffic moved and the error rate recovered")
    else:
        out.print(f"NOT rolled back: {report.story.state}")


async def _keep(out: Console, stage: Stage) -> None:
    out.print("kept running until Ctrl-C; look around from another terminal:")
    out.print(f"  export WATCHDOG_URL={stage.url} WATCHDOG_TOKEN={stage.token}", soft_wrap=True)
    out.print("  watchdog status; watchdog incidents; watchdog explain ID")
    out.print(f"  watchdog audit verify -c {stage.configuration}", soft_wrap=True)
    await asyncio.Event().wait()

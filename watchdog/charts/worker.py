"""`python -m watchdog.charts.worker`: draws what it is asked for on stdin, one picture after the other, to its end.

A process of its own, so that drawing takes no time of the loop that decides, and a fault of a drawing library takes
nothing with it. It gives way to everybody else, ends itself when one picture takes too long, ends with the daemon
(whose end of the pipe closes, however that died), and can neither reach a network nor start a program. It is given no
secret and asks for none.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from watchdog.charts.pipe import LARGEST_WISH, LENGTH, Drawn, framed, wish_of

#: Behind everything else that wants the processor.
NICENESS = 5
#: No picture takes so many seconds: the kernel ends the process then.
LONGEST = 30
#: What nobody who draws does.
_NEVER = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.fork", "os.system")


def main() -> None:
    """Serve stdin until it ends. What cannot be read ends the process: whoever asks starts another."""
    for asked in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # meant for the daemon, which ends us after its last messages
        signal.signal(asked, signal.SIG_IGN)
    _give_way()
    wishes, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, it is no answer
    sys.addaudithook(_refuse)
    _load()
    serve(wishes, answers)


def _give_way() -> None:
    """Behind everything else that wants the processor, and the first to go where there is no memory left."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _load() -> None:
    """Import what draws. Its list of fonts goes into a folder that nobody else reads, and that is gone right after.

    A fault here is told with the first answer.
    """
    with contextlib.suppress(Exception), tempfile.TemporaryDirectory(prefix="watchdog-charts-") as folder:
        os.environ["MPLCONFIGDIR"] = folder
        importlib.import_module("watchdog.charts.draw")


def serve(wishes: BinaryIO, answers: BinaryIO) -> None:
    """Answer every wish in order. Returns when there are no more, or when one cannot be read."""
    while (content := _read(wishes)) is not None:
        try:
            wish = wish_of(content)
        except msgspec.MsgspecError:
            return
        signal.alarm(LONGEST)
        answers.write(framed(_answer(wish.number, wish.picture)))
        answers.flush()
        signal.alarm(0)


def _answer(number: int, picture: Any) -> Drawn:
    try:
        from watchdog.charts.draw import draw  # noqa: PLC0415 - a broken installation is an answer, too

        return Drawn(number=number, png=draw(picture))
    except Exception as error:  # noqa: BLE001 - the border to a library: one picture less, and the next one
        return Drawn(number=number, fault=f"{type(error).__name__}: {error}"[:300])


def _read(pipe: BinaryIO) -> bytes | None:
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    if length > LARGEST_WISH:
        return None
    content = pipe.read(length)
    return content if len(content) == length else None


def _refuse(event: str, _words: tuple[Any, ...]) -> None:
    if event.startswith(_NEVER):
        raise PermissionError(f"a process that draws does no {event}")


if __name__ == "__main__":
    main()

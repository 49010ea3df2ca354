"""The user's own words for messages: files, read, compiled and tried with sample data when the configuration is loaded.

A mistake in one is told with its file and line. This module must never say what a template means.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from watchdog.channels.rendering import Rendering, TemplateProblem
from watchdog.config.loaded import Position
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems
from watchdog.config.telling import TemplatesShape
from watchdog.config.trail import Trail

#: All that is read of a template, in bytes.
_LARGEST = 256 * 1024


def templates_of(
    node: Node | None, written: TemplatesShape, base: Path, problems: Problems, trail: Trail
) -> dict[str, str]:
    """The texts of templates by their name; `node` is `templates`, relative paths start from `base`."""
    texts: dict[str, str] = {}
    files: dict[str, Path] = {}
    for name in TemplatesShape.model_fields:
        path: Path | None = getattr(written, name)
        if node is None or path is None:
            continue
        files[name] = base / path
        text = _text(files[name], node.at_value(name), problems, trail)
        if text is not None:
            texts[name] = text
    _try_out(texts, files, problems)
    return texts


def _text(path: Path, at: Position, problems: Problems, trail: Trail) -> str | None:
    """What a file holds; `None` when that is no template."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            trail.refused(path, limit=_LARGEST)
            problems.add(at, f"{path} is not a regular file")
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as fault:
        trail.failed(path, fault, limit=_LARGEST)
        problems.add(at, f"{path} cannot be read: {fault.strerror or fault}")
        return None
    except ValueError:
        problems.add(at, "cannot be read: this is no path")
        return None
    trail.read(path, content, limit=_LARGEST)
    if len(content) > _LARGEST:
        problems.add(at, f"{path} is larger than {_LARGEST // 1024} KiB")
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.add(at, f"{path} is not text in UTF-8")
        return None


def _try_out(texts: dict[str, str], files: dict[str, Path], problems: Problems) -> None:
    """Tell every template that cannot be used, one by one; one is enough to keep the others from being tried."""
    left = dict(texts)
    while left:
        try:
            Rendering(left)
        except TemplateProblem as fault:
            at = Position(file=files[fault.name], line=fault.line, column=1)
            problems.add(at, fault.message)
            del left[fault.name]
        else:
            return

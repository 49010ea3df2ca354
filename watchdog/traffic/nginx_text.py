"""The servers of one `upstream` block in nginx's language, and the few bytes of it that a switch changes.

Text is split as `ngx_conf_read_token` of nginx 1.22 does: words, quotes, backslashes, comments, braces. A file that
people wrote stays as they wrote it, byte for byte, but for `down` on the servers concerned. What is not understood is
an error with its line, never a guess. This module must never read a file: text comes in, text goes out (one character
for each byte, so that no encoding matters).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

import msgspec

from watchdog.core.traffic import pause_reason
from watchdog.settings.registry import nearest

_SPACE: Final = " \t\r\n"
_ESCAPED: Final = re.compile(r"\\([\"'\\])")
#: Port of a `server` without one (ngx_http_upstream_module).
_PORT: Final = 80
_WEIGHT: Final = re.compile(r"weight=([0-9]{1,9})")
#: A comment to us, and what it says first.
_NOTE: Final = re.compile(r"#+[ \t]*watchdog:[ \t]*(\w+)[:,]?(.*)", re.IGNORECASE)
_PAUSED: Final = "paused"
#: Blocks in another language, in which braces and quotes mean something else.
_FOREIGN: Final = ("_by_lua_block",)


class UpstreamError(Exception):
    """The text is not understood; `str()` says line and why."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One `server` line. `downs` and `end` are places in the text: each word `down`, the end of the last word."""

    address: str
    weight: int
    down: bool
    backup: bool
    line: int
    downs: tuple[tuple[int, int], ...]
    end: int


class _Word(NamedTuple):
    """`mark` is `{`, `}`, `;` or `#`, or nothing for a word, whose `text` is without quotes."""

    text: str
    mark: str
    start: int
    end: int
    line: int


class _Block(NamedTuple):
    name: str
    upstream: str
    line: int


def normalised(address: str) -> str:
    """An address as it compares: with its port, in small letters; a path after `unix:` as it is."""
    if address.startswith("unix:"):
        return address
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]"):
        return f"{address.lower()}:{_PORT}"
    return f"{host.lower()}:{int(port) if port.isascii() and port.isdigit() else port}"


def servers_of(text: str, upstream: str) -> tuple[Server, ...]:
    """The servers of the one block of that name. Raises `UpstreamError`."""
    found: dict[int, list[Server]] = {}
    names: list[str] = []
    for block, statement in _statements(text):
        if block is None or block.name != "upstream":
            continue
        if not statement:
            names.append(block.upstream)
        if block.upstream != upstream:
            continue
        servers = found.setdefault(block.line, [])
        if statement:
            servers += _in_upstream(statement)
    if len(found) == 1:
        (servers,) = found.values()
        return tuple(servers)
    if found:
        lines = " and ".join(map(str, found))
        raise UpstreamError(f"upstream {upstream} stands there more than once, in lines {lines}")
    has = f" (it has: {', '.join(names)})" if names else ""
    raise UpstreamError(f"there is no `upstream {upstream}` in it{has}")


def switched(text: str, servers: Collection[Server], *, up: Collection[str], down: Collection[str]) -> str:
    """The text with the servers at the addresses `up` without `down`, and those at `down` with it.

    `servers` are those of this very text, addresses are `normalised`.
    """
    edits: list[tuple[int, int, str]] = []
    for server in servers:
        if server.address in up:
            edits += [(_blank_before(text, start), end, "") for start, end in server.downs]
        elif server.address in down and not server.down:
            edits.append((server.end, server.end, " down"))
    for start, end, word in sorted(edits, reverse=True):
        text = text[:start] + word + text[end:]
    return text


def paused_in(text: str, upstream: str) -> str:
    """The reason of a comment `# watchdog: paused REASON` that concerns this upstream; empty when there is none.

    One in another upstream is that one's. A word that is nearly `paused` is meant so: a misspelt kill switch is one.
    """
    for comment, around in _comments(text):
        note = _NOTE.fullmatch(comment.rstrip()) if around in ("", upstream) else None
        if note is not None and nearest(note[1].lower(), (_PAUSED,)):
            return pause_reason(note[2].encode("latin-1").decode("utf-8", errors="replace"))
    return ""


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """Every comment with the upstream around it, if any; as far as the text can be read."""
    around = [""]
    words: list[_Word] = []
    with contextlib.suppress(UpstreamError):
        for word in _words(text, comments=True):
            match word.mark:
                case "#":
                    yield word.text, around[-1]
                    continue
                case "":
                    words.append(word)
                    continue
                case "{":
                    is_upstream = len(words) == 2 and words[0].text == "upstream"
                    around.append(words[1].text if is_upstream else "")
                case "}" if len(around) > 1:
                    around.pop()
            words = []


def same_to_nginx(text: str, other: str) -> bool:
    """Whether two texts differ in nothing but comments and blanks; no when one of them cannot be read."""

    def said(text: str) -> list[str]:
        return [text[word.start : word.end] for word in _words(text)]

    try:
        return said(text) == said(other)
    except UpstreamError:
        return False


def setting_of(text: str, name: str) -> str | None:
    """The last value of a top-level directive with one value, such as `pid`. Raises `UpstreamError`."""
    value = None
    for block, statement in _statements(text):
        if block is None and len(statement) == 2 and statement[0].text == name:
            value = statement[1].text
    return value


def _in_upstream(statement: list[_Word]) -> list[Server]:
    name = statement[0].text
    if name == "server":
        return [_server(statement)]
    if name == "include":
        raise UpstreamError(
            f"line {statement[0].line}: `include` in the upstream: its servers stand in another file"
        )
    return []


def _server(statement: list[_Word]) -> Server:
    first, *words = statement
    if not words:
        raise UpstreamError(f"line {first.line}: a server without an address")
    weight = 1
    for word in words[1:]:
        if word.text.startswith("weight="):
            match = _WEIGHT.fullmatch(word.text)
            if match is None or int(match[1]) == 0:
                raise UpstreamError(
                    f"line {word.line}: {word.text} is not a weight that nginx takes (1 or more); "
                    "write `down` for a server without traffic"
                )
            weight = int(match[1])
    flags = [word.text for word in words[1:]]
    return Server(
        address=normalised(words[0].text),
        weight=weight,
        down="down" in flags,
        backup="backup" in flags,
        line=first.line,
        downs=tuple((word.start, word.end) for word in words[1:] if word.text == "down"),
        end=words[-1].end,
    )


def _blank_before(text: str, start: int) -> int:
    """Where the blanks before a word begin; a line's beginning stays."""
    while start and text[start - 1] in " \t":
        start -= 1
    return start


def _statements(text: str) -> Iterator[tuple[_Block | None, list[_Word]]]:
    """Every directive with the block around it; for an upstream's beginning the block with an empty directive."""
    blocks: list[_Block] = []
    words: list[_Word] = []
    for word in _words(text):
        match word.mark:
            case "":
                words.append(word)
                continue
            case "}":
                _close(blocks, words, word)
            case ";":
                if not words:
                    raise UpstreamError(f"line {word.line}: unexpected ;")
                yield blocks[-1] if blocks else None, words
            case _:
                blocks.append(_opened(blocks, words, word))
                if blocks[-1].name == "upstream":
                    yield blocks[-1], []
        words = []
    if words:
        raise UpstreamError(f"line {words[0].line}: the file ends in the middle of `{words[0].text}`")
    if blocks:
        raise UpstreamError(f"line {blocks[-1].line}: `{blocks[-1].name}` is not closed")


def _close(blocks: list[_Block], words: list[_Word], word: _Word) -> None:
    if words:
        raise UpstreamError(f"line {words[0].line}: no ; after `{words[0].text}`")
    if not blocks:
        raise UpstreamError(f"line {word.line}: unexpected }}")
    blocks.pop()


def _opened(blocks: list[_Block], words: list[_Word], word: _Word) -> _Block:
    if not words:
        raise UpstreamError(f"line {word.line}: unexpected {{")
    name = words[0].text
    if name.endswith(_FOREIGN):
        raise UpstreamError(
            f"line {word.line}: `{name}` is not in nginx's own language; keep the upstream in a file without it"
        )
    if blocks and blocks[-1].name == "upstream":
        raise UpstreamError(f"line {word.line}: a block `{name}` in an upstream")
    if name == "upstream" and len(words) != 2:
        raise UpstreamError(f"line {word.line}: an upstream has one name")
    return _Block(name=name, upstream=words[1].text if name == "upstream" else "", line=word.line)


def _words(text: str, *, comments: bool = False) -> Iterator[_Word]:
    at, line = 0, 1
    while at < len(text):
        char = text[at]
        if char in _SPACE:
            line += char == "\n"
            at += 1
        elif char == "#":
            newline = text.find("\n", at)
            end = len(text) if newline < 0 else newline
            if comments:
                yield _Word(text=text[at:end], mark="#", start=at, end=end, line=line)
            at = end
        elif char in "{};":
            yield _Word(text="", mark=char, start=at, end=at + 1, line=line)
            at += 1
        else:
            end = _quoted_end(text, at, line) if char in "\"'" else _plain_end(text, at)
            written = text[at + 1 : end - 1] if char in "\"'" else text[at:end]
            yield _Word(text=_ESCAPED.sub(r"\1", written), mark="", start=at, end=end, line=line)
            line += text.count("\n", at, end)
            at = end


def _quoted_end(text: str, start: int, line: int) -> int:
    at = start + 1
    while at < len(text) and text[at] != text[start]:
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise UpstreamError(f"line {line}: a quote is not closed")
    if at + 1 < len(text) and text[at + 1] not in _SPACE + ";{)":
        raise UpstreamError(f"line {line}: unexpected {text[at + 1]!r} after a quote")
    return at + 1


def _plain_end(text: str, start: int) -> int:
    """A word ends at a blank, a `;` or a `{` that does not follow a `$`."""
    at = start
    while at < len(text):
        char = text[at]
        if char in _SPACE + ";" or (char == "{" and text[at - 1] != "$"):
            break
        at += 2 if char == "\\" else 1
    return min(at, len(text))

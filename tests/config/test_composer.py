"""Both ways to read YAML give the same nodes at the same places, or the quick one leaves it to the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from watchdog.config.composer import PythonComposer, quickly

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted([*HERE.rglob("*.yaml"), *(ROOT / "config").glob("*.yaml"), *(ROOT / "rules").glob("*.yaml")])
needs_libyaml = pytest.mark.skipif(not yaml.__with_libyaml__, reason="this PyYAML has no libyaml")

#: What YAML is made of, and what the two read differently.
WORDS = (
    *(
        "a",
        "b: ",
        "key: value",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        ": ",
        "? ",
        "?",
        ":",
        ",",
        ", ",
        "#",
        " # c",
        "%",
    ),
    *(
        "[",
        "]",
        "{",
        "}",
        "'",
        '"',
        "''",
        "|\n  ",
        ">-\n  ",
        ">\n",
        "|2\n ",
        "&x ",
        "*x",
        "*",
        "&",
        "!env ",
        "!!str ",
    ),
    *(
        "!",
        "!<x> ",
        "---",
        "...",
        "--- ",
        "%YAML 1.1\n",
        "é",
        "中",
        "😀",
        "\xa0",
        "\u2028",
        "\x85",
        "\r\n",
        "\r",
        "\t",
    ),
    *(
        "\ufeff",
        "\\",
        "\\n",
        "\\x41",
        "\\u263a",
        "@",
        "`",
        "~",
        "0",
        "1.5",
        "<<",
        " ",
        "  ",
        "\\\n",
        "=",
        "/",
        "-",
    ),
)
TEXTS = [file.read_text(encoding="utf-8", errors="replace") for file in FILES]


def told(node: yaml.Node | None, tags: dict[int, str], seen: dict[int, int]) -> Any:
    """All that a configuration is made of: values, styles, tags, places, and which nodes are one."""
    if node is None:
        return None
    if id(node) in seen:
        return seen[id(node)]
    seen[id(node)] = len(seen)
    at = (node.start_mark.line, node.start_mark.column, tags.get(id(node)))
    if isinstance(node, yaml.ScalarNode):
        return at, node.value, node.style or ""
    if isinstance(node, yaml.SequenceNode):
        return at, [told(one, tags, seen) for one in node.value]
    return at, [(told(key, tags, seen), told(value, tags, seen)) for key, value in node.value]


def same(text: str) -> bool:
    """Whether libyaml was believed, and then it must have been right."""
    composed = quickly(text)
    if composed is None:
        return False
    try:
        composer = PythonComposer(text)
        root = composer.get_single_node()
    except Exception as fault:
        raise AssertionError(f"libyaml reads what Python does not: {text!r}") from fault
    assert told(*composed, {}) == told(root, composer.tags, {}), text
    return True


@needs_libyaml
def test_every_file_at_hand_is_read_alike_and_the_good_ones_quickly() -> None:
    quick = {file for file, text in zip(FILES, TEXTS, strict=True) if same(text)}

    usual = {file for file in FILES if file.parent.name in ("good", "config", "rules")}
    assert len(usual) >= 8
    assert usual <= quick
    assert len(quick) > 0.8 * len(FILES)


@given(st.lists(st.sampled_from(WORDS), max_size=14).map("".join), st.sampled_from(("", "\n")))
def test_whatever_is_written_is_read_alike(text: str, end: str) -> None:
    same(text + end)


@given(st.text(max_size=30))
def test_any_text_is_read_alike(text: str) -> None:
    same(text + "\n")


@given(st.sampled_from(TEXTS), st.data())
def test_a_file_that_somebody_is_typing_in_is_read_alike(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 3))
    same(text[:at] + data.draw(st.sampled_from(WORDS)) + text[at + gone :])


@needs_libyaml
@pytest.mark.parametrize(
    "text",
    [
        "a: {b: 1, c: [x, 'y: z', \"w\\u00e9\"]}\n",
        "a: &one {k: v}\nb: *one\nc: [*one]\n",
        "é中😀: {ü: !env HOME, x: y}\n",
        "a: |\n  two\n   lines\nb: >-\n  folded\n  text\n",
        'a: "is it so?"\n',
    ],
)
def test_what_people_write_is_left_to_libyaml(text: str) -> None:
    assert same(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1",
        "a: {b? : 1}\n",
        "a:\n",
        "a: 1\r\n",
        "\ufeffa: 1\n",
        "a: \t1\n",
        "--- a\n",
        "? a\n",
        "a: [\n",
        "a: *x\n",
    ],
)
def test_where_they_may_differ_and_what_is_wrong_is_left_to_python(text: str) -> None:
    assert quickly(text) is None

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.config.document import LARGEST_FILE, read
from watchdog.config.problems import InvalidConfiguration, Problems
from watchdog.config.secrets import Secrets


def _read(path: Path, content: str | bytes) -> tuple[object, list[str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    problems = Problems()
    node = read(path, problems, secrets=Secrets({}, path.parent))
    try:
        problems.raise_if_any()
    except InvalidConfiguration as invalid:
        return node, [str(it).removeprefix(f"{path}:") for it in invalid.problems]
    assert node is not None
    return node.data(), []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.yaml"


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\nb: [x, 2.5, true]\n", {"a": 1, "b": ["x", 2.5, True]}),
        ("\ufeffa: 1\n", {"a": 1}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("a: '1'\nb: \"on\"\n", {"a": "1", "b": "on"}),
        ("a: !!str 0123\n", {"a": "0123"}),
        ("a: &x {k: v}\nb: *x\n", {"a": {"k": "v"}, "b": {"k": "v"}}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("--- # one document\na: 1\n...\n", {"a": 1}),
        ("a: ''\n", {"a": ""}),
    ],
)
def test_yaml_that_everybody_reads_the_same_is_read(file: Path, text: str, data: object) -> None:
    assert _read(file, text) == (data, [])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "1:1: is empty"),
        ("# only a comment\n", "1:1: is empty"),
        ("~\n", "1:1: is empty"),
        ("&a\n", "1:1: is empty"),
        (b"a: 1\nb: \xff\n", "2:4: is not text in UTF-8"),
        (b"\xff\xfea\x00", "1:1: is not text in UTF-8"),
        ("a: 1\nb: \x07\n", "2:4: is a character that YAML does not allow"),
        ("a: 1\nb: \x00\n", "2:4: is a character that YAML does not allow"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document begins here; one file holds one"),
        ("a: [1\n", "2:1: is not valid YAML"),
        ("a: 'x\n", "2:1: is not valid YAML"),
        ("a: *nowhere\n", "1:4: is not valid YAML: found undefined alias 'nowhere'"),
        ('a: "\\UFFFFFFFF"\n', "1:7: is not valid YAML"),
        ('a: "\\uD800"\n', "1:4: the character U+D800 cannot be used here"),
        ('a: "x\\0y"\n', "1:4: the character U+0000 cannot be used here"),
        ('"a\\e": 1\n', "1:1: the character U+001B cannot be used here"),
        ("a: {b: 1, b: 2, b: 3}\n", "1:11: duplicate key 'b'; it also stands in line 1"),
        ("a: ~\n", "1:4: a value is missing here"),
        ("a: [1, , 2]\n", "1:8: is not valid YAML"),
        ("- a\n-\n", "2:2: a value is missing here"),
        ("!!set {a}\n", "1:1: '!!set' does not go with a mapping or a list"),
        ("!env HOME: a\n", "1:1: a key must be a plain word"),
        ("a: !env [HOME]\n", "1:4: '!env' does not go with a mapping or a list"),
        ("a: !!int 5\n", "1:4: unknown tag '!!int'"),
        ("a: &a [*a]\n", "1:4: contains itself through an alias"),
        ("%YAML 9999999999999999999999.1\n---\na: 1\n", "1:1: is not valid YAML"),
        ("[" * 5000, "1:65: is not valid YAML: nested deeper than 64 levels"),
        ("? " * 5000, "1:129: is not valid YAML: nested deeper than 64 levels"),
    ],
)
def test_yaml_that_cannot_be_used_is_refused_at_its_place(
    file: Path, content: str | bytes, said: str
) -> None:
    found = _read(file, content)[1]

    assert found, "it was taken"
    assert found[0].startswith(said)


def test_aliases_that_multiply_are_stopped(file: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    (said,) = _read(file, "\n".join(lines))[1]

    assert "stands for more than 200000 values" in said


def test_aliases_that_nest_are_stopped(file: Path) -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [[[[[*a{n - 1}]]]]]" for n in range(1, 40))]

    (said,) = _read(file, "\n".join(lines))[1]

    assert "nested deeper than 64 levels, aliases followed" in said


def test_a_file_that_is_too_large_is_not_even_parsed(file: Path) -> None:
    assert _read(file, b"#" * (LARGEST_FILE + 1))[1] == ["1:1: is larger than 2048 KiB"]


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    for path, reason in [
        (tmp_path / "missing.yaml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
        (Path("a\x00b"), "this is no path"),
    ]:
        problems = Problems()

        assert read(path, problems, secrets=None) is None
        with pytest.raises(InvalidConfiguration) as raised:
            problems.raise_if_any()
        assert str(raised.value) == f"{path}:1:1: cannot be read: {reason}"


def test_positions_count_characters_and_not_bytes(file: Path) -> None:
    assert _read(file, "a: {ключ: 1, ключ: 2}\n")[1] == [
        "1:14: duplicate key 'ключ'; it also stands in line 1"
    ]


@settings(derandomize=True, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200),
        st.text(alphabet="{}[]:,-?&*!|>'\"%@# \nab", max_size=60),
    )
)
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content

    data, said = _read(path, raw)

    assert data is not None or said


@pytest.mark.parametrize(
    ("written", "column"),
    [
        ("0.1 x5, 0.2", 10),
        ('"0.1 x5, 0.2"', 11),
        ("'0.1 x5, 0.2'", 11),
        ("|\n  0.1 x5, 0.2", 4),
        ("&a 0.1 x5, 0.2", 4),
        ('"\\x30.1 x5, 0.2"', 4),
    ],
)
def test_a_place_within_a_text_is_known_where_it_is_written_as_it_is_read(
    tmp_path: Path, written: str, column: int
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"a: {written}\n")
    root = read(file, Problems(), secrets=None)
    text = root and root.get("a")
    assert text
    assert text.spot(6).column == column

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.conftest import GOOD, Draft
from tests.config.tiny_providers import TINY
from watchdog.config.check import check
from watchdog.config.load import InvalidConfiguration, load
from watchdog.config.loaded import Problem
from watchdog.core.errors import ConfigError


def test_the_text_of_the_error_is_one_line_a_mistake_in_order(draft: Draft) -> None:
    draft.replace("rules: [error-rate, healthy]", "rules: [eror-rate]").replace("kind: haproxy", "kind: hap")
    draft.replace("name: healthy", "nme: healthy")

    with pytest.raises(InvalidConfiguration) as raised:
        draft.load()

    assert isinstance(raised.value, ConfigError)
    assert str(raised.value).splitlines() == [
        f"{draft.folder}/rules.yaml:9:5: unknown key 'nme'; did you mean 'name'?",
        (
            f"{draft.folder}/watchdog.yaml:8:13: unknown rule 'eror-rate'; did you mean 'error-rate'? "
            "(known: error-rate, healthy)"
        ),
        (
            f"{draft.folder}/watchdog.yaml:10:13: unknown traffic kind 'hap'; did you mean 'haproxy'? "
            "(known: command, haproxy, lost, nginx)"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nrules:\n\t- {}\n", "rules.yaml:3:1: is not valid YAML"),
        ("", "rules.yaml:1:1: is empty"),
        ("version: 1\nrules: error-rate\n", "rules.yaml:2:8: expected a list"),
        ("version: 1\nruels: []\n", "rules.yaml:2:1: unknown key 'ruels'"),
        ("version: 1\nrules: [error-rate]\n", "rules.yaml:2:9: expected a mapping"),
    ],
)
def test_rules_that_could_not_be_read_are_no_unknown_names(draft: Draft, text: str, said: str) -> None:
    """Hundreds of services that use them would hide the one mistake; and the file named first is theirs."""
    draft.replace("backend: trips", "backnd: trips")
    draft.main = draft.main.replace("rules: [error-rate, healthy]", "rules: [error-rate, {tag: web}]")
    draft.rules = text
    with pytest.raises(InvalidConfiguration) as raised:
        draft.load()
    lines = str(raised.value).splitlines()
    assert any(said in line for line in lines)
    assert any("'backnd'" in line for line in lines), "the rest is judged all the same"
    assert not any("unknown rule" in line or "unknown tag" in line or "armed" in line for line in lines)


def test_a_misspelt_name_of_a_rule_that_could_be_read_is_told_beside_those_that_could_not(
    draft: Draft,
) -> None:
    (draft.folder / "more.yaml").write_text("version: 1\n")
    draft.main = draft.main.replace("[rules.yaml]", "[rules.yaml, more.yaml]")
    draft.replace("rules: [error-rate, healthy]", "rules: [error-rate, helthy, more]")
    with pytest.raises(InvalidConfiguration) as raised:
        draft.load()
    said = str(raised.value)
    assert "unknown rule 'helthy'; did you mean 'healthy'?" in said
    assert "unknown rule 'more'" not in said


def test_files_are_named_as_the_user_named_them(draft: Draft, request: pytest.FixtureRequest) -> None:
    folder = draft.path.parent
    here = Path.cwd()
    up = Path(*[".."] * (len(here.parts) - 1), *folder.parts[1:])
    (folder / "rules.yaml").write_text("version: 2\nrules: []\n")

    checked = check(up / "watchdog.yaml", {}, registries=TINY)

    assert not up.is_absolute()
    assert str(checked.problems[0]) == f"{up}/rules.yaml:1:10: version must be 1"


def test_rule_files_are_found_by_patterns_in_order_and_each_is_read_once(draft: Draft) -> None:
    more = draft.folder / "more" / "deep"
    more.mkdir(parents=True)
    (draft.folder / "more" / "a folder.yaml").mkdir()
    for name in ("b", "a"):
        (more / f"{name}.yaml").write_text(
            f"version: 1\nrules: [{{name: {name}, query: x, threshold: {{critical: 1}}}}]\n"
        )
    patterns = f"[rules.yaml, '**/*.yaml', {more}/a.yaml, more/../rules.yaml]"
    (draft.folder / "watchdog.yaml").unlink(missing_ok=True)
    draft.main = draft.main.replace("[rules.yaml]", patterns.replace("'**/*.yaml'", "more/**/*.yaml"))

    assert list(draft.load().rules) == ["error-rate", "healthy", "a", "b"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rules: [rules.yaml]", "rules: [nowhere/*.yaml]", "2:9: 'nowhere/*.yaml' matches no file"),
        ("rules: [rules.yaml]", "rules: ['']", "2:9: '' matches no file"),
        ("rules: [rules.yaml]", "rules: []", "2:8: `rules` must name at least one rule file"),
        ("rules: [rules.yaml]\n", "", "1:1: `rules` must name at least one rule file"),
        ("rules: [rules.yaml]", "rules: rules.yaml", "2:8: expected a list, found 'rules.yaml'"),
        ("rules: [rules.yaml]", "rules: [{tag: web}]", "2:9: expected text, found a mapping"),
    ],
)
def test_a_configuration_without_rules_is_refused(draft: Draft, old: str, new: str, said: str) -> None:
    draft.main = draft.main.replace(old, new)

    assert any(said in problem for problem in draft.problems()), draft.problems()


def test_mistakes_in_several_rule_files_are_told_together(draft: Draft) -> None:
    (draft.folder / "broken.yaml").write_text("version: 1\nrules: [\n")
    (draft.folder / "empty.yaml").write_text("")
    (draft.folder / "none.yaml").write_text("version: 1\nrules: []\n")
    (draft.folder / "list.yaml").write_text("- name: a\n")
    (draft.folder / "keys.yaml").write_text("version: 1\nrule: []\n")
    draft.replace("[rules.yaml]", "[rules.yaml, broken.yaml, empty.yaml, none.yaml, list.yaml, keys.yaml]")

    assert [it.split(",")[0] for it in draft.problems()] == [
        "broken.yaml:3:1: is not valid YAML: while parsing a flow node",
        "empty.yaml:1:1: is empty",
        "keys.yaml:2:1: unknown key 'rule'; did you mean 'rules'?",
        "keys.yaml:2:7: no rules: at least one is needed",
        "list.yaml:1:1: expected a mapping",
        "none.yaml:2:8: no rules: at least one is needed",
    ]


def test_a_rule_file_that_vanished_or_points_nowhere_is_told(draft: Draft) -> None:
    (draft.folder / "gone.yaml").symlink_to(draft.folder / "nowhere")
    draft.replace("[rules.yaml]", "['*s.yaml', gone.yaml]")

    (problem,) = draft.problems()

    assert problem == "gone.yaml:1:1: cannot be read: No such file or directory"


def test_a_configuration_that_is_not_there_is_told(tmp_path: Path) -> None:
    checked = check(tmp_path / "no.yaml", {})

    assert [str(it) for it in checked.problems] == [
        f"{tmp_path}/no.yaml:1:1: cannot be read: No such file or directory"
    ]


def test_notes_come_with_the_mistakes(draft: Draft) -> None:
    draft.insert("environments: {prod: {}}\nserver: {listen: x}\n")

    checked = check(draft.path, {}, registries=TINY)

    assert [it.message for it in checked.notes] == ["no service is in environment 'prod'"]
    assert len(checked.problems) == 1


def _load(path: Path) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        load(path, environ={}, registries=TINY)
    except InvalidConfiguration as invalid:
        problems = invalid.problems or pytest.fail("refused without a reason")
    assert all(it.at.line > 0 and it.at.column > 0 and it.message for it in problems)


@settings(derandomize=True, deadline=None)
@given(content=st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_any_content_loads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)

    _load(path)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["150%", "1e999%", "-1%", "0", "0s", "9" * 5000 + "s", "1 failures", "0 samples", "99 per 1w"]
    ),
    st.sampled_from(
        ["{}", "$service", "$label.x", "${", "sqlite:///", "[::]:0", "..", "*", "**", "none", "!env X"]
    ),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(
        st.sampled_from(["kind", "tag", "name", "critical", "rollback", "x"]), st.text(max_size=5)
    ),
)


def _places(tree: object) -> Iterator[tuple[object, object]]:
    """Every (container, key) in a tree."""
    pairs: list[tuple[object, object]] = []
    if isinstance(tree, dict):
        pairs = list(tree.items())
    elif isinstance(tree, list):
        pairs = list(enumerate(tree))
    for key, value in pairs:
        yield tree, key
        yield from _places(value)


@settings(derandomize=True, deadline=None)
@given(seed=st.randoms(use_true_random=False), odd=st.lists(ODD, min_size=1, max_size=3), which=st.booleans())
def test_odd_values_anywhere_load_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, seed: random.Random, odd: list[object], *, which: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "odd"
    folder.mkdir(exist_ok=True)
    full = (Path(__file__).parent / "full.yaml", GOOD / "rules.yaml")
    trees = [yaml.safe_load(file.read_text()) for file in full]
    for value in odd:
        container, key = seed.choice(list(_places(trees[which])))
        container[key] = value  # type: ignore[index]  # dicts and lists only
    for name, tree in zip(("watchdog.yaml", "rules.yaml"), trees, strict=True):
        (folder / name).write_text(yaml.safe_dump(tree, allow_unicode=True))

    _load(folder / "watchdog.yaml")

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.config.tiny_providers import TINY
from watchdog.config.check import check
from watchdog.config.load import Registries

HERE = Path(__file__).parent
GOOD = HERE / "good"
BAD = sorted((HERE / "bad").glob("*.yaml"))
#: The first lines of every bad file say what is wrong with it: `# LINE:COLUMN: message`.
EXPECTED = re.compile(r"# (\d+:\d+: .*)")
ENVIRON = {"EMPTY": "", "SHORT": "s3cret", "LONG": "L" * 32, "OTHER": "O" * 32}


def _expected(file: Path) -> list[str]:
    said = []
    for line in file.read_text().splitlines():
        match = EXPECTED.fullmatch(line)
        if match is None:
            break
        said.append(match[1])
    assert said, f"{file.name} does not say what is wrong with it"
    return said


def _main_file(file: Path, folder: Path) -> Path:
    """A bad rule file needs a good main file that names it."""
    if not file.name.startswith(("rule-", "probe-")):
        return file
    main = folder / "main.yaml"
    text = (GOOD / "main.yaml").read_text()
    main.write_text(text.replace("[rules.yaml]", f"[{GOOD / 'rules.yaml'}, {file}]"))
    return main


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_bad_file_is_refused_with_exactly_what_it_says_itself(file: Path, tmp_path: Path) -> None:
    # What a kind of probe says of its own settings takes the real ones.
    registries = Registries() if file.name.startswith("probe-") else TINY
    checked = check(_main_file(file, tmp_path), ENVIRON, registries=registries)

    assert {problem.at.file for problem in checked.problems} == {file}
    # The files that messages point at are shown as they were named; here only the last part is stable.
    said = [str(it).removeprefix(f"{file}:").replace(f"{file.parent}/", "") for it in checked.problems]
    assert [it.replace(f"{GOOD}/", "") for it in said] == _expected(file)


def test_there_is_a_bad_file_for_most_mistakes_people_make() -> None:
    assert len(BAD) >= 100


def test_the_good_files_that_the_bad_ones_start_from_are_good() -> None:
    checked = check(GOOD / "main.yaml", {}, registries=TINY)

    assert checked.problems == ()
    (note,) = checked.notes
    assert "never back-tested" in note.message


@pytest.mark.parametrize(
    "address", ["httpx://me:hunter2@metrics/x?token=hunter3", "http://met rics?token=hunter3"]
)
def test_what_lets_somebody_in_is_not_repeated_where_the_address_is_wrong(
    address: str, tmp_path: Path
) -> None:
    text = (GOOD / "main.yaml").read_text().replace("[rules.yaml]", f"[{GOOD / 'rules.yaml'}]")
    file = tmp_path / "main.yaml"
    file.write_text(re.sub(r"url: \S+?}", f'url: "{address}"}}', text, count=1))
    (problem,) = check(file, ENVIRON, registries=Registries()).problems

    assert "is not an address such as http://HOST:PORT" in problem.message
    assert "hunter" not in problem.message

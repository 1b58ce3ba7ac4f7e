"""Docs that cannot lie: generated pages are fresh, snippets are valid, commands and links exist."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from pennytrace_collectors.access import read_access_file
from pennytrace_collectors.catalog.pricefile import read_price_file

from .reference import DOCS, commands, pages, parser_of

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def _blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for number, block in enumerate(
            re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL), 1
        ):
            found.append((f"{page.relative_to(ROOT)}#{number}", block))
    return found


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_generated_page_says_what_the_code_says(path: Path) -> None:
    text = pages()[path]
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    assert path.read_text("utf-8") == text, "run `make golden` and review the difference"


@pytest.mark.parametrize(("place", "code"), _blocks("python"))
def test_python_in_the_docs_is_valid(place: str, code: str) -> None:
    compile(code, place, "exec")


@pytest.mark.parametrize(("place", "text"), _blocks("toml"))
def test_files_in_the_docs_are_valid(place: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text, "utf-8")

    if place.startswith("docs/how-to/security.md"):
        access = read_access_file(file)
        assert access.tokens or access.users or access.tls, place
        return
    found = read_price_file(file)
    assert found.prices or found.gpus, place


def _command_lines() -> list[str]:
    lines = [line for _, block in _blocks("console") for line in block.splitlines()]
    typed = [re.sub(r"^\$ (?:\w+='[^']*' )*", "", line) for line in lines if line.startswith("$ ")]
    return sorted({line.split("  #")[0].strip() for line in typed if line.startswith("pennytrace ")})


@pytest.mark.parametrize("line", _command_lines())
def test_commands_in_the_docs_exist_with_these_options(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    (command,) = [command for command in commands() if command.name == name]

    parser_of(command).parse_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"(?:^\$ |`)make (\w+)", page.read_text("utf-8"), re.MULTILINE):
            assert target in targets, f"{page.name} names `make {target}`"

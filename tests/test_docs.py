"""The docs keep to the code: generated tables, links, commands, settings and worked examples."""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import soilcast
from soilcast.cli import app
from soilcast.models import HEADS, NETWORKS
from soilcast.plugins import use_plugins
from soilcast.sources import SOURCES
from soilcast.training.config import PRESETS
from soilcast.training.keys import describe_keys
from soilcast.training.losses import LOSSES
from soilcast.verify import METRICS
from tests.helpers import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.md"))
WITH_PYTHON = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]

DOCUMENT = runpy.run_path(str(ROOT / "tools" / "document.py"))

_FENCED = re.compile(r"^```([^\n`]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def each(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=[page.name for page in pages])


def prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in _FENCED.findall(page.read_text(encoding="utf-8")) if language in languages]


def shell_lines(page: Path) -> Iterator[str]:
    """Lines of shell blocks and inline code of a page."""
    for block in blocks(page, "sh", "bash"):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())
    yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page)))


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:] if line.startswith("soilcast ") else []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.slow
@pytest.mark.parametrize(("file", "region"), DOCUMENT["REGIONS"])
def test_generated_region_is_up_to_date(file: str, region: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    fresh = DOCUMENT["rewritten"](text, region, DOCUMENT["REGIONS"][file, region]())
    assert text == fresh, f"{file}: run python -m tools.document"


def test_a_region_needs_both_its_marks() -> None:
    assert (
        DOCUMENT["rewritten"]("<!-- a:begin -->old<!-- a:end -->", "a", "new")
        == "<!-- a:begin -->\nnew\n<!-- a:end -->"
    )
    with pytest.raises(ValueError, match="a:end"):
        DOCUMENT["rewritten"]("<!-- a:begin -->", "a", "new")


@each(PAGES)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@each(PAGES)
def test_files_that_are_named_exist(page: Path) -> None:
    for path in re.findall(r"`((?:tests|tools|src|benchmarks)/[\w/.]+)`", prose(page)):
        assert (ROOT / path).exists(), f"{page.name}: {path}"


@each(PAGES)
def test_commands_and_their_options_exist(page: Path) -> None:
    commands: dict[str, Any] = dict(DOCUMENT["commands_of"](typer.main.get_group(app)))
    for line in shell_lines(page):
        command, *rest = words_of(line) or ["--help"]
        if command.startswith("-"):
            continue
        if rest and f"{command} {rest[0]}" in commands:
            command, *rest = f"{command} {rest[0]}", *rest[1:]
        assert command in commands, f"{page.name}: {line}"
        known = {option for parameter in commands[command].params for option in parameter.opts} | {"--help"}
        for word in rest:
            assert not word.startswith("--") or word.partition("=")[0] in known, f"{page.name}: {word} in {line}"
        if command == "prepare":
            source = next((word for word in rest if not word.startswith("-")), None)
            assert source is None or source in SOURCES or source.isupper() or "--plugin" in rest, f"{page.name}: {line}"


@each(PAGES)
def test_settings_are_valid(page: Path) -> None:
    for line in shell_lines(page):
        words = shlex.split(line, comments=True) if "--set " in line else []
        settings = [after for word, after in pairwise(words) if word == "--set" and after != "KEY=VALUE"]
        soilcast.load_config(settings=settings)


@each(PAGES)
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in shell_lines(page):
        for target in re.findall(r"^make ([a-z-]+)", line):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def test_the_public_ci_runs_targets_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = [re.fullmatch(r"make ([a-z-]+)( [A-Z_]+=\S+)*", command)[1] for command in commands]  # type: ignore[index]
    assert sorted(targets) == ["lint", "quick", "wheel-check"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = workflow["jobs"]["quick"]["strategy"]["matrix"]["python-version"]
    assert [f"Programming Language :: Python :: {one}" for one in versions] == [
        line for line in project["classifiers"] if "Python :: 3" in line
    ]


def test_defaults_in_the_method_are_those_of_the_config() -> None:
    defaults = {row.key: row.default for rows in describe_keys().values() for row in rows}
    rows = re.findall(
        r"^\|[^|]+\| ([^|]+) \|(?:[^|]+\|)? `([a-z_]+\.[a-z_]+)` \|$", prose(ROOT / "docs/method.md"), re.MULTILINE
    )
    assert len(rows) >= 10
    for said, key in rows:
        assert re.match(rf"(`?|.* ){re.escape(defaults[key])}\b|`{re.escape(defaults[key])}`", said), f"{key}: {said}"


def test_public_functions_named_in_the_docs_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"\bsoilcast\.([a-z_]+)\(", page.read_text(encoding="utf-8")):
            assert name in soilcast.__all__, f"{page.name}: soilcast.{name}"


def test_every_public_function_and_registry_is_in_the_reference() -> None:
    api, extension = ((ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("api", "extension-points"))
    for name in soilcast.__all__:
        assert re.search(rf"^\.\. auto\w+:: soilcast\.{name}$", api, re.MULTILINE), f"docs/api.md: soilcast.{name}"
    for name in ("NETWORKS", "HEADS", "LOSSES", "METRICS", "SOURCES", "PRESETS"):
        assert re.search(rf"^\.\. autodata:: soilcast\..+\.{name}$", extension, re.MULTILINE), name


def test_every_page_is_in_the_table_of_contents() -> None:
    trees = blocks(ROOT / "docs/index.md", "{toctree}")
    listed = {re.sub(r".*<(.+)>", r"\1", line) for tree in trees for line in tree.splitlines()}
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs") and page.name != "index.md":
            name = str(page.relative_to(ROOT / "docs").with_suffix(""))
            assert name in listed, f"docs/index.md: {name} is in no toctree"


@each(NOTEBOOKS)
def test_notebooks_can_be_opened_as_such(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---")[1])
    assert header["jupytext"]["text_representation"]["format_name"] == "myst"
    for code in blocks(page, "{code-cell} ipython3"):
        compile(re.sub(r"^%%.*\n", "", code), page.name, "exec")
    assert "synthetic" in text or "made up" in text, "what the data are is said"


def test_configuration_example_is_valid(tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "docs/configuration.md", "yaml")
    file = tmp_path / "example.yaml"
    file.write_text(example, encoding="utf-8")
    config = soilcast.load_config(file)
    assert (config.model, config.train.seed, config.water.runoff) == ("phys-lstm", 7, "total")


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"] == soilcast.__version__
    assert citation["license"] == project["license"]
    assert citation["references"][0]["doi"] == "10.3389/ffgc.2024.1353011"
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture
def registries() -> Iterator[None]:
    """Leave the registries as they were."""
    before = [(registry, dict(registry)) for registry in (SOURCES, NETWORKS, HEADS, PRESETS, LOSSES, METRICS)]
    yield
    use_plugins([])
    for registry, entries in before:
        registry.clear()
        registry.update(entries)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.usefixtures("registries")
@each(WITH_PYTHON)
def test_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip(), "an example shows something"

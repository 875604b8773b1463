"""What the documentation takes from package and conf/, and the files beside it."""

import re
from pathlib import Path

import configuration
import mathml
import notebook_pages
import pages
import pytest
import site_checks
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from saltext.metrics import METRICS
from saltext.runs.composition import config_folder
from tests.conftest import ROOT
from tests.doc_pages import written

CONF = config_folder()
_TOCTREE = re.compile(r"^```{toctree}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHOICES = {choice.name: choice for group in configuration.choices(CONF).values() for choice in group}


def leaves(node: object, path: str = "") -> set[str]:
    if not isinstance(node, dict) or not node:
        return {path}
    return {leaf for key, child in node.items() for leaf in leaves(child, f"{path}.{key}" if path else str(key))}


def starts(key: str) -> list[str]:
    """.a.b.c, .a.b, .a."""
    parts = key.split(".")
    return ["." + ".".join(parts[:stop]) for stop in range(len(parts), 0, -1)]


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CONF)))
def test_every_key_of_every_file_is_in_the_reference(file: Path) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    expected = {key for key in leaves({k: v for k, v in content.items() if k != "defaults"}) if key}
    found = {f".{key.path}" for key in configuration.read_choice(CONF, file).keys if key.value}
    # A mapping written on one line is one entry.
    missing = [key for key in expected if not any(path.endswith(tuple(starts(key))) for path in found)]
    assert not missing


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("config.yaml", []),
        ("model/freeze=half", ["model=tranblend", "model/freeze=half"]),
        ("model/blend=film", ["model=tranblend", "model/blend=film"]),
        ("data=own", ["data=own"]),
        ("preset/stages=paper", ["stages=tranblend/every_task", "preset=paper"]),
        ("training=adversarial", ["training=adversarial"]),
        ("preset=smoke", ["preset=smoke"]),
        ("preset/model=grounded_gaze", []),
        ("preset/model/embedded=grounded_gaze", []),
    ],
)
def test_keys_are_written_as_on_the_command_line(name: str, overrides: list[str]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = OmegaConf.to_container(compose("config", overrides))
    composed = leaves(cfg)
    shown = {key.path for key in CHOICES[name].keys if key.value and not key.path.startswith("hydra.")}
    assert shown
    assert {key for key in shown if not any(leaf == key or leaf.startswith(f"{key}.") for leaf in composed)} == set()


def test_a_key_comes_with_its_value_and_the_comment_beside_or_above_it(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    file = tmp_path / "part" / "one.yaml"
    file.write_text(
        "# What it is.\n#\n#   python -m saltext.run part=one\ndefaults:\n  - other   # first\n  - /group@_here_: x\n"
        "a: 1   # beside,\n       # below it\ngroup:   # of several\n  # above,\n  # in two lines\n  b: [1, 2]\n"
        '  c: "#no comment"\n'
    )
    choice = configuration.read_choice(tmp_path, file)
    assert choice.name == "part=one"
    assert list(choice.opening) == ["What it is.", "", "  python -m saltext.run part=one"]
    assert list(choice.parts) == ["other", "/group@_here_: x"]
    assert [(key.path, key.value, key.comment) for key in choice.keys] == [
        ("part.a", "1", "beside, below it"),
        ("part.group", "", "of several"),
        ("part.group.b", "[1, 2]", "above, in two lines"),
        ("part.group.c", '"#no comment"', ""),
    ]


@pytest.mark.parametrize("name", sorted({page.stem for page in (ROOT / "docs/metrics").glob("*.md")} - {"index"}))
def test_the_page_of_a_metric_says_how_it_is_called_where_it_comes_from_and_what_it_does_not_see(name: str) -> None:
    page = written(f"docs/metrics/{name}.md")
    for said in (f"`{name}`", METRICS[name].title, "autofunction", "score(pred", "## What it does not measure"):
        assert said in page


@pytest.mark.parametrize("name", METRICS)
def test_the_function_of_a_metric_has_its_formula_and_where_it_comes_from(name: str) -> None:
    function = METRICS[name].function
    described = getattr(function, "func", function).__doc__ or ""
    for said in (".. math::", "Returns:", "References:"):
        assert said in described, said


@pytest.mark.parametrize(
    ("tex", "ambiguous"),
    [(r"\tfrac12 x", True), (r"x^10", True), (r"\frac{1}{2} x_1", False), (r"10^{-16} \sum_{j=1}^{N} x_j^2", False)],
)
def test_a_formula_that_wants_braces_is_found(tex: str, ambiguous: bool) -> None:
    assert mathml.is_ambiguous(tex) == ambiguous


def test_no_page_leaves_a_gap() -> None:
    gaps = ["<!-- metrics -->", "<!-- commands -->", "<!-- configuration -->"]
    filled = pages.filled("x", " ".join(gaps))
    assert [gap for gap in gaps if gap in filled] == []
    assert "<!--" not in written("docs/glossary.md")


def test_every_page_is_in_exactly_one_section() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = [
        line for tree in _TOCTREE.findall(index) for line in tree.splitlines() if line and not line.startswith(":")
    ]
    files = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    of_metrics = {name for name in files if name.startswith("metrics/")} - {"metrics/index"}  # a section of their own
    assert len(listed) == len(set(listed))
    assert set(listed) == (files - of_metrics - {"index"}) | {"api/saltext"}


def test_every_notebook_has_a_page() -> None:
    notebooks = {file.stem for file in (ROOT / "notebooks").glob("*.ipynb")}
    assert {file.stem for file in (ROOT / "docs" / "tutorials").glob("*.md")} == notebooks


@pytest.mark.parametrize("file", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda file: file.stem)
def test_a_notebook_becomes_a_page_of_text_and_code_with_links_to_other_pages(file: Path) -> None:
    page = notebook_pages.markdown(file)
    assert page.startswith(f"# {file.stem[0]} · ")
    assert "```{code-block} python" in page
    assert "%%" not in page
    assert ".ipynb)" not in page
    assert "](../docs/" not in page


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of two pages with every mistake."""
    head = '<html lang="en"><head><meta name="description" content="x"></head><body><h1 id="top">'
    (tmp_path / "a.html").write_text(
        f'{head}A</h1><a href="b.html#there">b</a><a href="#top">up</a><a href="https://example.org/x">out</a></body>'
    )
    (tmp_path / "b.html").write_text(
        '<html><body><h1 id="there">B</h1><h1>C</h1><img src="no.png"><a href="a.html#gone">a</a><a href="c.html">c</a>'
    )
    return tmp_path


def test_dead_links_and_what_pages_lack_are_found(site: Path) -> None:
    found = list(site_checks.problems(site))
    assert {page for page, _ in found} == {"b.html"}
    assert {problem for _, problem in found} == {
        "expected one heading of the first level, got 2",
        "has no language",
        "has no description",
        "no.png has no alternative text",
        "no.png leads nowhere",
        "a.html#gone leads nowhere",
        "c.html leads nowhere",
    }


def test_links_to_other_sites_are_listed_with_their_page(site: Path) -> None:
    assert site_checks.external(site) == [("a.html", "https://example.org/x")]


def test_a_titled_block_gets_its_title_as_caption() -> None:
    assert (
        pages.filled("x", '```yaml title="a.yaml"\nb: 1\n```') == "```{code-block} yaml\n:caption: a.yaml\n\nb: 1\n```"
    )


def test_the_citation_has_what_its_format_needs() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["authors"] == [{"name": "saltext maintainers"}]
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
    titles = " ".join(one["title"] for one in citation["references"])
    assert all(name in titles for name in ("TranBlend", "CLIP-SalGAN", "TranSalNet", "Text Guidance"))

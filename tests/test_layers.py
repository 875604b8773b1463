"""Who may import whom."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "saltext"
PURE = [p for folder in ("models", "metrics", "losses") for p in sorted((PACKAGE / folder).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", PURE, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_models_metrics_and_losses_know_neither_lightning_nor_hydra(path: Path) -> None:
    assert not imported(path) & {"lightning", "pytorch_lightning", "hydra", "omegaconf", "wandb"}


def test_the_page_alone_knows_gradio() -> None:
    knowing = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "gradio" in imported(path)}
    assert knowing == {"demo/page.py", "demo/server.py"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_user_mistakes_are_not_caught_by_assert(path: Path) -> None:
    asserts = [n.lineno for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Assert)]
    assert not asserts, f"lines {asserts}: raise an error that says what to do"


def test_pictures_are_opened_in_one_place() -> None:
    """Where the formats are named: without, an EPS under the name of a PNG starts another program."""
    opening = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("Image.open", "PIL.Image.open", "cv2.imread")
    }
    assert opening == {"images.py"}

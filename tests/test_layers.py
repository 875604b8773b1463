"""Who may import whom."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "saltext"
PURE = [p for folder in ("models", "baselines", "metrics", "losses") for p in sorted((PACKAGE / folder).rglob("*.py"))]


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
    assert knowing == {"demo/gate.py", "demo/page.py", "demo/server.py"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_user_mistakes_are_not_caught_by_assert(path: Path) -> None:
    asserts = [n.lineno for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Assert)]
    assert not asserts, f"lines {asserts}: raise an error that says what to do"


# Floors

# A room imports from its own floor and those below; ``saltext/__init__.py`` only hands names on.
FLOORS = (
    {"errors", "console", "storage", "images", "system"},
    {"metrics", "losses"},
    {"data"},
    {"models", "baselines"},
    {"training", "evaluation", "prediction"},
    {"results"},
    {"reporting"},
    {"runs"},
    {"commands", "demo", "run", "__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# For its type alone; fix rates move beside the network they are of.
IN_A_CIRCLE = ("saltext.models.transalnet.fix_rates", "saltext.models.transalnet.network")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def own_imports(path: Path) -> set[str]:
    """Modules of the package that a module imports, anywhere in it, for types alone as well.

    What a package's ``__init__`` hands on counts as imported from where it is.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {origin(node.module, alias.name) for alias in node.names}
    return {name for name in found if name in MODULES and name != "saltext"}


def origin(module: str, name: str) -> str:
    """The module in which a name is that another one imports from ``module``."""
    if f"{module}.{name}" in MODULES:
        return f"{module}.{name}"
    if module not in MODULES or MODULES[module].name != "__init__.py":
        return module
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and name in {a.asname or a.name for a in node.names}:
            return origin(node.module, name)
    return module


ARROWS = {
    (name, other) for name, path in MODULES.items() for other in own_imports(path) if name not in ("saltext", other)
}


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in MODULES if name != "saltext"} <= FLOOR.keys()


def test_no_arrow_runs_up() -> None:
    wrong = {
        f"{name}->{other}".replace("saltext.", "") for name, other in ARROWS if FLOOR[room(name)] < FLOOR[room(other)]
    }
    assert not wrong


def test_there_is_no_circle() -> None:
    below: dict[str, set[str]] = {}
    for name, other in ARROWS:
        below.setdefault(name, set()).add(other)
    tuple(TopologicalSorter(below).static_order())  # raises CycleError


def test_the_top_of_the_package_has_at_most_seven_modules() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 7


# Writing

# Each with why what it writes needs no replacing.
WRITES_ITSELF = {
    "storage.py": "is the writer",
    "console.py": "logs are appended to",
    "runs/jobs.py": "logs are appended to",
    "data/cache.py": "builds in a folder of its own, which it renames",
    "evaluation/score_cache.py": "builds in a folder of its own, which is renamed",
    "data/synthetic.py": "builds in a folder of its own, which it renames",
    "models/feature_file.py": "records with checksums in place; a lost one is computed again",
    "demo/answer.py": "a picture for warming up, in a temporary folder",
    "reporting/figures.py": "draws into memory",
}
WRITING = {
    "write_text",
    "write_bytes",
    "to_csv",
    "savefig",
    "save",
    "copyfile",
    "copy2",
    "move",
    "dump",
    "touch",
    "FileHandler",
}
_MODES = set("wax+")


def writes(path: Path) -> list[int]:
    """Lines where a module writes to a file that is not the part of ``storage.replacing``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and "replacing(" in ast.unparse(item.context_expr)
    }
    # What is opened for writing as a part, or in memory, may be written to.
    streams = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and {"part.open('wb')", "BytesIO"} & set(_calls(item.context_expr))
    }
    fine = parts | streams
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and _writes(node, fine)]


def _calls(node: ast.AST) -> list[str]:
    return [ast.unparse(inner) for inner in ast.walk(node) if isinstance(inner, ast.Call)] + [
        inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)
    ]


def _writes(call: ast.Call, fine: set[str]) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    named = {owner, *(inner.id for value in given for inner in ast.walk(value) if isinstance(inner, ast.Name))}
    if owner == "storage" or named & fine:
        return False
    if name in ("open", "fdopen"):
        modes = [value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)]
        return any(set(mode) <= set("rwaxbt+") and set(mode) & _MODES for mode in modes)
    if name == "to_csv":
        return bool(call.args)  # without a path it is a text
    return name in WRITING and owner not in ("data.split", "logger", "ast")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_what_is_read_later_is_written_by_the_one_writer(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    if name in WRITES_ITSELF or name.partition("/")[0] in WRITES_ITSELF:
        return
    assert not writes(path), f"lines {writes(path)}: write through saltext.storage, or say here why not"


def test_a_file_written_in_place_would_be_found(tmp_path: Path) -> None:
    for line in ("path.write_text(x)", "table.to_csv(path)", "open(p, 'w')", "p.open('ab')", "torch.save(x, p)",
                 "figure.savefig(p)", "OmegaConf.save(c, p)", "np.save(p, x)", "json.dump(x, f)"):  # fmt: skip
        (tmp_path / "a.py").write_text(line)
        assert writes(tmp_path / "a.py") == [1], line


def test_pictures_are_opened_in_one_place() -> None:
    """Where the formats are named: without, an EPS under the name of a PNG starts another program."""
    opening = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("Image.open", "PIL.Image.open", "cv2.imread")
    }
    assert opening == {"images.py"}

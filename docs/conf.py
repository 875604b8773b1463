"""How Sphinx builds the documentation: ``make docs``."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

from saltext import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
import pages

project = "saltext"
author = "saltext maintainers"
copyright = f"{author}; MIT licence"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    # docs/_ext
    "accessible",
    "docstrings",
    "mathml",
    "offline",
    "site_checks",
]
exclude_patterns = ["_ext", "api/modules.rst"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"saltext {__version__}"
html_math_renderer = "mathml"
html_copy_source = False
myst_heading_anchors = 3

# Every name in a docstring has to exist; other projects' documentation would have to be asked over the network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(abc|collections|pathlib|types|typing|logging|random|enum|functools)\..*"),
    (r"py:.*", r"(torch|torchmetrics|lightning|numpy|pandas|omegaconf|PIL|pydantic|transformers|tokenizers|timm)\..*"),
    (r"py:class", r"Tensor|Figure|FreeTypeFont|lambda|pd\.(DataFrame|Series).*"),
    # Type variables and private types, and what is left of a signature with a default that is no expression.
    (r"py:(class|obj)", r"saltext\..*\.(_\w+|\w+T)|dict\[str"),
]

napoleon_use_ivar = True
autodoc_member_order = "bysource"
# What a package exports is described where it is defined, once.
autodoc_default_options = {"ignore-module-all": True}
apidoc_modules = [
    {
        "path": "../saltext",
        "destination": "api",
        "separate_modules": True,
        "automodule_options": {"members", "show-inheritance"},
        # Commands have a page of their own; how they work inside is for those who read the code.
        "exclude_patterns": [
            f"../saltext/{name}"
            for name in (
                "commands", "demo", "reporting", "system/environment.py", "system/locks.py", "system/home.py",
                "system/watched.py", "__main__.py", "console.py", "run.py", "data/loading.py",
                "data/paths.py", "runs/completion.py", "runs/composition.py", "runs/evaluate.py",
                "runs/export.py", "runs/jobs.py", "runs/launch.py", "runs/model_card.py", "runs/paths.py",
                "runs/pictures.py", "runs/predict_again.py", "runs/preflight.py", "runs/process_state.py",
                "runs/provenance.py", "runs/publish.py", "runs/records.py", "runs/report.py", "runs/reproduce.py",
                "runs/schema.py", "runs/scoring.py", "runs/signatures.py", "runs/slurm.py", "runs/sweep.py",
                "runs/tracking.py", "runs/train.py", "runs/worker.py",
            )
        ],
    }
]  # fmt: skip


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = pages.filled(name, source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _fill)

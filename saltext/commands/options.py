"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

ConfigDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="your own configuration files, where data=NAME is one of them")
]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1 ... (default: an accelerator if there is one)")
]
StageName = Annotated[str | None, typer.Option(metavar="NAME", help="which training of a run of several stages")]
TrustReader = Annotated[bool, typer.Option("--trust", help="let data=NAME run a reader of your own")]
TrustRun = Annotated[
    bool, typer.Option("--trust", help="trust the run: build classes that it names and conf/ does not")
]

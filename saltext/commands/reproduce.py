"""``saltext reproduce``."""

from pathlib import Path
from typing import Annotated

import typer


def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="table2, fig6 ... or all")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="of every experiment, or of one: EXPERIMENT:KEY=VALUE"),
    ] = None,
    show_names: Annotated[bool, typer.Option("--list", help="Show the names and exit.")] = False,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FOLDER",
            help="run nothing: write the study NAME from the runs below a folder, or from scores that were kept there",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="where --from writes  [default: outputs/reproduce/NAME]")
    ] = None,
) -> None:
    """Reproduce a paper's table or figure, beside the published values.

    First checks for the data and weights it needs, and reports what is missing and how to get it. Then runs or resumes
    the experiments, and writes tables, figures and a page to OUTPUT_DIR/reproduce/STUDY.

    \b
    saltext reproduce table2                       preset=embedded, the data set under data/sjtu-tis
    saltext reproduce fig6 data.root=DIR           ... elsewhere
    saltext reproduce all preset=smoke             tiny and random: does everything run here?
    saltext reproduce table2 protocol=standard     no test image seen before the end
    saltext reproduce fig5 table2_tranblend:stages.warmup_epochs=2     of one experiment alone
    saltext reproduce embedded --from experiments/embedded        the tables again, from kept scores
    saltext reproduce zero-shot data.root=DIR      the pretrained model on OSIE, MIT1003 or other free viewing
    """
    from saltext.errors import ConfigError, near
    from saltext.results.study import known_study
    from saltext.runs.reproduce import ZERO_SHOT, reproduce, targets, write_from

    problems = []
    if runs and overrides:
        problems.append(f"--from runs nothing: expected no KEY=VALUE, got {' '.join(overrides)}")
    if runs and name is None:
        problems.append("--from: expected the NAME of a study, got none; --list shows them")
    if out is not None and not runs:
        problems.append("--out: expected only with --from; otherwise output_dir=DIR says where everything is written")
    if problems:
        raise ConfigError("\n  ".join(problems))
    if runs and name is not None:
        print(write_from(known_study(name), runs, out or Path("outputs", "reproduce", name)))
        return
    known = targets()
    if show_names or name is None:
        print("\n".join(known))
        raise typer.Exit(0 if show_names else 2)
    if name not in known:
        raise ConfigError(
            f"Unknown table, figure or study {name!r}{near(name, list(known))}; choose from {', '.join(known)}"
        )
    if name == ZERO_SHOT:
        from saltext.runs.zero_shot import zero_shot

        print(zero_shot(overrides or []))
        return
    raise typer.Exit(int(not reproduce(known[name], overrides or [])))

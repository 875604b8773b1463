"""``saltext score``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from saltext.commands.options import ConfigDir, TrustReader


def score(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MAPS] DATA",
            help="folder of prediction maps; SJTU-TIS, a folder of maps/ and fixations/, a YAML file that describes "
            "data of your own, or data=NAME [data.KEY=VALUE ...]",
        ),
    ],
    baselines: Annotated[bool, typer.Option("--baselines", help="score the baselines alone, without MAPS")] = False,
    config_dir: ConfigDir = None,
    trust: TrustReader = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="may be given several times (default: CC, SIM, KL, NSS, three AUCs, IG)"),
    ] = None,
    extra_metrics: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML file that names your own functions as metrics (docs/own-metric.md)"),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="score only this task; may be given several times")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="show only this baseline (repeatable), or none"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="LABEL", help="name of the maps in the table (default: the folder's name)")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="write scores.csv and table.md there")] = None,
    resize: Annotated[bool, typer.Option("--resize", help="accept maps of another size (bilinear)")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="accept pairs without a prediction; with --folds, whole folds")
    ] = False,
    folds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="file of saltext folds export: MAPS has exactly one map of each pair in it"),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="MAPS were predicted with other texts (empty, other_image, opposite): add them to --out's "
            "text_ablation.csv",
        ),
    ] = None,
) -> None:
    """Score a folder of prediction maps, from any model, and print them beside the baselines.

    Maps are scored at the images' own resolution against the original fixation points. Predictions may lie in
    sub-folders named like their task. PNG (8 or 16 bits) and NPY are read; floats are better, since 8-bit maps have
    ties. All files that the scores depend on are checked first: if any is unusable, all problems are reported and
    nothing is scored. The decoded data and the baselines' scores are cached in outputs/cache while the files are the
    same.

    \b
    saltext score MAPS data/sjtu-tis            MAPS/ID.png, ID_3.png, ... or .npy, named like the pairs
    saltext score MAPS data/sjtu-tis --task salient --task non_salient --out scores --name "my model"
    saltext score MAPS salicon/val              maps/ and fixations/ (.mat, .npy, .csv or .png)
    saltext score MAPS my_data.yaml             your own data (docs/own-data.md): CONDITION/IMAGE.png
    saltext score MAPS data/sjtu-tis --folds folds.json --out DIR   a cross-validation (docs/leaderboard.md)
    saltext score OTHER_MAPS data/sjtu-tis --variant opposite --task salient --task non_salient --out DIR
    saltext score MAPS data=salicon data.root=DIR      a data set of the configuration, as train has it
    saltext score --baselines data/sjtu-tis     no predictions: the baselines alone
    saltext score MAPS DATA --extra-metrics my_metrics.yaml --metric cc --metric hit
    """
    maps, data = ([], arguments) if baselines else (arguments[:1], arguments[1:])
    if not data or (len(data) > 1 and not data[0].startswith("data=")):
        raise typer.BadParameter(f"expected MAPS DATA, or --baselines DATA, got {' '.join(arguments)}")
    if variant is not None and (out is None or baselines):
        raise typer.BadParameter("--variant: expected --out DIR, where the scores with other texts are kept, and MAPS")
    from saltext.system.environment import spin_briefly
    from saltext.system.garbage import uncollected

    spin_briefly()  # before torch loads
    with uncollected():
        from saltext import storage
        from saltext.baselines import BASELINES
        from saltext.evaluation.score_folder import DEFAULT_METRICS, score_folder
        from saltext.reporting import run_files, tables
        from saltext.results.score_table import write_scores
        from saltext.results.text_ablation import check_variant, write_variant
        from saltext.runs import data_sets

    chosen = metric or list(DEFAULT_METRICS)
    if extra_metrics is not None:
        from saltext.runs.build import register_metrics_of

        sys.path.append(str(Path.cwd()))  # the file may name modules of this folder, as a run's configuration may
        extra = register_metrics_of(extra_metrics)
        chosen = metric or [*DEFAULT_METRICS, *extra]
    baseline_names = list(BASELINES) if beside is None else [name for name in beside if name != "none"]
    if variant is not None:
        check_variant(variant)
        baseline_names = []  # they read no text
    scores = score_folder(
        Path(maps[0]) if maps else None,
        data_sets.named(data, config_dir, trust),
        metrics=chosen,
        name=name,
        tasks=task or (),
        baselines=baseline_names,
        resize=resize,
        allow_missing=allow_missing,
        folds=folds,
        cache_dir=Path("outputs/cache"),
    )
    by_protocol = tables.task_tables(scores, {})
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    if out is not None and variant is not None:
        write_variant(out / "text_ablation.csv", scores, variant)
    elif out is not None:
        write_scores(out / "scores.csv", scores)
        storage.write_text(out / "table.md", run_files.markdown([tables.all_metrics(table) for table in by_protocol]))
    for table in by_protocol:
        run_files.show(table, tables.ALL if metric or extra_metrics else "")
    pairs = len(scores[["image_id", "task"]].drop_duplicates())
    if folds is not None:
        print(f"{pairs} maps checked: one for each of these pairs in {scores['fold'].nunique()} whole folds of {folds}")
    where = "with --out DIR" if out is None else f"in {out}"
    print(f"{pairs} image-text pairs; mean ± standard error. Every metric, and the scores of each pair: {where}")
    if folds is not None and out is not None and variant is None:
        print(f"beside other models: saltext leaderboard experiments/leaderboard/rows.yaml {out / 'scores.csv'}")

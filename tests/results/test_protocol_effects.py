"""What the published protocol adds, from made-up scores of its arms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from saltext.data.splits import Split
from saltext.errors import ConfigError
from saltext.results.protocol_effects import (
    AUTHORS,
    EPOCH_KEYS,
    EPOCHS_FILE,
    STAND_IN,
    Effect,
    Kind,
    arm_scores,
    conclusion,
    effects,
    not_run,
    read_arm_scores,
    with_most_rows,
)
from saltext.results.study import Line, Study
from saltext.results.study_results import write_packed
from saltext.runs.records import read_records
from saltext.storage import write_csv, write_json
from saltext.system.run_folder import RunFolder
from tests.made_up_scores import run, spread, study

NET = Line("net", "one", where={"label": "net", "data.split.arm": "published"})
WANTED = study(NET, protocol_effects=["net"])


def epochs(**arms: list[tuple[int, int, str, str, list[float]]]) -> pd.DataFrame:
    """Scores from arm -> (seed, epoch, split, task, CC of images 0, 1 ...); test images train in arms with the leak."""
    rows = [
        (
            "net",
            STAND_IN,
            False,
            0,
            seed,
            arm,
            split,
            epoch,
            task,
            f"{split}{place}",
            split == "test" and arm in ("leaky", "control_pure"),
            value,
        )
        for arm, parts in arms.items()
        for seed, epoch, split, task, values in parts
        for place, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=[*EPOCH_KEYS, "cc"])


def only(table: pd.DataFrame, kind: Kind) -> Effect:
    (effect,) = [effect for effect in effects(table) if effect.kind is kind]
    return effect


def test_the_leak_is_the_arm_with_it_minus_the_arm_without_after_the_last_epoch_pair_by_pair() -> None:
    base = np.linspace(0.2, 0.9, 30)
    found = only(
        epochs(
            leaky=[(1, 0, "test", "whole", [9.0] * 30), (1, 1, "test", "whole", (base + 0.05).tolist())],
            clean=[(1, 1, "test", "whole", base.tolist())],
        ),
        Kind.LEAK,
    )
    assert found.estimate.mean == pytest.approx(0.05)
    assert found.resolved == pytest.approx(0, abs=1e-9)  # the same difference on every pair
    assert found.verdict == "adds"


def test_the_leak_of_pure_is_between_its_own_two_arms() -> None:
    found = only(
        epochs(
            leaky=[(1, 0, "test", "pure", [0.9, 0.9])],
            control_pure=[(1, 0, "test", "pure", [0.5, 0.7])],
            clean_pure=[(1, 0, "test", "pure", [0.4, 0.4])],
        ),
        Kind.LEAK,
    )
    assert found.estimate.mean == pytest.approx(0.2)


def test_on_images_that_train_in_neither_arm_the_same_difference_is_the_control_of_the_leak() -> None:
    table = epochs(
        leaky=[(1, 1, "test", "whole", [0.9] * 10), (1, 1, "val", "whole", [0.6] * 10)],
        clean=[(1, 1, "test", "whole", [0.5] * 10), (1, 1, "val", "whole", [0.5] * 10)],
    )
    table.loc[(table["image_id"] == "test0"), "image_trains"] = False  # a test image without the leak
    found = only(table, Kind.CONTROL)
    assert found.estimate.mean == pytest.approx((0.4 + 10 * 0.1) / 11)
    assert found.estimate.images == 11
    assert only(table, Kind.LEAK).estimate.mean == pytest.approx(0.4)
    assert "On images that train in neither network the same difference is resolved in 1 of 1" in conclusion(
        effects(table)
    )


def by_epoch(test: list[float], val: list[float], seed: int = 1) -> list[tuple[int, int, str, str, list[float]]]:
    return [
        (seed, epoch, split, "general", spread(mean, 0.1, 20))
        for split, means in (("test", test), ("val", val))
        for epoch, mean in enumerate(means)
    ]


def test_the_best_test_epoch_stands_against_the_last_and_the_one_best_on_validation() -> None:
    table = epochs(leaky=by_epoch(test=[0.5, 0.8, 0.7, 0.6], val=[0.1, 0.2, 0.4, 0.3]))
    assert only(table, Kind.LAST).estimate.mean == pytest.approx(0.2)
    assert only(table, Kind.CHOSEN).estimate.mean == pytest.approx(0.1)


def test_of_a_metric_that_is_better_when_lower_the_lowest_epoch_is_the_best() -> None:
    table = epochs(leaky=by_epoch([0.5, 0.3, 0.4], [0.5, 0.4, 0.3])).rename(columns={"cc": "kl"})
    found = only(table, Kind.LAST)
    assert found.estimate.mean == pytest.approx(-0.1)
    assert found.verdict == "adds"


def test_where_the_last_epoch_is_the_best_one_the_choice_adds_nothing() -> None:
    found = only(epochs(leaky=by_epoch([0.5, 0.6], [0.5, 0.6])), Kind.LAST)
    assert found.verdict == "none"


def test_only_pairs_that_are_defined_after_every_epoch_choose_it() -> None:
    undefined = [0.9, *[np.nan] * 19]  # the mean of its one defined score is above those of the other epoch
    table = epochs(leaky=[(1, 0, "test", "general", undefined), (1, 1, "test", "general", [0.95, *[0.5] * 19])])
    assert only(table, Kind.LAST).verdict == "none"


def test_without_validation_pairs_there_is_no_epoch_to_choose() -> None:
    kinds = {effect.kind for effect in effects(epochs(leaky=by_epoch([0.5, 0.6], [])))}
    assert kinds == {Kind.LAST}


def test_seeds_are_shown_and_averaged_and_seeds_of_both_signs_resolve_nothing() -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, 50)

    def gaps(one: float, other: float) -> Effect:
        return only(
            epochs(
                leaky=[
                    (seed, 0, "test", "whole", (0.5 + gap + noise).tolist()) for seed, gap in ((1, one), (2, other))
                ],
                clean=[(seed, 0, "test", "whole", [0.5] * 50) for seed in (1, 2)],
            ),
            Kind.LEAK,
        )

    same, mixed = gaps(0.02, 0.04), gaps(-0.01, 0.05)
    assert same.estimate.mean == pytest.approx(0.03, abs=1e-3)
    assert list(same.by_seed) == [1, 2]
    assert (same.verdict, mixed.verdict) == ("adds", "not resolved")
    assert mixed.estimate.excludes_zero


def test_more_images_resolve_less() -> None:
    def resolved(images: int) -> float:
        leaky = spread(0.5, 0.2, images)
        return only(
            epochs(leaky=[(1, 0, "test", "whole", leaky)], clean=[(1, 0, "test", "whole", [0.5] * images)]), Kind.LEAK
        ).resolved

    assert resolved(300) < 0.6 * resolved(60)


def test_the_conclusion_counts_the_cases_names_the_largest_and_says_what_is_not_resolved() -> None:
    table = epochs(
        leaky=by_epoch([0.5, 0.8, 0.7], [0.1, 0.2, 0.4]),
        clean=[(1, 2, "test", "general", spread(0.65, 0.05, 20))],
    )
    text = conclusion(effects(table))
    assert "adds to CC in 1 of 1 cases" in text
    assert "instead of the last adds 0.100 in the mean" in text
    assert "distinguished from zero: general 0.0" in text
    assert conclusion([]) == ""


COUNTS = "By the rule set in advance that counts for"
TASKS = ("pure", "whole", "general", "salient", "non_salient")


def leaks(seeds: tuple[int, ...] = (1, 2), **gaps: float) -> pd.DataFrame:
    """Scores of all tasks, whose leak adds so much; 0 of those not named."""
    arms: dict[str, list[tuple[int, int, str, str, list[float]]]] = {}
    for seed in seeds:
        for task in TASKS:
            names = ("control_pure", "clean_pure") if task == "pure" else ("leaky", "clean")
            for name, mean in zip(names, (0.5 + gaps.get(task, 0.0), 0.5), strict=True):
                arms.setdefault(name, []).append((seed, 0, "test", task, [mean] * 20))
    return epochs(**arms)


def test_an_effect_counts_for_a_network_if_it_adds_in_two_tasks_and_takes_in_none() -> None:
    def said(**gaps: float) -> str:
        return conclusion(effects(leaks(**gaps)))

    assert f"{COUNTS} net." in said(whole=0.1, general=0.1)
    assert f"{COUNTS} none of the networks." in said(whole=0.1)
    assert f"{COUNTS} none of the networks." in said(whole=0.1, general=0.1, salient=-0.1)


def test_without_a_second_seed_or_one_of_the_tasks_nothing_is_decided() -> None:
    undecided = f"{COUNTS} none of the networks; it is not decided for net, which lack a task or a second seed."
    assert undecided in conclusion(effects(leaks(seeds=(1,), whole=0.1, general=0.1)))
    table = leaks(whole=0.1, general=0.1)
    assert undecided in conclusion(effects(table[table["arm"] != "clean_pure"]))


def test_the_best_epoch_against_the_last_has_no_rule() -> None:
    last = conclusion(effects(epochs(leaky=by_epoch([0.5, 0.8, 0.7], []))))
    assert "instead of the last adds 0.100" in last
    assert "rule" not in last


def test_what_has_not_run_is_named() -> None:
    table = leaks()
    some = table[(table["arm"] != "clean") | (table["seed"] != 2)]
    assert not_run(table, ["net"]) == ""
    assert not_run(some, ["net", "other"]) == "Not run yet: net, clean under seed 2; other."
    assert not_run(leaks(seeds=(1,)), ["net"]) == "Not run yet: a second seed."


def test_rotated_rows_are_pooled_and_the_first_fifth_stands_beside_them_alone() -> None:
    first = leaks(whole=0.1)
    other = leaks(whole=0.3).assign(rotation=1, image_id=lambda table: "b" + table["image_id"])
    found = effects(pd.concat([first, other]))
    means = {
        effect.rotations: effect.estimate.mean for effect in found if (effect.kind, effect.task) == (Kind.LEAK, "whole")
    }
    assert means == pytest.approx({1: 0.1, 2: 0.2})
    assert {effect.rotations for effect in with_most_rows(found)} == {2}
    assert "+0.200" in conclusion(found)


# From runs


def arm(folder: Path, arm: str, seed: int = 1, rows: object = None, finished: bool = True) -> RunFolder:
    made = run(folder / f"{arm}-{seed}", {"pure": [0.5, 0.6]}, seed=seed)
    cfg = yaml.safe_load(made.config.read_text())
    split = {"_target_": "saltext.data.splits.PublishedArm", "arm": arm, "rows": rows, "rotation": 0}
    cfg["data"]["split"] = split
    made.config.write_text(yaml.safe_dump(cfg))
    table = [
        {"epoch": epoch, "split": split, "task": "whole", "image_id": f"00{place}", "cc": 0.1 * epoch}
        for epoch in range(3)
        for split in ("val", "test")
        for place in range(2)
    ]
    write_csv(made.epoch_scores, pd.DataFrame(table))
    Split("published", 1, "pair", {"train": ["000_1"], "val": [], "test": []}).save(made.split)
    if finished:
        write_json(made.finished_stage, {"tasks": ["whole"]})
    return made


def scores(wanted: Study, *folders: RunFolder) -> pd.DataFrame:
    return arm_scores(wanted, read_records(folders)).epochs


def test_of_runs_the_leaky_arm_is_kept_epoch_by_epoch_and_of_the_others_the_last_scores(tmp_path: Path) -> None:
    found = scores(WANTED, arm(tmp_path, "leaky"), arm(tmp_path, "clean"))
    assert found.groupby("arm").size().to_dict() == {"clean": 4, "leaky": 12}
    assert set(found.loc[found["arm"] == "clean", "epoch"]) == {2}
    trains = found[["image_id", "image_trains"]].drop_duplicates()
    assert dict(trains.to_numpy()) == {"000": True, "001": False}


def test_runs_of_another_setting_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = arm(tmp_path, "clean")
    cfg = yaml.safe_load(other.config.read_text())
    cfg["data"]["image_size"] = [64, 80]
    other.config.write_text(yaml.safe_dump(cfg))
    assert set(scores(WANTED, arm(tmp_path, "leaky"), other)["arm"]) == {"leaky"}
    assert "has another data.image_size than" in caplog.text


def test_runs_on_generated_data_are_left_out_beside_real_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    real, made = read_records([arm(tmp_path, "leaky"), arm(tmp_path, "clean")])
    made = replace(made, generated=True)
    assert set(arm_scores(WANTED, [made, real]).epochs["arm"]) == {"leaky"}
    assert "is of generated data" in caplog.text
    assert set(arm_scores(WANTED, [made]).epochs["arm"]) == {"clean"}


def test_the_published_arm_is_kept_in_both_ways_to_measure(tmp_path: Path) -> None:
    tested = arm_scores(WANTED, read_records([arm(tmp_path, "published")])).tested
    assert set(tested["protocol"]) == {"standard", "tranblend"}


def test_whose_rows_a_run_tested_is_kept(tmp_path: Path) -> None:
    found = scores(WANTED, arm(tmp_path, "leaky"), arm(tmp_path, "clean", rows={"pure": "pure.csv"}))
    assert dict(zip(found["arm"], found["rows"], strict=True)) == {"leaky": STAND_IN, "clean": AUTHORS}


def test_runs_that_still_train_and_second_ones_of_an_arm_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arm(tmp_path / "b", "clean")
    folders = [arm(tmp_path / "a", "clean"), RunFolder(tmp_path / "b" / "clean-1")]
    found = scores(WANTED, *folders, arm(tmp_path, "leaky", finished=False))
    assert len(found) == 4
    assert "left out" in caplog.text


def test_a_study_without_arms_reads_none(tmp_path: Path) -> None:
    assert scores(study(NET), arm(tmp_path, "leaky")).empty


def test_kept_scores_give_the_same_effects(tmp_path: Path) -> None:
    table = epochs(leaky=by_epoch([0.5, 0.8, 0.7], [0.1, 0.2, 0.4]))
    write_packed(tmp_path / EPOCHS_FILE, table)
    again = read_arm_scores(tmp_path)
    found, expected = (
        [(e.kind, e.task, e.estimate.signed(), e.verdict) for e in effects(of)] for of in (again.epochs, table)
    )
    assert found == expected
    assert again.tested.empty


def test_a_file_of_other_scores_is_refused(tmp_path: Path) -> None:
    write_packed(tmp_path / EPOCHS_FILE, pd.DataFrame({"image_id": ["1"], "task": ["pure"], "cc": [0.5]}))
    with pytest.raises(ConfigError, match=r"lacks the columns network, rows"):
        read_arm_scores(tmp_path)

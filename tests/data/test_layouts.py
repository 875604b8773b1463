from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saltext.data.layouts import LayoutDataModule, OwnDataModule, SaliconDataModule
from saltext.data.pairs import Found, Pair, Points
from saltext.data.truth import Truth
from saltext.errors import ConfigError, DataError
from saltext.models.baselines import BASELINES
from tests.data.made_up_layouts import SIGMA, own_copy, write_description, write_salicon

SETTINGS: dict[str, Any] = {"image_size": (36, 48), "map_size": (18, 24), "batch_size": 2}


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_copy(tmp_path_factory.mktemp("own"))[1]


@pytest.fixture(scope="module")
def salicon_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("salicon")
    write_salicon(root, train=10, val=4)
    return root


def own(path: Path, **settings: Any) -> OwnDataModule:
    return OwnDataModule(path, **SETTINGS, cache_dir=path.parent.parent / "cache", **settings)


def salicon(root: Path, **settings: Any) -> SaliconDataModule:
    return SaliconDataModule(root=root, **SETTINGS, cache_dir=root / "cache", **settings)


def test_own_data_are_served_like_the_published_ones(description: Path) -> None:
    data = own(description)
    data.prepare_data()
    assert data.tasks == data.test_tasks == ("pure", "whole", "general", "salient", "non_salient")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (2, 3, 36, 48)
    assert batch["density"].amax() <= 1
    assert len(next(iter(data.test_dataloader()))["native_points"]) == 2


def test_all_viewings_of_an_image_are_in_one_part(description: Path) -> None:
    data = own(description)
    assert data.split.method.startswith("80/20")
    images = [{data.pairs[i].image_id for i in data.indices(part)} for part in ("train", "val", "test")]
    assert sum(map(len, images)) == len(set.union(*images)) == 12


class Made(LayoutDataModule):
    """What a further layout has to say."""

    conditions = ("a", "b")

    def _find(self) -> Found:
        kinds = ["a"] * 20 + ["ab"] * 10 + ["b"]
        none = Points(np.zeros((1, 2), np.int32))
        return Found([
            Pair(f"{number:02d}", task, "", Path("i"), 1.0, none, f"{number}{task}")
            for number, kind in enumerate(kinds) for task in kind
        ])  # fmt: skip


def test_each_part_has_its_share_of_images_seen_under_the_same_conditions() -> None:
    data = Made(root="nowhere", **SETTINGS)
    tested = Counter(data.pairs[i].task for i in data.indices("test"))
    assert tested["b"] in (2, 3)  # 2 of 10 seen under both, and perhaps the only one of its kind
    assert len(data.split.parts["test"]) == 6
    assert Made(root="nowhere", split="kfold", folds=10, **SETTINGS).split.parts["test"]


def test_maps_are_blurred_as_described(description: Path) -> None:
    data = own(description)
    assert data.sigma((100, 200)) == SIGMA
    truth = Truth(data.pairs, data.cache, data.sigma)
    place = data.indices("test")[0]
    points = truth.fixations([place], truth.native_size(place))
    assert points.each.index.numel() == len(truth.points(place))


def test_free_viewing_is_whatever_is_viewed_without_a_text(description: Path) -> None:
    data = own(description)
    names = {"pure": "looking around"}
    renamed = [type(p)(**{**vars(p), "task": names.get(p.task, p.task)}) for p in data.pairs]
    truth = Truth(renamed, data.cache, data.sigma)
    covered = {renamed[i].task for i in range(len(renamed)) if BASELINES["human_pure"](truth).covers(i)}
    assert covered == {"whole", "general", "salient", "non_salient"}


def test_unknown_conditions_are_refused_with_those_that_are_there(description: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown task 'hole' \(did you mean 'whole'\?\)"):
        own(description, tasks=["hole"]).setup()


def test_a_model_can_be_asked_where_its_data_are_gone() -> None:
    assert OwnDataModule("gone.yaml", image_size=(36, 48), tasks=["a"]).settings.image_size == (36, 48)


def test_own_data_that_are_not_named_say_how(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.description=FILE"):
        OwnDataModule()
    with pytest.raises(DataError, match="no description"):
        OwnDataModule(tmp_path / "none.yaml").setup()


def test_the_papers_split_is_not_one_of_other_data(description: Path) -> None:
    with pytest.raises(ConfigError, match=r"'published' is neither one of 80/20, 70/15/15, kfold nor an existing"):
        own(description, split="published").setup()


def test_a_given_division_is_the_default_and_is_kept(salicon_root: Path) -> None:
    data = salicon(salicon_root, val_fraction=0)
    assert data.split.method == "given"
    assert all("val2014" in name for name in data.split.parts["test"])
    assert {part: len(data.indices(part)) for part in ("train", "val", "test")} == {"train": 10, "val": 0, "test": 4}


def test_a_division_without_validation_images_takes_some_of_its_training_images(salicon_root: Path) -> None:
    data = salicon(salicon_root, val_fraction=0.2)
    assert {part: len(data.indices(part)) for part in ("train", "val", "test")} == {"train": 8, "val": 2, "test": 4}
    assert data.split.parts["test"] == salicon(salicon_root).split.parts["test"]


def test_a_given_division_can_be_replaced(salicon_root: Path) -> None:
    assert len(salicon(salicon_root, split="kfold", folds=7, fold=2).indices("test")) == 2


def test_a_blur_that_is_not_said_is_fitted_to_the_maps(salicon_root: Path) -> None:
    data = salicon(salicon_root)
    data.prepare_data()
    assert data.sigma((48, 64)) == pytest.approx(5.0, rel=0.05)


def test_a_root_other_than_the_description_s_folder_can_be_named(description: Path, tmp_path: Path) -> None:
    moved = write_description(tmp_path, {})
    moved.write_text(description.read_text())
    data = OwnDataModule(moved, root=description.parent, **SETTINGS, cache_dir=tmp_path / "cache")
    assert len(data.pairs) == len(own(description).pairs)

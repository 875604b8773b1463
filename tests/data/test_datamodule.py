import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import Tensor, nn

from saltext.baselines import BASELINES
from saltext.data.datamodule import SaliencyDataModule
from saltext.data.dataset import Batch
from saltext.data.ground_truth import GroundTruth
from saltext.data.index import DatasetIndex, sets_by_conditions
from saltext.data.pairs import FixationPoints, Pair
from saltext.data.sources.custom import Custom
from saltext.data.sources.salicon import Salicon
from saltext.data.sources.sjtu_tis import SjtuTis
from saltext.data.sources.synthetic import Synthetic
from saltext.data.splits import (
    EightyTwenty,
    FromFile,
    Given,
    KFold,
    PublishedTranBlend,
    Split,
    SplitMethod,
    eighty_twenty,
)
from saltext.data.transforms import Augment
from saltext.errors import ConfigError, DataError
from tests.data.made_up_layouts import SIGMA, own_copy, write_description, write_salicon

SETTINGS: dict[str, Any] = {"image_size": (36, 48), "map_size": (18, 24), "batch_size": 2}

Make = Callable[..., SaliencyDataModule]


@pytest.fixture
def make(small_root: Path, cache_dir: Path) -> Make:
    def make(**changed: Any) -> SaliencyDataModule:
        settings: dict[str, Any] = {
            "cache_dir": cache_dir,
            "image_size": (72, 96),
            "map_size": (36, 48),
            "batch_size": 4,
            "seed": 1,
        }
        return SaliencyDataModule(SjtuTis(small_root), **(settings | changed))

    return make


def _images(batches: list[Batch]) -> Tensor:
    return torch.cat([batch["image"] for batch in batches])


def test_parts_share_no_image_and_hold_all_pairs(make: Make) -> None:
    data = make()
    indices = {part: data.indices(part) for part in ("train", "val", "test")}
    assert sorted(index for part in indices.values() for index in part) == list(range(60))
    images = [{data.pairs[index].image_id for index in part} for part in indices.values()]
    assert sum(map(len, images)) == len(set.union(*images)) == 20


def test_the_test_images_are_the_same_for_every_mixture_of_tasks(make: Make) -> None:
    everything = {make().pairs[i].image_id for i in make().indices("test")}
    salient = make(tasks="salient")
    some = {salient.pairs[i].image_id for i in salient.indices("test")}
    assert some < everything
    assert {salient.pairs[i].task for i in salient.indices("train")} == {"salient"}


def test_other_tasks_can_be_tested_than_are_trained_and_none_of_their_images_trains(make: Make) -> None:
    data = make(tasks=["pure", "salient"], test_tasks=["salient", "non_salient"], pair_pure=True)
    tasks = {part: {data.pairs[i].task for i in data.indices(part)} for part in ("train", "val", "test")}
    assert tasks == {"train": {"pure", "salient"}, "val": {"pure", "salient"}, "test": {"salient", "non_salient"}}
    images = [{data.pairs[i].image_id for i in data.indices(part)} for part in ("train", "test")]
    assert not images[0] & images[1]


def test_testing_on_validation_images_touches_no_test_image(make: Make) -> None:
    usual, choosing = make(), make(test_on="val")
    assert choosing.indices("test") == usual.indices("val")
    assert choosing.indices("train") == usual.indices("train")
    served = {index for loader in (choosing.train_dataloader(), choosing.test_dataloader()) for batch in loader
              for index in batch["index"].tolist()}  # fmt: skip
    assert not served & set(usual.indices("test"))
    assert choosing.val_dataloader() == []
    with pytest.raises(ConfigError, match=r"data.test_on must be val or test, got 'train'"):
        make(test_on="train")


def test_both_held_out_parts_can_be_scored_after_every_epoch(make: Make) -> None:
    usual, both = make(), make(epoch_splits=["val", "test"], selection_split="test")
    assert list(usual.epoch_parts) == usual.indices("val")
    assert [i for i, part in both.epoch_parts.items() if part == "val"] == both.indices("val")
    assert [i for i, part in both.epoch_parts.items() if part == "test"] == both.indices("test")
    scored = [int(index) for batch in both.val_dataloader() for index in batch["index"]]
    assert sorted(scored) == list(both.epoch_parts)


@pytest.mark.parametrize("wrong", [["val"], ["test", "train"], []])
def test_what_chooses_the_epoch_is_scored_after_every_epoch_and_the_training_set_is_not(
    make: Make, wrong: list[str]
) -> None:
    with pytest.raises(ConfigError, match=r"data.epoch_splits must be of val and test, with selection_split \(test\)"):
        make(epoch_splits=wrong, selection_split="test")


def test_several_training_seeds_share_one_test_part(make: Make) -> None:
    assert make(seed=1).split == make(seed=2).split
    assert make(split_seed=1).split != make(split_seed=2).split


def test_nothing_is_decoded_once_the_cache_is_there(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make().prepare_data()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a picture was opened")

    monkeypatch.setattr(Image, "open", refuse)
    data = make(augment=Augment())
    data.prepare_data()
    data.setup()
    served = Counter(
        index
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
        for batch in loader
        for index in batch["index"].tolist()
    )
    assert set(served.values()) == {1}
    assert len(served) in (59, 60)  # a single left-over training sample is dropped


def test_evaluation_batches_carry_native_truth_and_training_batches_do_not(make: Make) -> None:
    data = make()
    assert "native_density" in next(iter(data.test_dataloader()))
    assert "native_points" in next(iter(data.val_dataloader()))
    assert "native_density" not in next(iter(data.train_dataloader()))


def test_workers_serve_what_the_main_process_serves_and_each_epoch_differs(make: Make) -> None:
    def epochs(workers: int) -> list[Tensor]:
        loader = make(augment=Augment(), num_workers=workers).train_dataloader()
        served = []
        for epoch in range(2):
            loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            served.append(_images(list(loader)))
        return served

    alone, shared = epochs(0), epochs(2)
    assert torch.equal(alone[0], shared[0])
    assert torch.equal(alone[1], shared[1])
    assert not torch.equal(alone[0], alone[1])


@pytest.mark.parametrize("left_over", [0, 1, 2])
def test_only_a_single_left_over_sample_is_dropped_from_training(make: Make, left_over: int) -> None:
    data = make()
    data.batch_size = len(data.indices("train")) - left_over
    sizes = [len(batch["index"]) for batch in data.train_dataloader()]
    assert sizes == ([data.batch_size, 2] if left_over == 2 else [data.batch_size])


def test_starting_an_epoch_leaves_torchs_generator_alone(make: Make) -> None:
    loader = make().train_dataloader()
    before = torch.get_rng_state()
    next(iter(loader))
    assert torch.equal(torch.get_rng_state(), before)


class _Recorder(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)
        self.served: dict[int, list[int]] = {}

    def training_step(self, batch: Batch) -> Tensor:
        self.served.setdefault(self.current_epoch, []).extend(batch["index"].tolist())
        output: Tensor = self.layer(batch["image"].float())
        return output.mean()

    def validation_step(self, batch: Batch) -> None:
        assert "native_points" in batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def _trainer(**settings: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **settings,
    )


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*", "ignore:.*isinstance.*")
def test_a_resumed_run_sees_the_batches_of_the_uninterrupted_one(make: Make, tmp_path: Path) -> None:
    whole = _Recorder()
    _trainer(max_epochs=3, enable_checkpointing=False).fit(whole, datamodule=make())
    assert len({tuple(order) for order in whole.served.values()}) == 3
    first = _trainer(max_epochs=2, enable_checkpointing=False)
    first.fit(_Recorder(), datamodule=make())
    first.save_checkpoint(tmp_path / "last.ckpt")
    resumed = _Recorder()
    _trainer(max_epochs=3, enable_checkpointing=False).fit(
        resumed, datamodule=make(), ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True
    )
    assert resumed.served == {2: whole.served[2]}


def test_a_saved_split_is_used_again(make: Make, tmp_path: Path) -> None:
    data = make(split=KFold(), folds=4, fold=2)
    data.split.save(tmp_path / "split.json")
    again = make(split=FromFile(tmp_path / "split.json"))
    assert again.split == data.split
    assert again.indices("test") == data.indices("test")


def test_the_published_split_validates_on_nothing(make: Make) -> None:
    data = make(split=PublishedTranBlend())
    data.setup()
    assert data.val_dataloader() == []


def test_an_unknown_task_is_refused_at_once(make: Make) -> None:
    with pytest.raises(ConfigError, match="unknown task 'saliant' \\(did you mean 'salient'\\?\\)"):
        make(tasks=["saliant"])


def test_a_training_set_smaller_than_a_batch_is_one_batch_and_says_so(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    data = make(tasks=["salient"], batch_size=64)
    count = len(data.indices("train"))
    with caplog.at_level("INFO"):
        data.setup("fit")
    assert f"data.batch_size=64, but the training set has {count} pairs: all are one batch" in caplog.text
    (batch,) = data.train_dataloader()
    assert len(batch["text"]) == count > 1


def test_one_training_pair_trains_only_where_a_batch_of_one_was_asked_for(make: Make, tmp_path: Path) -> None:
    images = sorted({pair.image_id for pair in make().pairs if pair.task == "salient"})
    parts = {"train": images[:1], "val": [], "test": images[1:]}
    Split("by hand", 0, "image", {part: tuple(of) for part, of in parts.items()}).save(tmp_path / "split.json")
    settings = {"split": FromFile(tmp_path / "split.json"), "tasks": ["salient"]}
    with pytest.raises(ConfigError, match=r"at least two training pairs .*got 1 .*data.batch_size=1 trains on one"):
        make(**settings, batch_size=4).setup("fit")
    make(**settings, batch_size=1).setup("fit")


def test_a_part_without_samples_is_named(make: Make, tmp_path: Path) -> None:
    task = {pair.image_id: pair.task for pair in make().pairs if pair.task in ("whole", "salient")}
    of_a, of_b = (tuple(i for i in task if task[i] == name) for name in ("whole", "salient"))
    Split("by hand", 0, "image", {"train": of_b, "val": (), "test": of_a}).save(tmp_path / "split.json")
    data = make(split=FromFile(tmp_path / "split.json"), tasks=["whole"], batch_size=1)
    with pytest.raises(ConfigError, match=r"no samples of the tasks whole in the train part.*Choose more tasks"):
        data.setup()


def test_a_division_that_the_data_set_does_not_have_is_refused_with_the_choices(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"data/split=given needs .*Choose 80-20, 70-15-15 or kfold"):
        make(split=Given()).setup()


def test_a_split_of_other_data_is_refused(make: Make, tmp_path: Path) -> None:
    eighty_twenty({"1": "A", "2": "A", "3": "B", "4": "B", "5": "A"}, 0.1, 0).save(tmp_path / "split.json")
    with pytest.raises(
        DataError, match=r"5 images that are not in the data set: 1, 2.*another data/split or data\.root"
    ):
        make(split=FromFile(tmp_path / "split.json")).setup()


def test_a_wrong_root_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="SALTEXT_DATA"):
        SaliencyDataModule(SjtuTis(tmp_path / "nowhere")).prepare_data()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 0, "num_workers": -1}, r"data.batch_size=0 \(at least 1\), .*data.num_workers=-1"),
        ({"image_size": (288,)}, r"data.image_size must be a height and a width"),
        ({"map_size": (0, 4)}, r"data.map_size must be a height and a width"),
        ({"resize": "crop"}, r"data.resize must be one of stretch, letterbox, got 'crop'"),
    ],
)
def test_numbers_out_of_range_are_named(make: Make, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**changed)


def test_maps_are_at_the_inputs_size_by_default(make: Make) -> None:
    assert make(map_size=None).settings.map_size == (72, 96)


def test_synthetic_data_is_generated_when_needed(tmp_path: Path) -> None:
    source = Synthetic(tmp_path / "synthetic", images=10)
    data = SaliencyDataModule(source, cache_dir=tmp_path / "cache", image_size=(36, 48), batch_size=4)
    data.prepare_data()
    assert len(data.pairs) == 30
    assert json.loads((tmp_path / "synthetic" / "synthetic.json").read_text())["images"] == 10
    assert len(next(iter(data.train_dataloader()))["text"]) == 4


@pytest.mark.real_data
def test_the_grouped_real_split_has_the_described_sizes(sjtu_root: Path) -> None:
    data = SaliencyDataModule(SjtuTis(sjtu_root))
    assert Counter(data.pairs[i].task for i in data.indices("test")) == {
        "pure": 120, "whole": 60, "general": 60, "salient": 60, "non_salient": 60,
    }  # fmt: skip
    assert len(data.indices("train")) == 1296
    assert len(data.indices("val")) == 144


# Other data sets


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_copy(tmp_path_factory.mktemp("own"))[1]


@pytest.fixture(scope="module")
def salicon_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("salicon")
    write_salicon(root, train=10, val=4)
    return root


def own(path: Path, **settings: Any) -> SaliencyDataModule:
    return SaliencyDataModule(Custom(path), **SETTINGS, cache_dir=path.parent.parent / "cache", **settings)


def salicon_data(root: Path, **settings: Any) -> SaliencyDataModule:
    return SaliencyDataModule(Salicon(root), **SETTINGS, cache_dir=root / "cache", **settings)


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


@dataclass(frozen=True)
class Made:
    """What a further source has to say."""

    root = Path("nowhere")
    conditions = ("a", "b")
    published = None

    def read(self) -> DatasetIndex:
        kinds = ["a"] * 20 + ["ab"] * 10 + ["b"]
        none = FixationPoints(np.zeros((1, 2), np.int32))
        pairs = [
            Pair(f"{number:02d}", task, "", Path("i"), 1.0, none, f"{number}{task}")
            for number, kind in enumerate(kinds) for task in kind
        ]  # fmt: skip
        return DatasetIndex(self.root, pairs, self.conditions, [""] * len(pairs), sets_by_conditions(pairs))


def test_each_part_has_its_share_of_images_seen_under_the_same_conditions() -> None:
    data = SaliencyDataModule(Made(), **SETTINGS)
    tested = Counter(data.pairs[i].task for i in data.indices("test"))
    assert tested["b"] in (2, 3)  # 2 of 10 seen under both, and perhaps the only one of its kind
    assert len(data.split.parts["test"]) == 6
    assert SaliencyDataModule(Made(), split=KFold(), folds=10, **SETTINGS).split.parts["test"]


def test_maps_are_blurred_as_described(description: Path) -> None:
    data = own(description)
    assert data.sigma((100, 200)) == SIGMA
    truth = GroundTruth(data.pairs, data.cache, data.sigma)
    place = data.indices("test")[0]
    points = truth.fixations([place], truth.native_size(place))
    assert points.each.index.numel() == len(truth.points(place))


def test_free_viewing_is_whatever_is_viewed_without_a_text(description: Path) -> None:
    data = own(description)
    names = {"pure": "looking around"}
    renamed = [type(p)(**{**vars(p), "task": names.get(p.task, p.task)}) for p in data.pairs]
    truth = GroundTruth(renamed, data.cache, data.sigma)
    covered = {renamed[i].task for i in range(len(renamed)) if BASELINES["human_pure"](truth).covers(i)}
    assert covered == {"whole", "general", "salient", "non_salient"}


def test_unknown_conditions_are_refused_with_those_that_are_there(description: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown task 'hole' \(did you mean 'whole'\?\)"):
        own(description, tasks=["hole"]).setup()


def test_a_model_can_be_asked_where_its_data_are_gone() -> None:
    data = SaliencyDataModule(Custom("gone.yaml"), image_size=(36, 48), tasks=["a"])
    assert data.settings.image_size == (36, 48)


def test_own_data_whose_description_is_gone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no description"):
        SaliencyDataModule(Custom(tmp_path / "none.yaml")).setup()


def test_the_papers_split_is_not_one_of_other_data(description: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"data/split=published is the papers' split of SJTU-TIS, got .*Choose 80-20, 70-15-15"
    ):
        own(description, split=PublishedTranBlend()).setup()


def test_a_given_division_is_the_default_and_is_kept(salicon_root: Path) -> None:
    data = salicon_data(salicon_root, val_fraction=0)
    assert data.split.method == "given"
    assert all("val2014" in name for name in data.split.parts["test"])
    assert {part: len(data.indices(part)) for part in ("train", "val", "test")} == {"train": 10, "val": 0, "test": 4}


def test_a_division_without_validation_images_takes_some_of_its_training_images(salicon_root: Path) -> None:
    data = salicon_data(salicon_root, val_fraction=0.2)
    assert {part: len(data.indices(part)) for part in ("train", "val", "test")} == {"train": 8, "val": 2, "test": 4}
    assert data.split.parts["test"] == salicon_data(salicon_root).split.parts["test"]


def test_a_given_division_can_be_replaced(salicon_root: Path) -> None:
    assert len(salicon_data(salicon_root, split=KFold(), folds=7, fold=2).indices("test")) == 2


def test_a_blur_that_is_not_said_is_fitted_to_the_maps(salicon_root: Path) -> None:
    data = salicon_data(salicon_root)
    data.prepare_data()
    assert data.sigma((48, 64)) == pytest.approx(5.0, rel=0.05)


def test_a_root_other_than_the_description_s_folder_can_be_named(description: Path, tmp_path: Path) -> None:
    moved = write_description(tmp_path, {})
    moved.write_text(description.read_text())
    data = SaliencyDataModule(Custom(moved, description.parent), **SETTINGS, cache_dir=tmp_path / "cache")
    assert len(data.pairs) == len(own(description).pairs)


class TwoNames:
    """Two texts about the first pixel of each image."""

    condition = "named"

    def __call__(self, index: DatasetIndex) -> list[Pair]:
        images = {pair.image_id: pair.image for pair in index.pairs_with_images()}
        point = FixationPoints(np.zeros((1, 2), np.int32))
        return [
            Pair(image_id, "named", text, path, 5.0, point, f"{image_id} {text}")
            for image_id, path in images.items()
            for text in ("a dog", "a cat")
        ]


def test_pseudo_pairs_of_training_images_are_trained_on_and_no_others_are_used(make: Make) -> None:
    plain, data = make(), make(pseudo=TwoNames())
    assert data.tasks == (*plain.tasks, "named")
    assert data.test_tasks == plain.test_tasks
    assert data.split.digest == plain.split.digest
    for part in ("val", "test"):
        assert data.indices(part) == plain.indices(part)
    assert data.recorded_training_indices == plain.indices("train")
    named = [data.pairs[index] for index in data.indices("train") if data.pairs[index].task == "named"]
    trained = {plain.pairs[index].image_id for index in plain.indices("train")}
    assert Counter(pair.image_id for pair in named) == dict.fromkeys(trained, 2)
    assert "a dog" in {text for batch in data.train_dataloader() for text in batch["text"]}


def test_pseudo_pairs_are_used_only_where_their_task_is_chosen(make: Make) -> None:
    plain, data = make(), make(pseudo=TwoNames(), tasks=list(SjtuTis.conditions))
    assert data.indices("train") == plain.indices("train")


def test_a_training_on_pseudo_pairs_alone_has_nothing_to_validate_or_test(make: Make) -> None:
    data = make(pseudo=TwoNames(), tasks=["named"])
    data.setup()
    assert data.test_tasks == ()
    assert not data.validates
    assert data.val_dataloader() == []
    assert {text for batch in data.train_dataloader() for text in batch["text"]} == {"a dog", "a cat"}


class OtherImages:
    """Free viewing of two images that the data set does not have."""

    condition = "scenes"

    def __call__(self, index: DatasetIndex) -> list[Pair]:
        first = index.pairs_with_images()[0]
        return [replace(first, image_id=f"scenes/{n}", name=f"scenes/{n}", task="scenes", text="") for n in range(2)]


@pytest.mark.parametrize("split", [EightyTwenty(), PublishedTranBlend()])
def test_further_images_are_trained_on_and_are_in_no_split(make: Make, split: SplitMethod) -> None:
    plain, data = make(split=split), make(split=split, free_viewing=OtherImages())
    assert data.tasks == (*plain.tasks, "scenes")
    assert data.test_tasks == plain.test_tasks
    assert data.split.digest == plain.split.digest
    for part in ("val", "test"):
        assert data.indices(part) == plain.indices(part)
    assert data.indices("train") == [*plain.indices("train"), len(plain.pairs), len(plain.pairs) + 1]
    assert data.recorded_training_indices == plain.indices("train")
    assert "scenes" in {task for batch in data.train_dataloader() for task in batch["task"]}


def test_pseudo_pairs_and_further_images_train_together(make: Make) -> None:
    plain, data = make(), make(pseudo=TwoNames(), free_viewing=OtherImages())
    assert data.tasks == (*plain.tasks, "named", "scenes")
    named = {data.pairs[index].image_id for index in data.indices("train") if data.pairs[index].task == "named"}
    assert named == {plain.pairs[index].image_id for index in plain.indices("train")}  # none of a further image


def test_pseudo_pairs_need_a_split_by_image(make: Make) -> None:
    with pytest.raises(ConfigError, match="a split by image for the pseudo pairs"):
        _ = make(split=PublishedTranBlend(), pseudo=TwoNames()).split


def test_an_image_of_the_data_set_that_is_in_no_image_set_is_no_further_image(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make().index
    first = min(whole.image_sets)
    some = {image: own for image, own in whole.image_sets.items() if image != first}
    monkeypatch.setattr(SjtuTis, "read", lambda self: replace(whole, image_sets=some))
    data = make(free_viewing=OtherImages())
    trained = {data.pairs[index].image_id for index in data.indices("train")}
    assert first not in trained
    assert {"scenes/0", "scenes/1"} <= trained


def test_further_images_train_where_pure_is_paired(make: Make) -> None:
    data = make(free_viewing=OtherImages(), tasks=["salient", "pure", "scenes"], pair_pure=True)
    assert [data.pairs[index].task for index in data.indices("train")][-2:] == ["scenes", "scenes"]

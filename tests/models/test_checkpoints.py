import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from saltext.errors import CheckpointError
from saltext.models.checkpoints import load_weights, modern_densenet_names, read_weights


class Touches:
    """Would create a file if it were unpickled the unsafe way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_plain_safetensors_and_lightning_files_give_the_same_network(tmp_path: Path) -> None:
    wanted = linear()
    torch.save(wanted.state_dict(), tmp_path / "plain.pth")
    save_file(wanted.state_dict(), tmp_path / "safe.safetensors")
    lightning = {f"network.{key}": value for key, value in wanted.state_dict().items()} | {"loss.scale": torch.ones(1)}
    torch.save({"epoch": 3, "state_dict": lightning, "callbacks": {}}, tmp_path / "last.ckpt")
    for name in ("plain.pth", "safe.safetensors", "last.ckpt"):
        network = linear()
        assert not same(network, wanted)
        load_weights(network, tmp_path / name)
        assert same(network, wanted), name


def test_a_prefix_chooses_part_of_a_file(tmp_path: Path) -> None:
    torch.save({"encoder.weight": torch.ones(2), "decoder.weight": torch.zeros(3)}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth", "encoder.").keys() == {"weight"}
    with pytest.raises(CheckpointError, match=r"starts with 'text\.'.*encoder\.weight"):
        read_weights(tmp_path / "w.pth", "text.")


def test_a_mismatch_names_all_that_is_wrong_and_changes_nothing(tmp_path: Path) -> None:
    network = linear()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.save({"0.weight": torch.ones(5, 3), "0.bias": torch.ones(2), "2.weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError) as error:
        load_weights(network, tmp_path / "w.pth")
    message = str(error.value)
    assert "4 missing: 1.weight, 1.bias, 1.running_mean, 1.running_var" in message
    assert "1 left over: 2.weight" in message
    assert "0.weight (5x3 in the file, 2x3 in the network)" in message
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_keys_can_be_left_out_and_kept_by_pattern(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.ones(2, 3), "0.bias": torch.ones(2), "old.x": torch.ones(1)}, tmp_path / "w.pth")
    network = linear()
    load_weights(network, tmp_path / "w.pth", ignore=["old.*"], keep=["1.*"])
    assert torch.equal(network[0].weight, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("encoder.encoder.4.denselayer1.norm1.weight", "TranSalNet-Dense; choose model/encoder=densenet161"),
        ("encoder.encoder.4.0.conv1.weight", "TranSalNet-Res; choose model/encoder=resnet50"),
        ("encoder.encoder.conv_stem.weight", "model/encoder=efficientnet_lite0"),
        ("decoder.blendnet.upsample.upsample.weight", "model/blend=blending_net"),
        ("features.denseblock1.denselayer1.norm1.weight", "ImageNet DenseNet"),
    ],
)
def test_a_file_of_a_known_other_network_is_recognised(tmp_path: Path, key: str, advice: str) -> None:
    torch.save({key: torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=advice):
        load_weights(linear(), tmp_path / "w.pth")


def test_a_missing_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no weight file"):
        read_weights(tmp_path / "absent.pth")


def test_a_file_with_code_is_refused_and_the_code_does_not_run(tmp_path: Path) -> None:
    torch.save({"weight": Touches(tmp_path / "touched")}, tmp_path / "evil.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Touches(tmp_path / "touched"), protocol=2))
    for name in ("evil.pth", "bare.pth"):
        with pytest.raises(CheckpointError, match="not a file of tensors"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "touched").exists()


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    torch.save(linear().state_dict(), tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:-200])
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("not weights")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    for file in tmp_path.iterdir():
        with pytest.raises(CheckpointError, match=file.name):
            read_weights(file)


def test_old_densenet_names_become_todays_and_others_stay() -> None:
    old = {"features.denseblock1.denselayer12.norm.1.weight": 1, "features.transition1.norm.weight": 2}
    new = {"features.denseblock1.denselayer12.norm1.weight": 1, "features.transition1.norm.weight": 2}
    assert modern_densenet_names(old) == new  # type: ignore[arg-type, comparison-overlap]

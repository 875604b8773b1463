import pickle
import re
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from saltext.errors import CheckpointError
from saltext.models.checkpoints import load_weights, modern_densenet_names, read_weights, to_8_bits
from saltext.models.image.base import Encoder
from saltext.models.image.staged import DenseNet161, ResNet50
from saltext.models.transalnet.network import TranSalNet
from tests.models.zero_weights import ZeroWeights
from tests.reference import formula


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


def test_plain_nested_safetensors_and_lightning_files_give_the_same_network(tmp_path: Path) -> None:
    wanted = linear()
    torch.save(wanted.state_dict(), tmp_path / "plain.pth")
    save_file(wanted.state_dict(), tmp_path / "safe.safetensors")
    lightning = {f"network.{key}": value for key, value in wanted.state_dict().items()} | {"loss.scale": torch.ones(1)}
    torch.save({"epoch": 3, "state_dict": lightning, "callbacks": {}}, tmp_path / "last.ckpt")
    torch.save({"model": wanted.state_dict(), "epoch": 19}, tmp_path / "script.pth")
    for name in ("plain.pth", "safe.safetensors", "last.ckpt", "script.pth"):
        network = linear()
        assert not same(network, wanted)
        load_weights(network, tmp_path / name)
        assert same(network, wanted), name


def test_matrices_of_8_bits_are_read_back_within_half_a_step_of_their_row(tmp_path: Path) -> None:
    matrix = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(-3, 2)[:, None]
    matrix[2] = 0
    save_file({"bias": torch.ones(3), **to_8_bits({"weight": matrix})}, tmp_path / "w.safetensors")
    read = read_weights(tmp_path / "w.safetensors")
    assert read.keys() == {"bias", "weight"}
    assert read["weight"].dtype == torch.float32
    steps = matrix.abs().amax(1, keepdim=True) / 127
    assert bool(((read["weight"] - matrix).abs() <= 0.5001 * steps).all())


@pytest.mark.parametrize("matrix", [None, torch.zeros(4, 2, dtype=torch.int8), torch.zeros(3, dtype=torch.int8)])
def test_scales_that_fit_no_matrix_are_an_error(matrix: torch.Tensor | None, tmp_path: Path) -> None:
    scales = {"w.scale_of_8_bits": torch.ones(3, 1)}
    save_file(scales if matrix is None else scales | {"w": matrix}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="a matrix w with one scale per row"):
        read_weights(tmp_path / "w.safetensors")


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
        ("decoder.blendnet.conv1.weight", "model/blend=blending_net"),
        ("decoder.blendnet.blend.conv1.weight", "model/blend=blending_net"),
        ("decoder.blendnet.cross_attention.query_conv.weight", "model/blend=cross_attention"),
        ("decoder.blendnet.layers.0.query.weight", "model/blend=token_cross_attention"),
        ("decoder.blendnet.miniUpsamplingNetwork.upsample.weight", "model/blend=minisample"),
        ("decoder.blendnet.decode.weight", "model/blend=mask_encoder"),
        ("decoder.blendnet.film.affine.weight", "model/blend=film"),
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


def shapes(golden: Path, variant: str) -> dict[str, tuple[int, ...]]:
    return formula.published_shapes(golden / f"keys_transalnet_{variant}.json", "state_dict")


def torchvision_file(golden: Path, variant: str) -> dict[str, torch.Tensor]:
    """An ImageNet classifier's state dict, by torchvision's names, made of the names of the published TranSalNet.

    The published encoder is a list of torchvision's modules; their names are put back, and what it lacks is added.
    """
    if variant == "dense":
        names = [f"features.{name}" for name in ("conv0", "norm0", "relu0", "pool0", "denseblock1")]
        names += [f"features.{name}" for i in (1, 2, 3) for name in (f"transition{i}", f"denseblock{i + 1}")]
        outside = {f"features.norm5.{last}": (2208,) for last in ("weight", "bias", "running_mean", "running_var")}
        outside |= {"classifier.weight": (1000, 2208), "classifier.bias": (1000,)}
    else:
        names = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
        outside = {"fc.weight": (1000, 2048), "fc.bias": (1000,)}
    found = dict(outside)
    for key, shape in shapes(golden, variant).items():
        part, _, rest = key.removeprefix("encoder.encoder.").partition(".")
        if key.startswith("encoder.") and not key.endswith("num_batches_tracked"):
            found[f"{names[int(part)]}.{rest}"] = shape
    return formula.weights(found)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("variant", "encoder", "old_names"),
    [("dense", DenseNet161, False), ("dense", DenseNet161, True), ("res", ResNet50, False)],
)
def test_torchvisions_imagenet_files_fill_the_encoders(
    golden: Path, tmp_path: Path, variant: str, encoder: type[Encoder], old_names: bool
) -> None:
    state = torchvision_file(golden, variant)
    digit = r"\1.\2" if old_names else r"\1\2"
    named = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", digit, key): value for key, value in state.items()}
    assert ("features.denseblock4.denselayer24.norm.1.weight" in named) == old_names
    torch.save(named, tmp_path / "imagenet.pth")
    with ZeroWeights():
        filled = encoder(tmp_path / "imagenet.pth").state_dict()
    wanted = iter(value for key, value in state.items() if "norm5" not in key)
    values = [value for key, value in filled.items() if not key.endswith("num_batches_tracked")]
    body = [value for value in wanted if value.shape[:1] != (1000,)]
    assert len(values) == len(body)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(values, body, strict=True))


@pytest.mark.golden
def test_an_imagenet_file_that_lacks_a_layer_is_refused_by_name(golden: Path, tmp_path: Path) -> None:
    state = torchvision_file(golden, "res")
    del state["layer4.2.conv3.weight"]
    torch.save(state | {"head.weight": torch.ones(1)}, tmp_path / "cut.pth")
    with (
        ZeroWeights(),
        pytest.raises(CheckpointError, match=r"(?s)1 missing: layer4\.2\.conv3\.weight.*1 left over: head\.weight"),
    ):
        ResNet50(tmp_path / "cut.pth")


@pytest.mark.golden
@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("res", "ImageNet ResNet-50; choose model/encoder=resnet50 with model.encoder.weights=PATH"),
        ("whole", "TranSalNet-Dense; choose model/encoder=densenet161 with checkpoint=PATH"),
    ],
)
def test_a_wrong_file_for_an_encoder_says_where_it_belongs(
    golden: Path, tmp_path: Path, given: str, advice: str
) -> None:
    state = formula.weights(shapes(golden, "dense")) if given == "whole" else torchvision_file(golden, given)
    torch.save(state, tmp_path / "wrong.pth")
    with ZeroWeights(), pytest.raises(CheckpointError, match=advice):
        DenseNet161(tmp_path / "wrong.pth")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("densenet121", "DenseNet-121"),
        ("densenet169", "DenseNet-169"),
        ("resnet18", "ResNet-18"),
        ("resnet34", "ResNet-34"),
        ("resnet101", "ResNet-101"),
        ("resnet152", "ResNet-152"),
    ],
)
def test_another_network_of_the_family_is_recognised(tmp_path: Path, name: str, kind: str) -> None:
    with torch.device("meta"), ZeroWeights():
        keys = timm.create_model(name, pretrained=False).state_dict()
    torch.save({key: torch.zeros(1) for key in keys}, tmp_path / "other.pth")
    with (
        ZeroWeights(),
        pytest.raises(CheckpointError, match=f"an ImageNet {kind}; choose the file of a DenseNet-161 or a ResNet-50"),
    ):
        ResNet50(tmp_path / "other.pth")


@pytest.mark.golden
@pytest.mark.parametrize(("variant", "encoder"), [("dense", DenseNet161), ("res", ResNet50)])
def test_a_published_transalnet_loads_strictly_and_fails_by_name_elsewhere(
    golden: Path, tmp_path: Path, variant: str, encoder: type[Encoder]
) -> None:
    state = formula.weights(shapes(golden, variant))
    torch.save(state, tmp_path / "published.pth")
    with ZeroWeights():
        network = TranSalNet(encoder())
        narrow = TranSalNet(encoder(), hidden=(8, 8, 8), heads=(2, 2, 2), channels=(8, 8, 8, 8))
    load_weights(network, tmp_path / "published.pth")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())

    with pytest.raises(CheckpointError, match=r"(?s)decoder\.conv1\.weight \(768x768x3x3 in.*model/decoder=paper"):
        load_weights(narrow, tmp_path / "published.pth")
    torch.save(state | {"decoder.conv8.weight": torch.ones(1)}, tmp_path / "published.pth")
    with pytest.raises(CheckpointError, match=r"1 left over: decoder\.conv8\.weight"):
        load_weights(network, tmp_path / "published.pth")


@pytest.mark.parametrize("nest", [None, "state_dict", "model", "model_state_dict", "weights"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "net.", "model.", "module._orig_mod.net.", "generator."])
def test_a_prefix_that_all_names_share_is_taken_off(tmp_path: Path, prefix: str, nest: str | None) -> None:
    network, other = (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)) for _ in range(2))
    state = {prefix + key: value for key, value in network.state_dict().items()}
    torch.save(state if nest is None else {nest: state, "epoch": 3}, tmp_path / "w.pth")
    load_weights(other, tmp_path / "w.pth")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in network.state_dict().items())


def test_names_that_are_the_networks_own_keep_what_looks_like_a_prefix(tmp_path: Path) -> None:
    network = nn.ModuleDict({"net": nn.ModuleDict({"net": nn.Linear(2, 2)})})
    torch.save({**network.state_dict()}, tmp_path / "w.pth")
    load_weights(network, tmp_path / "w.pth")
    torch.save({f"other.{key}": value for key, value in network["net"].state_dict().items()}, tmp_path / "v.pth")
    with pytest.raises(CheckpointError, match="2 missing"):
        load_weights(network, tmp_path / "v.pth")

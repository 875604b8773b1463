"""With and without the feature cache, every family trains to the same weights and predicts the same maps."""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saltext.data.datamodule import SaliencyDataModule
from saltext.data.sources.synthetic import Synthetic
from saltext.data.transforms import Augment
from saltext.evaluation.model_predictor import ModelPredictor
from saltext.evaluation.text_variants import text_variants
from saltext.losses import GeneratorLoss, SaliencyLoss
from saltext.losses.saliency import PAPER_WEIGHTS
from saltext.models import feature_cache
from saltext.models.blending.cross_attention import CrossAttention
from saltext.models.blending.inner_product import InnerProduct
from saltext.models.clip_salgan.discriminator import Discriminator
from saltext.models.clip_salgan.pyramid import PyramidGenerator
from saltext.models.feature_cache import FeatureCache
from saltext.models.freezing import freeze
from saltext.models.grounded_gaze.backbone import Backbone
from saltext.models.grounded_gaze.network import GroundedGaze
from saltext.models.grounding.class_names import ClassNameGrounder
from saltext.models.image.timm_encoder import TimmEncoder
from saltext.models.network import SaliencyNetwork
from saltext.models.normalize import Deferred, Normalize
from saltext.models.text.base import TextEncoder
from saltext.models.text.blip import Blip
from saltext.models.text.tiny import TinyText
from saltext.models.tranblend.network import TranBlend
from saltext.models.transalnet.network import TranSalNet
from saltext.training import SupervisedModule
from saltext.training.adversarial import AdversarialModule
from tests.training import test_supervised
from tests.training.quick_trainer import trainer

pytestmark = test_supervised.pytestmark

SIZES = {"hidden": (16, 16, 8), "heads": (2, 2, 2), "channels": (16, 8, 8, 4), "grid": (2, 3), "layers": 1}
NAMES = ("circle", "square", "star")
TASKS = ("pure", "whole", "general", "salient", "non_salient")


def encoder() -> TimmEncoder:
    return TimmEncoder("test_efficientnet", frozen=True)


def grounder() -> ClassNameGrounder:
    return ClassNameGrounder(nn.Conv2d(encoder().channels[2], len(NAMES), 1), NAMES)


def blip() -> TextEncoder:
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    built = Blip(vision=sizes, text={**sizes, "num_attention_heads": 2}, image_size=32, dropout=0.0)
    for part in (built.vision_embeddings, *built.vision_blocks[:1]):
        freeze(part)
    return built


def grounded_gaze() -> GroundedGaze:
    backbones = {"one": Backbone(encoder(), grounder()), "other": Backbone(encoder(), grounder())}
    built = GroundedGaze(
        backbones,
        freeze(TinyText(dim=12)),
        TASKS,
        width=16,
        layers=1,
        heads=2,
        grid=(2, 3),
        smoothing=0.02,
        readouts_per_backbone=2,
    )
    with torch.no_grad():
        for parameter in built.readouts.parameters():
            parameter += 0.1 * torch.randn_like(parameter)  # otherwise maps are flat at first
    return built


FAMILIES: dict[str, Callable[[], SaliencyNetwork]] = {
    "transalnet": lambda: TranSalNet(encoder(), **SIZES),
    "tranblend": lambda: TranBlend(encoder(), freeze(TinyText(dim=12)), CrossAttention, grounder(), **SIZES),
    "tranblend-blip": lambda: TranBlend(encoder(), blip(), CrossAttention, **SIZES),
    "clip_salgan": lambda: PyramidGenerator(
        encoder(), TinyText(dim=12), InnerProduct, grounder(), channels=(16, 16, 8, 4), grid=(4, 6)
    ),
    "grounded_gaze": grounded_gaze,
}
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def flipping(data: SaliencyDataModule) -> Callable[..., SaliencyDataModule]:
    """The generated images, mirrored by chance."""

    def make(**settings: Any) -> SaliencyDataModule:
        flip = Augment(brightness=0, contrast=0, hue=0, saturation=0)
        return SaliencyDataModule(
            Synthetic(data.root, images=20), image_size=(64, 96), map_size=(16, 24), batch_size=6,
            cache_dir=data.cache_dir, **{"augment": flip, **settings},
        )  # fmt: skip

    return make


def module(family: str, cache: FeatureCache | None) -> SupervisedModule:
    torch.manual_seed(0)
    network = FAMILIES[family]()
    network.feature_cache = cache
    parts: dict[str, Any] = {
        "network": network,
        "normalize": Normalize(network.mean, network.std),
        "optimizer": partial(torch.optim.AdamW, lr=0.01),
        "scheduler": partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0),
        "validation_metrics": ["cc", "nss"],
        "mirror": True,
    }
    if family == "clip_salgan":
        judge = Discriminator((16, 24), channels=(4, 8))
        return AdversarialModule(**parts, discriminator=judge, loss=GeneratorLoss(), patience=None)
    return SupervisedModule(**parts, loss=SaliencyLoss(PAPER_WEIGHTS))


def trained(
    model: SupervisedModule, data: SaliencyDataModule, folder: Path
) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """Weights and logged values after two epochs."""
    torch.manual_seed(1)
    fitted = trainer(folder, max_epochs=2, limit_train_batches=2, limit_val_batches=1)
    fitted.fit(model, datamodule=data)
    return model.state_dict(), fitted.callback_metrics


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def check_that_caches_change_nothing(family: str, make: Callable[[], SaliencyDataModule], folder: Path) -> None:
    caches = {
        "none": None,
        "computed and read back": FeatureCache(folder),
        "from the first on the device": FeatureCache(folder, resident=True),
    }
    found = {name: trained(module(family, cache), make(), folder) for name, cache in caches.items()}
    weights, scores = found.pop("none")
    assert {"val/cc", "val/nss"} <= scores.keys()
    for name, (other_weights, other_scores) in found.items():
        assert same(weights, other_weights), name
        assert same(scores, other_scores), name
    assert min(len(cache) for cache in caches.values() if cache is not None) > 10


@families
def test_weights_and_scores_are_the_same_with_and_without_the_cache(
    family: str, flipping: Callable[..., SaliencyDataModule], tmp_path: Path
) -> None:
    check_that_caches_change_nothing(family, flipping, tmp_path)


def test_the_same_holds_for_letterboxed_images_in_batches_of_one_images_texts(
    flipping: Callable[..., SaliencyDataModule], tmp_path: Path
) -> None:
    make = partial(flipping, resize="letterbox", images_together=True)
    check_that_caches_change_nothing("grounded_gaze", make, tmp_path)


@families
def test_texts_are_exchanged_with_and_without_the_cache_alike(
    family: str, flipping: Callable[..., SaliencyDataModule], tmp_path: Path
) -> None:
    data = flipping()
    data.setup()
    batch = next(iter(data.test_dataloader()))
    variants = [None, *text_variants(data.pairs, data.indices("test"), reads_condition=True), None]
    cache = FeatureCache(tmp_path)
    for variant in variants:
        covered = batch["index"].tolist() if variant is None else [*variant.substitutes]
        if not set(covered) & set(batch["index"].tolist()):
            continue
        maps = []
        for found in (None, cache):
            model = module(family, found).eval()
            part = batch if variant is None else variant.view(batch)
            with torch.inference_mode():
                maps.append(model.predict_saliency(part))
        assert torch.equal(*maps)


@families
def test_no_pixel_is_hashed_in_a_training_step(
    family: str,
    flipping: Callable[..., SaliencyDataModule],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = flipping()
    data.setup()
    model = module(family, FeatureCache(tmp_path)).train()
    batches = [batch for _ in range(3) for batch in data.train_dataloader()]
    for batch in batches:
        model.saliency(batch)
    hashed: list[int] = []

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(content: Any = b"", *arguments: Any, **settings: Any) -> Any:
            hashed.append(len(memoryview(content).cast("B")) if content else 0)
            return real(content, *arguments, **settings)

        return counted

    for name in ("blake2b", "blake2s", "sha256", "sha1", "md5"):
        monkeypatch.setattr(hashlib, name, counting(getattr(hashlib, name)))
    for name in ("crc32", "adler32"):
        monkeypatch.setattr(zlib, name, counting(getattr(zlib, name)))
    for batch in batches:
        model.saliency(batch)
    assert sum(hashed) < 2000 * len(batches)  # words, by encoders that train; an image has 18,432 bytes
    assert 18_432 not in hashed
    assert max(hashed, default=0) < 1000


@pytest.mark.parametrize("family", ["transalnet", "grounded_gaze"])
def test_images_are_not_even_normalised_when_all_features_are_known(
    family: str, flipping: Callable[..., SaliencyDataModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = flipping()
    data.setup()
    model = module(family, FeatureCache(tmp_path)).train()
    batch = next(iter(data.train_dataloader()))
    first = model.saliency(batch)
    normalised: list[int] = []
    model.normalize.register_forward_hook(lambda *_: normalised.append(1))
    assert first.isfinite().all()
    model.saliency(batch)
    assert normalised == []


def test_deferred_images_are_the_normalised_ones_in_every_operation() -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 10), dtype=torch.uint8)
    normalize, conv = Normalize(), nn.Conv2d(3, 4, 3)
    images, expected = Deferred(normalize, pixels), normalize(pixels)
    assert (images.shape, images.dtype, images.device, len(images)) == (
        expected.shape,
        expected.dtype,
        expected.device,
        2,
    )
    assert images.is_floating_point()
    assert torch.equal(images + 0, expected)
    assert torch.equal(images[[1, 0]], expected[[1, 0]])
    assert torch.equal(torch.cat([expected, images]), torch.cat([expected, expected]))
    assert type(images * 2) is Tensor
    gradients = []
    for given in (images, expected):
        conv.zero_grad()
        conv(given).square().sum().backward()
        gradients.append(conv.weight.grad.clone())  # type: ignore[union-attr]
    assert torch.equal(*gradients)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(conv(images), conv(expected))
    with torch.inference_mode():
        assert torch.equal(nn.functional.avg_pool2d(images, 2), nn.functional.avg_pool2d(expected, 2))


def test_changed_colours_are_never_cached(
    data: SaliencyDataModule, flipping: Callable[..., SaliencyDataModule], tmp_path: Path
) -> None:
    coloured, cache = flipping(augment=Augment(brightness=0.3)), FeatureCache(tmp_path)
    coloured.setup()
    model = module("transalnet", cache).train()
    for batch in coloured.train_dataloader():
        model.saliency(batch)
    assert len(cache) == 0
    for batch in coloured.test_dataloader():
        model.saliency(batch)
    assert len(cache) > 0


def test_a_predictor_of_the_evaluator_addresses_its_part_of_a_batch(
    flipping: Callable[..., SaliencyDataModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = flipping(eval_batch_size=20)
    data.setup()
    batch = next(iter(data.test_dataloader()))
    (variant,) = [v for v in text_variants(data.pairs, data.indices("test"), False) if v.name == "opposite"]
    asked: list[Any] = []
    real = feature_cache.addressed

    def watched(cache: Any, images: Tensor, keys: Any, preprocessing: Any) -> Any:
        asked.append((images, keys))
        return real(cache, images, keys, preprocessing)

    monkeypatch.setattr("saltext.models.pipeline.addressed", watched)
    model = module("transalnet", FeatureCache(tmp_path)).eval()
    ModelPredictor(model.predict_saliency, variant).read(batch)
    assert len(asked) == 2  # the mirror image as well
    for images, keys in asked:
        for image, key in zip(images, keys, strict=True):
            pixels = torch.from_numpy(data.cache.images[key.row].copy()).permute(2, 0, 1)
            expected = model.normalize((pixels.flip(-1) if key.mirrored else pixels)[None])[0]
            assert torch.equal(image + 0, expected)

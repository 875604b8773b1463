import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saltext.evaluation.protocols import PAPERS, Protocol, standard
from saltext.metrics import score

CPU = torch.device("cpu")
NSS = {"tranblend": "nss_unbiased", "clip_salgan": "nss_of_map"}


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="nsss"):
        standard(["cc", "nsss"])


def test_the_standard_protocol_keeps_each_image_s_own_size() -> None:
    assert standard(["cc"]).size is None


def grey(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("L")))


def evaluation_batch(root: Path, name: str) -> dict[str, object]:
    density, looked_at = grey(root / "map_1800" / name), grey(root / "fixation_1800" / name)
    return {
        "index": torch.tensor([0]),
        "box": torch.tensor([[0, 0, 288, 384]]),
        "size": torch.tensor([density.shape]),
        "native_density": [density],
        "native_points": [looked_at.nonzero()],
    }


@pytest.mark.golden
@pytest.mark.real_data
@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_s_protocol_gives_what_its_own_script_gives(paper: str, golden: Path, sjtu_root: Path) -> None:
    protocol: Protocol = PAPERS[paper]
    assert protocol.size is not None
    height, width = protocol.size
    key = {"tranblend": "tranblend_metrics_288x384", "clip_salgan": "clipsalgan_metrics_256x256"}[paper]
    for pair in json.loads((golden / "metrics.json").read_text())["pairs"]:
        (group,) = protocol.groups(evaluation_batch(sjtu_root, pair["gt"]), CPU)
        with Image.open(sjtu_root / "map_1800" / pair["prediction"]) as image:
            pixels = np.array(image.convert("L").resize((width, height), Image.Resampling.BILINEAR))
        pred = torch.from_numpy(pixels)[None, None].float() / 255
        found = score(pred, group.density, group.fixations, protocol.metrics)
        expected = pair[key]
        assert float(found["top20_auc"]) == pytest.approx(expected["AUC"], rel=1e-9)
        assert float(found["cc"]) == pytest.approx(expected["CC_float64"], rel=1e-9)
        assert float(found[NSS[paper]]) == pytest.approx(expected["NSS_float64"], rel=1e-9)
        # One draw of the script differs from the expectation by its chance alone; 200 draws were recorded.
        assert float(found["top20_sauc"]) == pytest.approx(expected["sAUC_mean_200_seeds"], abs=2e-4)

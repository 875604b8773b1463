from pathlib import Path

import torch
from torch.nn import functional as F
from transformers import AutoProcessor, CLIPSegForImageSegmentation

from saltext.models.grounding.clipseg import ClipSegGrounder
from saltext.models.text.tiny import TinyText

TEXTS = ["there is a red circle on the table", "the small blue square " * 9]


def test_tokens_are_the_library_s(tiny: dict[str, Path]) -> None:
    text, processor = ClipSegGrounder(tiny["clipseg"]).text, AutoProcessor.from_pretrained(tiny["clipseg"])
    theirs = processor(text=TEXTS, padding="max_length", truncation=True, return_tensors="pt")
    for row, phrase in enumerate(TEXTS):
        ids, mask = text.tokens(phrase)
        assert torch.equal(ids[0], theirs["input_ids"][row])
        assert torch.equal(mask[0], theirs["attention_mask"][row])


def test_the_map_of_the_whole_text_is_the_library_s(tiny: dict[str, Path]) -> None:
    grounder, images = ClipSegGrounder(tiny["clipseg"]), torch.randn(2, 3, 40, 60)
    (features,) = grounder.image_encoder(images)
    maps = grounder(features, TEXTS, TinyText())
    model = CLIPSegForImageSegmentation.from_pretrained(tiny["clipseg"]).eval()
    ids = torch.cat([grounder.text.tokens(text)[0] for text in TEXTS])
    with torch.no_grad():
        logits = model(input_ids=ids, pixel_values=grounder.image_encoder.image_input(images)).logits
    expected = F.adaptive_avg_pool2d(logits.sigmoid(), maps.shape[-1])
    torch.testing.assert_close(maps[:, 0], expected, rtol=0, atol=2e-3)  # features are kept in half precision

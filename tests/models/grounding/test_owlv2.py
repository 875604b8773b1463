from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, Owlv2ForObjectDetection

from saltext.models.grounding.owlv2 import Owlv2Grounder
from saltext.models.text.tiny import TinyText

TEXTS = ["there is a red circle on the table", "the small blue square " * 9]


def test_tokens_are_the_library_s_and_texts_are_cut_at_16(tiny: dict[str, Path]) -> None:
    text, processor = Owlv2Grounder(tiny["owlv2"]).text, AutoProcessor.from_pretrained(tiny["owlv2"])
    theirs = processor(text=TEXTS, truncation=True, max_length=16, return_tensors="pt")
    assert torch.equal(torch.cat([text.tokens(phrase)[0] for phrase in TEXTS]), theirs["input_ids"])
    assert theirs["input_ids"].shape == (2, 16)


@pytest.mark.parametrize("size", [(32, 48), (48, 32), (90, 120)])
def test_boxes_and_scores_are_the_library_s(size: tuple[int, int], tiny: dict[str, Path]) -> None:
    grounder, images = Owlv2Grounder(tiny["owlv2"]), torch.randn(1, 3, *size)
    (features,) = grounder.image_encoder(images)
    model, processor = (kind.from_pretrained(tiny["owlv2"]) for kind in (Owlv2ForObjectDetection, AutoProcessor))
    ids, mask = grounder.text.tokens(TEXTS[0])
    with torch.no_grad():
        found = model.eval()(
            input_ids=ids, attention_mask=mask, pixel_values=grounder.image_encoder.image_input(images)
        )
    (theirs,) = processor.post_process_grounded_object_detection(found, threshold=-1.0, target_sizes=[size])
    rows, columns = (-(-6 * s // max(size)) for s in size)
    assert features.shape[2:] == (rows, columns)
    boxes = theirs["boxes"].view(6, 6, 4)[:rows, :columns]
    ours = features[0, :4].float().movedim(0, -1) * torch.tensor([size[1], size[0]] * 2)
    torch.testing.assert_close(ours, boxes, rtol=2e-3, atol=0.05)  # half precision, in pixels
    query = torch.nn.functional.normalize(grounder.text([TEXTS[0]]), dim=1)[None]
    scores = grounder.scores(features.float(), query)[0, 0]
    torch.testing.assert_close(scores, theirs["scores"].view(6, 6)[:rows, :columns], rtol=0, atol=2e-2)


def test_what_lies_in_the_padding_is_left_out(tiny: dict[str, Path]) -> None:
    grounder = Owlv2Grounder(tiny["owlv2"])
    (wide,) = grounder.image_encoder(torch.randn(1, 3, 24, 48))
    assert wide.shape[2:] == (3, 6)
    assert grounder(wide, ["a dog"], TinyText()).shape == (1, 4, 1, 2)

from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, GroundingDinoForObjectDetection

from saltext.models.grounding.grounding_dino import MAX_TOKENS, GroundingDinoGrounder
from saltext.models.text.tiny import TinyText


@pytest.mark.parametrize("text", ["There is a red circle on the table", "the small  blue square.", "a dog"])
def test_tokens_are_those_of_the_library_s_processor_and_padding(text: str, tiny: dict[str, Path]) -> None:
    ids, mask, _ = GroundingDinoGrounder(tiny["grounding_dino"]).read(text)
    processor = AutoProcessor.from_pretrained(tiny["grounding_dino"])
    expected = processor(text=[text.rstrip(".")], return_tensors="pt")["input_ids"][0]
    assert len(ids) == len(mask) == MAX_TOKENS
    assert torch.equal(ids[mask.bool()], expected)


def test_the_tokens_of_the_noun_phrase_are_found(tiny: dict[str, Path]) -> None:
    grounder = GroundingDinoGrounder(tiny["grounding_dino"])
    ids, _, in_head = grounder.read("There is a white pot on the table")
    assert grounder.tokenizer.convert_ids_to_tokens(ids[in_head]) == ["a", "white", "pot"]


def test_a_long_text_is_cut_and_keeps_its_full_stop(tiny: dict[str, Path]) -> None:
    grounder = GroundingDinoGrounder(tiny["grounding_dino"])
    ids, mask, _ = grounder.read("the small blue square " * 30)
    assert grounder.tokenizer.convert_ids_to_tokens(ids[-2:]) == [".", "[SEP]"]
    assert mask.all()


def test_padding_changes_neither_boxes_nor_scores_and_they_are_the_library_s(tiny: dict[str, Path]) -> None:
    grounder, images = GroundingDinoGrounder(tiny["grounding_dino"]), torch.randn(1, 3, 48, 64)
    (inputs,) = grounder.image_encoder(images)
    ids, mask, _ = grounder.read("there is a red circle on the table")
    model = GroundingDinoForObjectDetection.from_pretrained(tiny["grounding_dino"]).eval()
    with torch.no_grad():
        padded = grounder.model(pixel_values=inputs, input_ids=ids[None], attention_mask=mask[None])
        alone = model(pixel_values=inputs, input_ids=ids[None, mask.bool()])
    torch.testing.assert_close(padded.pred_boxes, alone.pred_boxes, rtol=0, atol=1e-5)
    torch.testing.assert_close(padded.logits.sigmoid(), alone.logits.sigmoid(), rtol=0, atol=1e-5)


def test_a_box_is_drawn_where_the_library_says_it_is(tiny: dict[str, Path]) -> None:
    grounder = GroundingDinoGrounder(tiny["grounding_dino"], max_boxes=1)
    (inputs,) = grounder.image_encoder(torch.randn(1, 3, 300, 400))
    ids, mask, _ = grounder.read("a dog")
    with torch.no_grad():
        found = grounder.model(pixel_values=inputs, input_ids=ids[None], attention_mask=mask[None])
    processor = AutoProcessor.from_pretrained(tiny["grounding_dino"])
    (result,) = processor.post_process_grounded_object_detection(
        found, ids[None], threshold=0.0, target_sizes=[(300, 400)]
    )
    left, top, right, bottom = result["boxes"][result["scores"].argmax()].tolist()
    (maps,) = grounder(inputs, ["a dog"], TinyText())
    rows, columns = maps.shape[1:]
    row, column = divmod(int(maps[0].argmax()), columns)
    centre = ((left + right) / 2 / 400 * columns, (top + bottom) / 2 / 300 * rows)
    assert abs(column + 0.5 - min(max(centre[0], 0.5), columns - 0.5)) <= 0.5 + 1e-4
    assert abs(row + 0.5 - min(max(centre[1], 0.5), rows - 0.5)) <= 0.5 + 1e-4


def test_a_smaller_side_is_a_smaller_input(tiny: dict[str, Path]) -> None:
    grounder = GroundingDinoGrounder(tiny["grounding_dino"], shorter_side=32)
    (inputs,) = grounder.image_encoder(torch.randn(1, 3, 60, 90))
    assert inputs.shape[2:] == (32, 48)

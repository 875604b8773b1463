"""Models of a few thousand random parameters of the classes that the hub has weights of, saved as the hub has them."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    PreTrainedTokenizerFast,
    SwinConfig,
    ViTImageProcessor,
)

WORDS = [
    "a", "red", "circle", "the", "small", "blue", "square", "left", "of", "big", "green", "star", "and", "dog", "there",
    "is", "white", "pot", "on", "table", "lamp", ",",
]  # fmt: skip
TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**TEXT, "hidden_size": 24, "patch_size": 8}
PATCHES = {"clipseg": 4, "owlv2": 6}
CLIP: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {"layers": 2, "width": 64, "patch_size": 8, "image_size": 32},
    "text_cfg": {"context_length": 24, "width": 16, "heads": 2, "layers": 2},
}


def clip_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Whole words in place of CLIP's byte pairs; the end has the largest id, by which CLIP finds it."""
    vocabulary = ["[pad]", "[unk]", *WORDS, "<|startoftext|>", "<|endoftext|>"]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token="[unk]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    start, end = len(vocabulary) - 2, len(vocabulary) - 1
    tokenizer.post_processor = TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[("<|startoftext|>", start), ("<|endoftext|>", end)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[pad]", unk_token="[unk]", bos_token="<|startoftext|>",
        eos_token="<|endoftext|>", model_max_length=max_length,
    )  # fmt: skip


def _clip_text(positions: int) -> dict[str, Any]:
    size = len(WORDS) + 4
    return {
        **TEXT, "vocab_size": size, "max_position_embeddings": positions, "bos_token_id": size - 2,
        "eos_token_id": size - 1, "pad_token_id": 0,
    }  # fmt: skip


def clipseg(folder: Path) -> Path:
    """A CLIPSeg for images of 32 pixels a side, with the preprocessing of the published one but for the size."""
    config = CLIPSegConfig(
        text_config=_clip_text(20), vision_config={**VISION, "image_size": 16}, projection_dim=12, reduce_dim=8,
        extract_layers=[0, 1], decoder_num_attention_heads=2, decoder_intermediate_size=12,
        use_complex_transposed_convolution=True,
    )  # fmt: skip
    images = ViTImageProcessor(
        size={"height": 32, "width": 32}, resample=2, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    )
    CLIPSegProcessor(images, clip_tokenizer(20)).save_pretrained(folder)
    return _saved(CLIPSegForImageSegmentation(config), images, folder)


def owlv2(folder: Path) -> Path:
    """An OWLv2 for squares of 48 pixels a side."""
    config = Owlv2Config(
        text_config=_clip_text(16), vision_config={**VISION, "image_size": 48}, projection_dim=16,
    )  # fmt: skip
    images = Owlv2ImageProcessor(size={"height": 48, "width": 48})
    Owlv2Processor(images, clip_tokenizer(16)).save_pretrained(folder)
    model = Owlv2ForObjectDetection(config)
    torch.nn.init.normal_(model.class_head.dense0.weight)
    torch.nn.init.constant_(model.class_head.logit_scale.bias, 2.0)
    return _saved(model, images, folder)


def grounding_dino(folder: Path) -> Path:
    """A Grounding DINO whose shorter side is 64 pixels."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *WORDS]
    (folder / "words").mkdir(parents=True)
    (folder / "words" / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(folder / "words")
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=2, out_indices=[2, 3, 4], image_size=64
        ),
        text_config=BertConfig(**TEXT, vocab_size=len(vocabulary), max_position_embeddings=64),
        num_queries=12, encoder_layers=1, decoder_layers=2, d_model=32, encoder_ffn_dim=24, decoder_ffn_dim=24,
        encoder_attention_heads=2, decoder_attention_heads=2, max_text_len=64,
    )  # fmt: skip
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 107})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return _saved(GroundingDinoForObjectDetection(config), images, folder)


def clip(path: Path) -> Path:
    """Weights of the CLIP of :data:`CLIP`."""
    torch.save(open_clip.CLIP(**CLIP).state_dict(), path)
    return path


def siglip(folder: Path) -> Path:
    """A SigLIP as open_clip saves it for the hub."""
    config = {
        "embed_dim": 12, "init_logit_bias": -10.0, "custom_text": True, "vision_cfg": CLIP["vision_cfg"],
        "text_cfg": {
            "context_length": 10, "vocab_size": len(WORDS) + 4, "width": 16, "heads": 2, "layers": 2,
            "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
            "act_kwargs": {"approximate": "tanh"}, "tokenizer_kwargs": {"clean": "canonicalize"},
        },
    }  # fmt: skip
    folder.mkdir(parents=True)
    model = open_clip.CustomTextCLIP(**{key: value for key, value in config.items() if key != "custom_text"})
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    clip_tokenizer(10).save_pretrained(folder)
    return folder


def _saved(model: Any, images: Any, folder: Path) -> Path:
    """Saved with ``preprocessor_config.json``, where the published repositories have it."""
    model.save_pretrained(folder)
    images.save_pretrained(folder)
    assert json.loads((folder / "preprocessor_config.json").read_text())
    return folder

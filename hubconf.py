"""Entry point of torch.hub.

    model = torch.hub.load("OWNER/REPOSITORY", "load")  # the pretrained model; run="org/model" or a folder: another

It needs the packages of pyproject.toml.
"""

from saltext.runs.load import load as load

dependencies = ["torch", "lightning", "hydra", "omegaconf", "timm", "torchmetrics", "transformers", "safetensors"]

"""What golden training steps are computed and compared with. Nothing here uses the package."""

import torch
from torch import Tensor, nn


def gradient_norm(module: nn.Module) -> float:
    return sum(p.grad.square().sum().item() for p in module.parameters() if p.grad is not None) ** 0.5


def loss_terms(p: Tensor, g: Tensor, f: Tensor) -> dict[str, Tensor]:
    """The authors' loss terms, written from section 4 of the golden files' README, with no code of the package."""
    p, g, f = p.flatten(1), g.flatten(1), f.flatten(1)
    centred_p, centred_g = p - p.mean(1, keepdim=True), g - g.mean(1, keepdim=True)
    cc = (centred_p * centred_g).sum(1) / (centred_p.square().sum(1) * centred_g.square().sum(1)).sqrt()
    shares = []
    for x in (p, g):
        low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
        scaled = (x - low) / (high - low)
        shares.append(scaled / scaled.sum(1, keepdim=True))
    big_p, big_g, eps = p / p.sum(1, keepdim=True), g / g.sum(1, keepdim=True), 2.2204e-16
    kldiv = (big_g * torch.log(eps + big_g / (big_p + eps))).sum(1)
    nss = (centred_p / p.std(1, keepdim=True) * f).sum(1) / f.sum(1)
    terms = {"cc": cc, "sim": torch.minimum(*shares).sum(1), "kldiv": kldiv, "nss": nss, "mse": (p - g).square()}
    return {name: term.mean() for name, term in terms.items()}

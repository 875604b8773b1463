"""CLIP-SalGAN: generators that read an image and a text, and the discriminator they are trained against."""

from saltext.models.clip_salgan.discriminator import Discriminator
from saltext.models.clip_salgan.fusion import Concat, InnerProduct
from saltext.models.clip_salgan.generator import Generator
from saltext.models.clip_salgan.pyramid import PyramidGenerator
from saltext.models.clip_salgan.sal_gan_vgg import SalGANVGG
from saltext.models.clip_salgan.small import SmallGenerator

__all__ = [
    "Concat",
    "Discriminator",
    "Generator",
    "InnerProduct",
    "PyramidGenerator",
    "SalGANVGG",
    "SmallGenerator",
]

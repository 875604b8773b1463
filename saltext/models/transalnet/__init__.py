"""TranSalNet: a convolutional encoder, a transformer at three strides, a convolutional decoder (Lou et al. 2022)."""

from saltext.models.transalnet.encoders import DenseNet161Encoder, Encoder, ResNet50Encoder, TimmEncoder
from saltext.models.transalnet.network import TranSalNet

__all__ = ["DenseNet161Encoder", "Encoder", "ResNet50Encoder", "TimmEncoder", "TranSalNet"]

"""TranSalNet: a convolutional encoder, a transformer at three strides, a convolutional decoder (Lou et al. 2022)."""

from saltext.models.transalnet.encoders import DenseNet161, Encoder, ResNet50, TimmEncoder
from saltext.models.transalnet.network import TranSalNet

__all__ = ["DenseNet161", "Encoder", "ResNet50", "TimmEncoder", "TranSalNet"]

"""TranSalNet: a convolutional encoder, a transformer at three strides, a convolutional decoder (Lou et al. 2022)."""

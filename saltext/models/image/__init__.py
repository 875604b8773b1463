"""Image encoders: features of an image at several strides."""

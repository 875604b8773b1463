"""Text encoders; one, ``Blip``, reads the image along."""

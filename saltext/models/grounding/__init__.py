"""Grounding: where an image shows what a text names."""

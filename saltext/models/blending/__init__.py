"""Blending modules, which combine a text with an image feature; interchangeable by configuration, one per file."""

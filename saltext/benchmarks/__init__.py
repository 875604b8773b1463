"""Measurements of speed and memory, next to other implementations of the same thing."""

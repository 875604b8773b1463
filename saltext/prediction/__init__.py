"""Prediction for images and texts outside a data set: what ``saltext.load`` and ``saltext predict`` share."""

"""Saliency networks and their parts: plain PyTorch that knows nothing of training and configuration."""

"""Saliency networks and their modules: plain PyTorch, independent of training and configuration."""

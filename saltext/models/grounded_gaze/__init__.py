"""The suite's own network: text-guided saliency from frozen unimodal weights."""

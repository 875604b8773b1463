"""From the scores of single pairs to what people read."""

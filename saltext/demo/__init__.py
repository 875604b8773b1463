"""A page to look at predictions with: an image, two texts, and how the map moves from one to the other."""

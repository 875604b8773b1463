"""Ways to blend a text into an image feature, interchangeable by configuration; one a module."""

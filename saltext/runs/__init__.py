"""A run as a function: from a configuration to the files in its folder."""

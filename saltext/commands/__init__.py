"""The commands of ``saltext``: a thin file each, which imports what it needs when it runs."""

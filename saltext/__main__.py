"""``python -m saltext``, which is the same as ``saltext``."""

from saltext.commands.app import main

if __name__ == "__main__":
    main()

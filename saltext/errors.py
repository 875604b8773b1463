"""Mistakes a user can mend. The command line shows their message alone, without a traceback."""


class SaltextError(ValueError):
    """Says what was expected, what came, and what to do."""


class DataError(SaltextError):
    """The data set on disk, or a split of it, is not what was asked for."""


class UnusableError(DataError):
    """A file that cannot be used.

    Attributes:
        kind: What is wrong, the same words for all files with this fault.
        detail: What is wrong with this one; may be empty.
    """

    def __init__(self, kind: str, detail: object = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = str(detail)


class ConfigError(SaltextError):
    """The composed configuration cannot work, whatever the data."""


class CheckpointError(SaltextError):
    """A weight file is missing, changed, or made for another network."""

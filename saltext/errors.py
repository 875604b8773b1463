"""Mistakes a user can mend. The command line shows their message alone, without a traceback."""


class SaltextError(ValueError):
    """Says what was expected, what came, and what to do."""


class DataError(SaltextError):
    """The data set on disk, or a split of it, is not what was asked for."""


class ConfigError(SaltextError):
    """The composed configuration cannot work, whatever the data."""


class CheckpointError(SaltextError):
    """A weight file is missing, changed, or made for another network."""


class DamagedFileError(SaltextError):
    """A file that a run or a command left is missing, empty, cut, or not what was written."""

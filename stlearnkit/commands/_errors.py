"""What went wrong, and whose turn it is."""

__all__ = ["JobError", "SettingsError"]


class SettingsError(ValueError):
    """The file of settings cannot be meant: exit code 2."""


class JobError(RuntimeError):
    """A job could not be done: exit code 1."""

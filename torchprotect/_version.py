"""The version of this package, as it stands in ``pyproject.toml``."""

__version__ = "0.2.0"

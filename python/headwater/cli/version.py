"""``headwater version``."""


def version() -> None:
    """Say which headwater this is."""
    from importlib.metadata import version

    print(version("headwater"))

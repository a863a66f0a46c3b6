"""A directory in memory that crashes on demand: what does a program leave behind when it dies right here?

Every change of the directory is an operation with a number. A test runs a program once to count them, and then again and
again, letting each operation be the first that does not happen any more (`SimulatedDisk.fail_at`). What a restart finds
depends on the crash (`SimulatedDisk.crash`): a killed process loses nothing that was written, a power cut everything that
no sync covered, or any part of it.
"""

from __future__ import annotations

from typing import Literal

from headwater import _core
from headwater.errors import InvalidArgumentError
from headwater.log.broker import Broker
from headwater.log.opening import open_core

CrashLevel = Literal["killed", "power_loss", "prefixes", "torn", "reordered"]
"""What a crash leaves: everything written; only what was synced; of each file some first part of the rest; a write in part;
names in another order than they changed."""

LEVELS: tuple[CrashLevel, ...] = ("killed", "power_loss", "prefixes", "torn", "reordered")


class SimulatedDisk:
    """A directory in memory, for one broker at a time.

    Example:
        >>> disk = SimulatedDisk()
        >>> with disk.open() as broker:
        ...     _ = broker.create_topic("rides")
        >>> with disk.crash("power_loss").open() as broker:
        ...     broker.topics()
        ['rides']
    """

    def __init__(self) -> None:
        """Begin with an empty directory."""
        self._core = _core.SimulatedDisk()

    def open(self) -> Broker:
        """Open the directory, as `headwater.open` does with one on a real disk."""
        return open_core(_core.Log(None, "fsync", "rw", self._core), "simulated:", "fsync")

    def fail_at(self, operation: int | None) -> None:
        """Let an operation, and all behind it, fail: the process is dead to the disk.

        Args:
            operation: Its number, from 1, counted from now on; None for none.
        """
        if operation is not None and (not isinstance(operation, int) or operation < 1):
            raise InvalidArgumentError(
                f"expected the number of an operation, 1 or more, got {operation!r} - at fail_at"
            )
        self._core.fail_at(operation)

    @property
    def operations(self) -> int:
        """How many operations were tried since the last `fail_at`, or since the beginning."""
        return self._core.operations()

    def crash(self, level: CrashLevel = "power_loss", *, seed: int = 1) -> SimulatedDisk:
        """What a restart may find if the machine stops now.

        Args:
            level: What the crash leaves of that which was not synced.
            seed: Draws one of the possible directories.

        Returns:
            A disk of its own, on which nothing fails.
        """
        if level not in LEVELS:
            raise InvalidArgumentError(f"expected one of {', '.join(LEVELS)}, got {level!r} - at crash")
        left = SimulatedDisk()
        left._core = self._core.crash(level, seed)
        return left

"""How what a task has done comes to count: the processing guarantee.

Both write outputs and changelogs first and the positions that led to them last. *At least once* makes the former durable
before the latter: a crash in between repeats them. *Exactly once* puts all of it in one transaction of the log, so that
who reads committed records sees everything a commit stands for, or nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from headwater.log import Broker
    from headwater.state import Transaction

ProcessingGuarantee = Literal["at_least_once", "exactly_once"]
"""What a crash may do to outputs: repeat some, or nothing."""

Entry = tuple[str, int, int, str]
"""Topic, partition, next offset, metadata."""

TIMEOUT_SECONDS = 60
"""How long a task's transaction may be open, unless commits are farther apart than half of it."""


class Committer(Protocol):
    """Makes a task's work count."""

    @property
    def transaction(self) -> Transaction | None:
        """What appends are a part of, if anything."""

    def begin(self) -> None:
        """Get ready for the first append since the last commit; more often does nothing."""

    def commit(self, offsets: list[Entry]) -> None:
        """Make what was appended count, together with these offsets."""

    def abandon(self) -> None:
        """Let what was appended since the last commit not count, as far as that is possible."""


class AtLeastOnce:
    """Appends are durable, then offsets are committed."""

    transaction: Transaction | None = None

    def __init__(self, broker: Broker, group: str) -> None:
        """Commit for a group.

        Args:
            broker: Where everything is.
            group: The application's id.
        """
        self._log = broker._shared.core
        self._group = group

    def begin(self) -> None:
        """Nothing: appends stand alone."""

    def commit(self, offsets: list[Entry]) -> None:
        """Sync, then commit.

        Args:
            offsets: The task's positions.
        """
        self._log.sync()
        if offsets:
            self._log.commit_offsets(self._group, offsets)

    def abandon(self) -> None:
        """Nothing: appends have been made, and are made again."""


class ExactlyOnce:
    """Appends and offsets are one transaction."""

    def __init__(self, broker: Broker, group: str, task: str, *, commit_seconds: float) -> None:
        """Take over the task's transactional id, ``<application>-<task>``: another one that runs it is fenced.

        Args:
            broker: Where everything is.
            group: The application's id.
            task: The task's name.
            commit_seconds: How far apart commits are.
        """
        timeout = min(900.0, max(TIMEOUT_SECONDS, 2 * commit_seconds))
        self.transaction: Transaction = broker._shared.transaction(f"{group}-{task}", f"{timeout:g}s")
        self._group = group

    def begin(self) -> None:
        """Begin a transaction unless one is open."""
        if not self.transaction.is_open():
            self.transaction.begin()

    def commit(self, offsets: list[Entry]) -> None:
        """Commit the transaction, with the offsets in it.

        Args:
            offsets: The task's positions.
        """
        self.begin()
        self.transaction.send_offsets(self._group, offsets)
        self.transaction.commit()

    def abandon(self) -> None:
        """Abort what is open."""
        if self.transaction.is_open():
            self.transaction.abort()

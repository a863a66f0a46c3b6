"""The exceptions that headwater raises: one base class, a kind for each thing that a caller can do about it.

Messages read ``expected X, got Y - at WHERE; what to do``; what WHERE names is also in attributes (``topic``,
``partition``, ``offset``, ``path``, ``field``, ``key``), None where it does not apply. Each class has a stable ``code``.
Rust raises these very classes: they are defined here and imported there.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HeadwaterError(Exception):
    """Base of every exception that headwater raises on purpose; catch it to catch them all."""

    code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str = "",
        *,
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        path: str | None = None,
        field: str | None = None,
        key: Any = None,
    ) -> None:
        """Keep the message and the place it speaks of.

        Args:
            message: ``expected X, got Y - at WHERE; what to do``.
            topic: Topic that the error is about.
            partition: Partition of that topic.
            offset: Offset in that partition.
            path: File or folder that the error is about.
            field: Field of a value, as a dotted path.
            key: Key of the record that was being processed.
        """
        super().__init__(message)
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.path = path
        self.field = field
        self.key = key


class InvalidArgumentError(HeadwaterError, ValueError):
    """A call or a setting is wrong. Raised before anything happens; fix the call."""

    code = "invalid_argument"


class TopologyError(HeadwaterError, ValueError):
    """A topology cannot work as written. Raised while it is built; fix the program."""

    code = "topology"


class TopologyChangedError(TopologyError):
    """State on disk belongs to a different program. Raised by ``run()``; restore the program or ``app.reset()``."""

    code = "topology_changed"


class UnknownTopicError(HeadwaterError, LookupError):
    """A topic or partition does not exist. Create it or fix the name."""

    code = "unknown_topic"


class UnknownGroupError(HeadwaterError, LookupError):
    """A group has neither members nor committed offsets. Fix the name."""

    code = "unknown_group"


class OffsetOutOfRangeError(HeadwaterError, LookupError):
    """An offset is not in the log (any more), or a group has none and must not guess. Seek or set a reset policy."""

    code = "offset_out_of_range"


class CorruptLogError(HeadwaterError):
    """Stored bytes fail their checks. Restore the file, or delete the partition knowingly."""

    code = "corrupt_log"


class StorageError(HeadwaterError, OSError):
    """The system refused: disk full, no permission, I/O error. Fix the environment and retry."""

    code = "storage"


class ClosedError(HeadwaterError, RuntimeError):
    """The handle is closed, was poisoned by a failure, or crossed a fork. Open it again."""

    code = "closed"


class LockedError(ClosedError):
    """Another process holds the directory for writing. Stop it, or open with ``mode="r"``."""

    code = "locked"


class FencedInstanceIdError(ClosedError):
    """A newer consumer has taken over this one's ``group_instance_id``. Close this one; give each an id of its own."""

    code = "fenced_instance_id"


class ProducerFencedError(ClosedError):
    """A newer producer has this one's ``transactional_id``, or its transaction took too long. Make a new one."""

    code = "producer_fenced"


class InternalError(HeadwaterError):
    """A bug in headwater: please report it, with the traceback."""

    code = "internal"


class SerdeError(HeadwaterError, ValueError):
    """Bytes do not decode, or a value does not encode, with the serde given. Fix the type or set ``on_error``."""

    code = "serde"


class ProcessingError(HeadwaterError):
    """A user's function failed on a record; ``__cause__`` is its exception. Fix the function or set ``on_error``."""

    code = "processing"

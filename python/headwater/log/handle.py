"""What a broker is a handle of: one open directory, shared with whoever opened it too, until this handle is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from headwater.errors import ClosedError, InvalidArgumentError

if TYPE_CHECKING:
    from headwater.log.opening import SharedLog


class Handle:
    """A handle of an open log, for reading and writing or for reading alone."""

    def __init__(self, shared: SharedLog, mode: Literal["rw", "r"]) -> None:
        """Use `headwater.open`."""
        self._shared_log = shared
        self._mode: Literal["rw", "r"] = mode
        self._is_closed = False

    @property
    def path(self) -> str:
        """The directory, or ``"memory:"``."""
        return self._shared_log.place[0]

    @property
    def mode(self) -> Literal["rw", "r"]:
        """``"rw"`` or ``"r"``."""
        return self._mode

    @property
    def durability(self) -> str:
        """What an acknowledgement waits for."""
        return self._shared_log.durability

    def sync(self) -> None:
        """Make everything written so far durable, whatever the durability mode."""
        self._shared.core.sync()

    @property
    def _shared(self) -> SharedLog:
        if self._is_closed:
            raise ClosedError(
                f"expected an open broker, got a closed one - at {self.path}; open it again", path=self.path
            )
        self._shared_log.check_usable()
        return self._shared_log

    def _writable(self) -> SharedLog:
        shared = self._shared
        shared.check_writable()
        if self._mode == "r":
            raise InvalidArgumentError(
                f'expected a broker opened for writing, got mode="r" - at {self.path}; open it with mode="rw"',
                path=self.path,
            )
        return shared

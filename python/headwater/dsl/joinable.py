"""The joins of a stream: with a stream within a window, with a table, with a global table.

One method a kind of join, as in Kafka Streams; what is joined with decides which options there are, and the overloads
say so. `headwater.dsl.joins` turns them into nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from headwater.dsl.windows import JoinWindow
from headwater.time import Duration
from headwater.topology import nodes as n

if TYPE_CHECKING:
    from polars import Expr

    from headwater.dsl.graph import Graph
    from headwater.dsl.streams import Stream
    from headwater.dsl.tables import GlobalTable, Table

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
R = TypeVar("R")


class Joinable(Generic[K, V]):
    """What `Stream` inherits its joins from."""

    node: n.Node
    _graph: Graph

    @overload
    def join(
        self, other: Stream[K, V2], window: JoinWindow, *, grace: Duration, combine: Callable[[V, V2], R],
        with_key: Literal[False] = False, value: Any = None, name: str | None = None, store: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def join(
        self, other: Stream[K, V2], window: JoinWindow, *, grace: Duration, combine: Callable[[K, V, V2], R],
        with_key: Literal[True], value: Any = None, name: str | None = None, store: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def join(
        self, other: Stream[K, V2], window: JoinWindow, *, grace: Duration, combine: Mapping[str, Expr],
        value: Any = None, name: str | None = None, store: str | None = None,
    ) -> Stream[K, dict[str, Any]]: ...  # fmt: skip

    @overload
    def join(
        self, other: Table[K, V2], *, combine: Callable[[V, V2], R],
        with_key: Literal[False] = False, value: Any = None, name: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def join(
        self, other: Table[K, V2], *, combine: Callable[[K, V, V2], R],
        with_key: Literal[True], value: Any = None, name: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def join(
        self, other: Table[K, V2], *, combine: Mapping[str, Expr],
        value: Any = None, name: str | None = None,
    ) -> Stream[K, dict[str, Any]]: ...  # fmt: skip

    @overload
    def join(
        self, other: GlobalTable[K2, V2], *, on: Callable[[K, V], K2 | None], combine: Callable[[V, V2], R],
        with_key: Literal[False] = False, value: Any = None, name: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def join(
        self, other: GlobalTable[K2, V2], *, on: Callable[[K, V], K2 | None], combine: Callable[[K, V, V2], R],
        with_key: Literal[True], value: Any = None, name: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def join(
        self, other: GlobalTable[K2, V2], *, on: Callable[[K, V], K2 | None], combine: Mapping[str, Expr],
        value: Any = None, name: str | None = None,
    ) -> Stream[K, dict[str, Any]]: ...  # fmt: skip

    def join(self, other: Any, window: JoinWindow | None = None, **options: Any) -> Stream[K, Any]:
        """Join with a stream (within a window of event time), a table or a global table.

        Two records of streams match when ``left.ts - before <= right.ts <= left.ts + after`` (both ends inclusive);
        each pair is emitted once, at ``max(left.ts, right.ts)``. With a table, a record of this stream is joined with
        what the table holds when it is processed, at the record's own timestamp.

        Args:
            other: What to join with; streams and tables need the same key type and partition count.
            window: Bounds relative to the left record (streams only).
            **options: `grace`: how long after its window a record is still joined (streams only). `combine`: called as
                ``combine(left, right)``, or a dict of expressions over ``left.FIELD`` and ``right.FIELD``. `with_key`:
                call ``combine(key, left, right)``. `on`: the key to look up in a global table, ``on(key, value)``.
                `value`: serde or type of the result. `name`: stable name of the join. `store`: of its stores.

        Returns:
            A stream of ``(K, R)``, partitioned like this one.

        Raises:
            TopologyError: Key types differ, or an option is missing or out of place.

        State:
            Streams: ``before + after + grace`` of records a side, changelogged.

        Source:
            Kafka Streams ``KStream.join``.
        """
        return self._join("inner", other, window, **options)

    @overload
    def left_join(
        self, other: Stream[K, V2], window: JoinWindow, *, grace: Duration, combine: Callable[[V, V2 | None], R],
        with_key: Literal[False] = False, value: Any = None, name: str | None = None, store: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def left_join(
        self, other: Stream[K, V2], window: JoinWindow, *, grace: Duration, combine: Callable[[K, V, V2 | None], R],
        with_key: Literal[True], value: Any = None, name: str | None = None, store: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def left_join(
        self, other: Stream[K, V2], window: JoinWindow, *, grace: Duration, combine: Mapping[str, Expr],
        value: Any = None, name: str | None = None, store: str | None = None,
    ) -> Stream[K, dict[str, Any]]: ...  # fmt: skip

    @overload
    def left_join(
        self, other: Table[K, V2], *, combine: Callable[[V, V2 | None], R],
        with_key: Literal[False] = False, value: Any = None, name: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def left_join(
        self, other: Table[K, V2], *, combine: Callable[[K, V, V2 | None], R],
        with_key: Literal[True], value: Any = None, name: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def left_join(
        self, other: Table[K, V2], *, combine: Mapping[str, Expr],
        value: Any = None, name: str | None = None,
    ) -> Stream[K, dict[str, Any]]: ...  # fmt: skip

    @overload
    def left_join(
        self, other: GlobalTable[K2, V2], *, on: Callable[[K, V], K2 | None], combine: Callable[[V, V2 | None], R],
        with_key: Literal[False] = False, value: Any = None, name: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def left_join(
        self, other: GlobalTable[K2, V2], *, on: Callable[[K, V], K2 | None], combine: Callable[[K, V, V2 | None], R],
        with_key: Literal[True], value: Any = None, name: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def left_join(
        self, other: GlobalTable[K2, V2], *, on: Callable[[K, V], K2 | None], combine: Mapping[str, Expr],
        value: Any = None, name: str | None = None,
    ) -> Stream[K, dict[str, Any]]: ...  # fmt: skip

    def left_join(self, other: Any, window: JoinWindow | None = None, **options: Any) -> Stream[K, Any]:
        """Join as `join` does; a record without a partner is joined with None.

        With a stream, that happens once the record's window has closed.

        Args:
            other: As for `join`.
            window: As for `join`.
            **options: As for `join`.
        """
        return self._join("left", other, window, **options)

    @overload
    def outer_join(
        self, other: Stream[K, V2], window: JoinWindow, *, grace: Duration, combine: Callable[[V | None, V2 | None], R],
        with_key: Literal[False] = False, value: Any = None, name: str | None = None, store: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def outer_join(
        self, other: Stream[K, V2], window: JoinWindow, *, grace: Duration, combine: Callable[[K, V | None, V2 | None], R],
        with_key: Literal[True], value: Any = None, name: str | None = None, store: str | None = None,
    ) -> Stream[K, R]: ...  # fmt: skip

    @overload
    def outer_join(
        self, other: Stream[K, V2], window: JoinWindow, *, grace: Duration, combine: Mapping[str, Expr],
        value: Any = None, name: str | None = None, store: str | None = None,
    ) -> Stream[K, dict[str, Any]]: ...  # fmt: skip

    def outer_join(self, other: Any, window: JoinWindow, **options: Any) -> Stream[K, Any]:
        """Join two streams; a record of either side without a partner is joined with None once its window has closed.

        Args:
            other: A stream, as for `join`.
            window: As for `join`.
            **options: As for `join`; either argument of `combine` may be None.
        """
        return self._join("outer", other, window, **options)

    def _join(self, kind: n.JoinKind, other: Any, window: JoinWindow | None, **options: Any) -> Stream[K, Any]:
        from headwater.dsl.joins import join

        return join(self, kind, other, window, options)  # type: ignore[arg-type]

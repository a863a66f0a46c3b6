"""From a topology to what runs: every node becomes sources, kernels and vector steps, every store a place in a task.

The planner knows operators; the `graph` knows levels; the `Task` in Rust knows neither. A node is lowered once, after
its inputs, and leaves one vertex behind that its children connect to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

import msgspec

from headwater.runtime import steps
from headwater.runtime.batch import Batch
from headwater.runtime.folds import FoldStep, SessionFoldStep
from headwater.runtime.graph import Kernel, Source, Vector, Vertex, assign_levels
from headwater.runtime.views import View, view_of
from headwater.serdes import Serde
from headwater.state import Task
from headwater.topology import Topology
from headwater.topology import nodes as n

if TYPE_CHECKING:
    from headwater.runtime.aggregations import Aggregation


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the planner must know beside the topology.

    Attributes:
        is_cached: Whether stores forward at flushes.
        is_compatible: Whether joins do what Kafka Streams does to the letter.
        is_logged: Whether stores remember their writes for a changelog.
    """

    is_cached: bool
    is_compatible: bool
    is_logged: bool = False


Collect = Callable[[Batch, str, n.Node], None]


class Plan:
    """A topology ready to run.

    Attributes:
        topology: What was planned.
        task: The stores and segments.
        levels: Vertices by level.
        sources: Topic to the sources that read it; repartition topics included.
        stores: Node id to the index of its store.
        joins: Node id to the index of its join buffer.
        globals: Topic to the global table that it feeds.
        internal: Repartition topics that are read.
        repartitions: Repartition topics that are written.
    """

    def __init__(
        self,
        topology: Topology,
        settings: Settings,
        collect: Collect,
        trace: Callable[[Batch, n.Node], None] | None,
        nodes: tuple[n.Node, ...] | None = None,
    ) -> None:
        self.topology = topology
        self.settings = settings
        self.collect = collect
        self.trace = trace
        self.task = Task()
        self.vertices: list[Vertex] = []
        self.sources: dict[str, list[Source]] = {}
        self.internal: dict[str, n.Repartition] = {}
        self.repartitions: dict[str, n.Repartition] = {}
        self.globals: dict[str, n.GlobalTableSource] = {}
        self.stores: dict[int, int] = {}
        self.joins: dict[int, int] = {}
        self.writers: dict[int, Vertex] = {}
        self.finishers: dict[int, Serde[Any]] = {}
        """For tables that keep rows: the serde that evaluates what their stores hold."""
        self._outputs: dict[int, Vertex] = {}
        self._flush_rank = 0
        self.ports: list[list[tuple[Vertex, int, n.Node]]] = []
        """For each segment, where its ports lead and whose serdes describe what leaves."""
        self._nodes = topology.nodes if nodes is None else nodes
        self._members = {node.id for node in self._nodes}
        for node in self._nodes:
            self._outputs[node.id] = self.lower(node)
        count = assign_levels(self.vertices)
        self.levels: list[list[Vertex]] = [[] for _ in range(count)]
        for vertex in self.vertices:
            self.levels[vertex.level].append(vertex)
        self._build_segments()
        if not self._can_fail_late():
            self.task.never_roll_back()

    def _can_fail_late(self) -> bool:
        """Whether a step that can fail runs after (or between) writes to stores."""
        writes = [vertex.level for vertex in self.vertices if isinstance(vertex, Kernel) and vertex.writes]
        harmless = (steps.SinkStep, steps.Identity)
        return any(
            isinstance(vertex, Vector)
            and vertex.level > min(writes, default=0)
            and not isinstance(vertex.step, harmless)
            for vertex in self.vertices
        ) or any(isinstance(vertex, Vector) and isinstance(vertex.step, SessionFoldStep) for vertex in self.vertices)

    # --- building blocks --------------------------------------------------------------------------------------------

    def _add(self, vertex: Vertex, *parents: Vertex) -> Vertex:
        for port, parent in enumerate(parents):
            parent.connect(vertex, port)
        self.vertices.append(vertex)
        return vertex

    def _input(self, node: n.Node, index: int = 0) -> Vertex:
        return self._outputs[node.inputs[index].id]

    def _vector(self, node: n.Node, step: Any, *parents: Vertex) -> Vertex:
        return self._add(Vector(node, step), *(parents or (self._input(node),)))

    def _kernel(self, node: n.Node, name: str, *parents: Vertex, **parameters: Any) -> Kernel:
        kernel = Kernel(node, name, **parameters)
        self._add(kernel, *parents)
        return kernel

    def _store(
        self,
        node: n.Node,
        spec: n.StoreSpec,
        retention: int | None = None,
        *,
        reach: int = 0,
        columns: Sequence[tuple[str, str, int, bool]] | None = None,
        keeps_rows: bool = False,
    ) -> int:
        index = self.task.add_store(
            spec.name,
            spec.kind,
            retention=spec.retention_ms if spec.retention_ms is not None else retention,
            reach=reach,
            is_cached=self.settings.is_cached and spec.caching,
            is_logged=self.settings.is_logged and spec.logging,
            columns=None if columns is None else list(columns),
            keeps_rows=keeps_rows,
        )
        self.stores[node.id] = index
        return index

    def _flushes(self, kernel: Kernel, spec: n.StoreSpec, store: int) -> None:
        self.writers[store] = kernel
        if self.settings.is_cached and spec.caching:
            kernel.flushes.append((store, self._next_rank()))

    def _next_rank(self) -> int:
        self._flush_rank += 1
        return self._flush_rank

    def _put(self, node: n.Node, spec: n.StoreSpec | None, *parents: Vertex, **rules: bool) -> Kernel:
        store = None if spec is None else self._store(node, spec)
        parameters: dict[str, Any] = {
            "drops_null_key": False,
            "keeps_old": False,
            "suppresses_null": False,
            "sends_old": self.topology.sends_old(node),
            **rules,
        }
        kernel = self._kernel(node, "table_put", *parents, store=store, **parameters)
        if spec is not None and store is not None:
            self._flushes(kernel, spec, store)
        return kernel

    def view(self, table: n.Node) -> View:
        """How joins read a table.

        Args:
            table: A table node.
        """
        return view_of(table, lambda node: node.id in self.stores, self.finishers)

    def _lookup(self, node: n.Node, flows: n.Node, view: View, parent: Vertex, **rules: bool) -> Kernel:
        stores = [self.stores[table.id] for table in view.stores]
        kernel = self._kernel(node, "lookup", parent, stores=stores, **rules)
        kernel.flows = flows
        kernel.reads = [self.writers[store] for store in stores if store in self.writers]
        return kernel

    def spec(self, node_id: int) -> n.StoreSpec:
        """The store of a table.

        Args:
            node_id: The table's node.
        """
        spec = self.topology.materialized(self.topology.nodes[node_id])
        assert spec is not None, "a planned store belongs to a materialised table"
        return spec

    def is_logged(self, node_id: int) -> bool:
        """Whether a store has a changelog; a global table's topic is its own.

        Args:
            node_id: The table's node.
        """
        is_global = isinstance(self.topology.nodes[node_id], n.GlobalTableSource)
        return self.spec(node_id).logging and not is_global

    def join_name(self, node_id: int) -> str:
        """What the changelog of a join's buffer is called.

        Args:
            node_id: The join's node.
        """
        node = self.topology.nodes[node_id]
        assert isinstance(node, n.StreamStreamJoin)
        return node.this_store.removesuffix("-store")

    def _build_segments(self) -> None:
        for level in range(0, len(self.levels), 2):
            segment = self.task.add_segment()
            kernels = [vertex for vertex in self.levels[level] if isinstance(vertex, Kernel)]
            for kernel in kernels:
                kernel.number = self.task.add_kernel(segment, kernel.name, kernel.parameters)
            ports: list[tuple[Vertex, int, n.Node]] = []
            self.ports.append(ports)
            for kernel in kernels:
                for store, rank in kernel.flushes:
                    self.task.add_flush(segment, store, kernel.number, rank)
                for child, port in kernel.children:
                    if isinstance(child, Kernel) and child.level == level:
                        self.task.connect(segment, kernel.number, child.number, port)
                    else:
                        ports.append((child, port, kernel.flows))
                        self.task.connect_port(segment, kernel.number, self.task.add_port(segment), late=False)
                if kernel.late is not None:
                    ports.append((kernel.late, 0, kernel.late.node))
                    self.task.connect_port(segment, kernel.number, self.task.add_port(segment), late=True)
                for writer in kernel.reads:
                    if writer.level < level:
                        for store in kernel.parameters["stores"]:
                            self.task.keep_history(store)

    # --- operators --------------------------------------------------------------------------------------------------

    @singledispatchmethod
    def lower(self, node: n.Node) -> Vertex:
        """Turn a node into vertices; returns the one that its children connect to."""
        raise AssertionError(f"no plan for {type(node).__name__}")

    def _source(self, node: n.Node, topics: tuple[str, ...]) -> Vertex:
        known = self.sources.get(topics[0], [])
        for source in known:
            if isinstance(source.node, n.StreamSource) and source.node.topics == topics:
                return source
        source = Source(node)
        self._add(source)
        for topic in topics:
            self.sources.setdefault(topic, []).append(source)
        return source

    @lower.register
    def _(self, node: n.StreamSource) -> Vertex:
        source = self._source(node, node.topics)
        if node.validate == "eager":
            return self._vector(node, steps.DecodeStep(node), source)
        validate = steps.ValidateStep(node.key, node.value)
        return self._vector(node, validate, source) if validate.is_needed else source

    @lower.register
    def _(self, node: n.TableSource) -> Vertex:
        spec = self.topology.materialized(node)
        return self._put(node, spec, self._source(node, (node.topic,)), drops_null_key=True)

    @lower.register
    def _(self, node: n.GlobalTableSource) -> Vertex:
        self.globals[node.topic] = node
        self._store(node, node.store)
        return Source(node)

    @lower.register
    def _(self, node: n.Sink) -> Vertex:
        return self._vector(node, steps.SinkStep(node, node.topic, self.collect))

    @lower.register
    def _(self, node: n.Filter) -> Vertex:
        if node.predicate.kind == "expr":
            # Polars is imported when the first expression is planned.
            from headwater.runtime.expressions import FilterExprStep

            return self._vector(node, FilterExprStep(node))
        return self._vector(node, steps.FilterStep(node))

    @lower.register
    def _(self, node: n.Map) -> Vertex:
        return self._vector(node, steps.MapStep(node))

    @lower.register
    def _(self, node: n.MapValues) -> Vertex:
        return self._vector(node, steps.MapValuesStep(node))

    @lower.register
    def _(self, node: n.FlatMap) -> Vertex:
        return self._vector(node, steps.FlatMapStep(node))

    @lower.register
    def _(self, node: n.FlatMapValues) -> Vertex:
        return self._vector(node, steps.FlatMapValuesStep(node))

    @lower.register
    def _(self, node: n.SelectKey) -> Vertex:
        return self._vector(node, steps.SelectKeyStep(node))

    @lower.register
    def _(self, node: n.Select) -> Vertex:
        from headwater.runtime.expressions import SelectStep

        return self._vector(node, SelectStep(node))

    @lower.register
    def _(self, node: n.Peek) -> Vertex:
        return self._vector(node, steps.PeekStep(node, self.trace))

    @lower.register
    def _(self, node: n.Split) -> Vertex:
        return self._vector(node, steps.SplitStep(node))

    @lower.register
    def _(self, node: n.Branch) -> Vertex:
        return self._vector(node, steps.BranchStep(node))

    @lower.register
    def _(self, node: n.Merge) -> Vertex:
        kernel = Kernel(node, "pass", drops_old=False)
        for index in range(len(node.inputs)):
            self._input(node, index).connect(kernel)
        self.vertices.append(kernel)
        return kernel

    @lower.register
    def _(self, node: n.Repartition) -> Vertex:
        # One sub-topology ends here and another one starts: a task of one of them has only its side.
        if node.inputs[0].id in self._members:
            parent = self._input(node)
            if not self.topology.keeps_null_keys(node):
                parent = self._kernel(node, "drop_null", parent, key=True, value=False, is_counted=False)
                parent.flows = node.inputs[0]
            self._vector(node, steps.SinkStep(node, node.topic, self.collect), parent)
            self.repartitions[node.topic] = node
        source = Source(node)
        if any(child.id in self._members for child in self.topology.children(node)):
            self._add(source)
            self.internal[node.topic] = node
            self.sources[node.topic] = [source]
        return source

    @lower.register
    def _(self, node: n.ToTable) -> Vertex:
        return self._put(node, self.topology.materialized(node), self._input(node), drops_null_key=True)

    @lower.register
    def _(self, node: n.ToStream) -> Vertex:
        parent = self._input(node)
        if parent.kind == "vector":
            return self._vector(node, steps.Identity(node))
        return self._kernel(node, "pass", parent, drops_old=True)

    @lower.register
    def _(self, node: n.TableFilter) -> Vertex:
        has_store, sends_old = node.store is not None, self.topology.sends_old(node)
        vertex = self._vector(node, steps.TableFilterStep(node, sends_old=sends_old, has_store=has_store))
        return self._put(node, node.store, vertex, suppresses_null=sends_old) if has_store else vertex

    @lower.register
    def _(self, node: n.TableMapValues) -> Vertex:
        has_store, sends_old = node.store is not None, self.topology.sends_old(node)
        vertex = self._vector(node, steps.TableMapValuesStep(node, sends_old=sends_old, has_store=has_store))
        return self._put(node, node.store, vertex) if has_store else vertex

    @lower.register
    def _(self, node: n.TableGroupBy) -> Vertex:
        return self._vector(node, steps.TableGroupByStep(node))

    @lower.register
    def _(self, node: n.TableAggregate) -> Vertex:
        store = self._store(node, node.store)
        is_count = isinstance(node.fold, n.Count)
        parent = self._kernel(node, "drop_null", self._input(node), key=True, value=False, is_counted=True)
        parent.flows = node.inputs[0]
        vertex: Vertex = parent
        if not is_count:
            vertex = self._vector(node, FoldStep(node, self.task, store, is_windowed=False), parent)
        return self._aggregate(node, store, vertex, "table_count" if is_count else "table_external", None)

    def _aggregate(
        self, node: n.StreamAggregate | n.TableAggregate, store: int, parent: Vertex, fold: str, initial: bytes | None
    ) -> Kernel:
        is_windowed = isinstance(node, n.StreamAggregate) and node.window is not None
        kernel = self._kernel(
            node,
            "aggregate",
            parent,
            store=store,
            fold=fold,
            is_windowed=is_windowed,
            sends_old=self.topology.sends_old(node),
            initial=initial,
        )
        self._flushes(kernel, node.store, store)
        return kernel

    @lower.register
    def _(self, node: n.StreamAggregate) -> Vertex:
        window, fold = node.window, node.fold
        columns, keeps_rows = None, False
        parent = self._input(node)
        agg: Aggregation | None = None
        if isinstance(fold, n.Agg):
            from headwater.runtime.aggregations import Aggregation, ArgumentsStep

            agg = Aggregation.of(fold, node.inputs[0])
            columns, keeps_rows = agg.columns, agg.keeps_rows
            parent = self._vector(node, ArgumentsStep(agg), parent)
        retention, reach = None, 0
        if isinstance(window, n.TimeWindows):
            retention = window.size_ms + window.grace_ms
        elif isinstance(window, n.SessionWindows):
            retention = window.gap_ms + window.grace_ms
            if self.settings.is_cached and node.store.caching:
                reach = window.gap_ms + 1
        store = self._store(node, node.store, retention, reach=reach, columns=columns, keeps_rows=keeps_rows)
        sends_old = self.topology.sends_old(node)
        is_user = isinstance(fold, n.Reduce | n.Aggregate)
        name = "external" if is_user else "columns" if agg else "count"
        if isinstance(window, n.SessionWindows):
            if is_user:
                step = SessionFoldStep(node, self.task, store, sends_old=sends_old)
                vertex: Vertex = self._vector(node, step, parent)
                self.writers[store] = vertex
                if self.settings.is_cached and node.store.caching:
                    step.flush_rank = self._next_rank()
                return vertex
            session = self._kernel(
                node, "session", parent, store=store, gap=window.gap_ms, grace=window.grace_ms, fold=name,
                sends_old=sends_old,
            )  # fmt: skip
            self._flushes(session, node.store, store)
            self._late(node, session)
            vertex = session
        else:
            if window is None:
                first = self._kernel(node, "drop_null", parent, key=True, value=True, is_counted=True)
            else:
                assert isinstance(window, n.TimeWindows), "other windows are refused when the topology is built"
                first = self._kernel(
                    node, "assign_windows", parent, store=store, size=window.size_ms, advance=window.advance_ms,
                    grace=window.grace_ms,
                )  # fmt: skip
                self._late(node, first)
            first.flows = node.inputs[0]
            vertex = first
            if is_user:
                vertex = self._vector(node, FoldStep(node, self.task, store, is_windowed=window is not None), first)
            vertex = self._aggregate(node, store, vertex, name, _initial(node))
        if agg is None or not keeps_rows:
            return vertex
        from headwater.runtime.aggregations import FinishedSerde, FinishStep

        self.finishers[node.id] = FinishedSerde(agg, node.value)
        return self._vector(node, FinishStep(agg, node), vertex)

    def _late(self, node: n.StreamAggregate, kernel: Kernel) -> None:
        if node.late_topic is not None:
            # Late records leave as they came in: with the input's serdes.
            sink = Vector(node.inputs[0], steps.SinkStep(node.inputs[0], node.late_topic, self.collect))
            kernel.late = sink
            sink.parents.append(kernel)
            self.vertices.append(sink)

    @lower.register
    def _(self, node: n.StreamStreamJoin) -> Vertex:
        window = node.window
        join = self.task.add_join(
            node.this_store,
            node.other_store,
            before=window.before_ms,
            after=window.after_ms,
            grace=window.grace_ms,
            is_left_outer=node.kind in ("left", "outer"),
            is_right_outer=node.kind == "outer",
            is_compatible=self.settings.is_compatible,
            is_logged=self.settings.is_logged,
        )
        self.joins[node.id] = join
        kernel = self._kernel(node, "stream_join", self._input(node, 0), self._input(node, 1), join=join)
        if node.combine.kind == "expr":
            from headwater.runtime.expressions import CombineStep

            return self._vector(node, CombineStep(node), kernel)
        return self._vector(node, steps.PairStep(node), kernel)

    @lower.register
    def _(self, node: n.StreamTableJoin) -> Vertex:
        view = self.view(node.inputs[1])
        lookup = self._lookup(
            node,
            node.inputs[0],
            view,
            self._input(node),
            uses_other=False,
            drops_null_key=node.kind == "inner",
            drops_null_value=True,
        )
        return self._vector(node, self._table_joiner(node, view), lookup)

    @lower.register
    def _(self, node: n.StreamGlobalTableJoin) -> Vertex:
        view = self.view(node.inputs[1])
        keyed = self._vector(node, steps.GlobalKeyStep(node))
        lookup = self._lookup(
            node,
            node.inputs[0],
            view,
            keyed,
            uses_other=True,
            drops_null_key=node.kind == "inner",
            drops_null_value=True,
        )
        return self._vector(node, self._table_joiner(node, view), lookup)

    def _table_joiner(self, node: n.StreamTableJoin | n.StreamGlobalTableJoin, view: View) -> Any:
        if node.combine.kind == "expr":
            from headwater.runtime.expressions import CombineStep

            return CombineStep(node, view)
        return steps.TableJoinStep(node, view)

    @lower.register
    def _(self, node: n.TableTableJoin) -> Vertex:
        sends_old = self.topology.sends_old(node)
        sides = []
        for index in (0, 1):
            view = self.view(node.inputs[1 - index])
            mine = node.inputs[index]
            lookup = self._lookup(
                node,
                mine,
                view,
                self._input(node, index),
                uses_other=False,
                drops_null_key=True,
                drops_null_value=False,
            )
            step = steps.TableTableJoinStep(node, view, is_left=index == 0, sends_old=sends_old)
            sides.append(self._vector(node, step, lookup))
        merged = Kernel(node, "pass", drops_old=False)
        for side in sides:
            side.connect(merged)
        self.vertices.append(merged)
        return self._put(node, node.store, merged, keeps_old=True)


def _initial(node: n.StreamAggregate) -> bytes | None:
    if isinstance(node.fold, n.Count):
        return node.value.serialize(0)
    if isinstance(node.fold, n.Aggregate):
        value = node.fold.initializer()
        return None if value is None else node.value.serialize(value)
    return None

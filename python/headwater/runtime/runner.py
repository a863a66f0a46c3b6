"""Runs micro-batches through a plan, level by level.

One implementation serves every batch size: size 1 is the definition of the semantics, and order keys make the larger
ones agree with it. The runner knows nothing of topics' storage: source rows come in, rows for topics come out, and the
caller (the application's task or the test driver) says after which source records caches flush.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from headwater.runtime.batch import Batch
from headwater.runtime.coordinates import Coordinates
from headwater.runtime.failures import Failures
from headwater.runtime.folds import SessionFoldStep
from headwater.runtime.graph import Kernel, Vector, Vertex
from headwater.runtime.plan import Plan, Settings
from headwater.state import Rows
from headwater.topology import Topology
from headwater.topology import nodes as n

Pending = dict[tuple[int, int], list[Batch]]


class Output(NamedTuple):
    """Rows that leave the topology, in order."""

    topic: str
    batch: Batch
    node: n.Node


class Result(NamedTuple):
    """What a micro-batch gave.

    Attributes:
        outputs: Rows for topics (repartition topics included).
        peeks: What peeks saw, if the runner traces.
        failures: What failed, and up to where the batch counts.
    """

    outputs: list[Output]
    peeks: list[Output]
    failures: Failures


class Runner:
    """A plan and its execution.

    Attributes:
        plan: What runs.
    """

    def __init__(
        self,
        topology: Topology,
        settings: Settings,
        *,
        traces: bool = False,
        nodes: tuple[n.Node, ...] | None = None,
    ) -> None:
        self._outputs: list[Output] = []
        self._peeks: list[Output] = []
        self.plan = Plan(topology, settings, self._collect, self._trace if traces else None, nodes)
        self.skipped = 0
        self.batches = 0
        self.records = 0
        self.seconds: dict[str, float] = {}
        """Time spent in each stage."""

    def _collect(self, batch: Batch, topic: str, node: n.Node) -> None:
        self._outputs.append(Output(topic, batch, node))

    def _trace(self, batch: Batch, node: n.Node) -> None:
        self._peeks.append(Output("", batch, node))

    def process(
        self,
        inputs: dict[str, Rows],
        marks: list[int],
        locate: Callable[[int], Coordinates],
        policy: Callable[[str], Any] = lambda topic: "raise",
    ) -> Result:
        """Run one micro-batch.

        Args:
            inputs: Topic to its records' rows; seqs are shared by all topics.
            marks: Source records after which caches flush, ascending.
            locate: Coordinates of a source record.
            policy: The `on_error` of a topic.
        """
        failures = Failures(locate, policy)
        self._outputs, self._peeks = [], []
        pending: Pending = {}
        for topic, rows in inputs.items():
            self.records += len(rows)
            sources = self.plan.sources[topic]
            for number, source in enumerate(sources):
                mine = rows if len(sources) == 1 else rows.fan(number)
                self._deliver(source, Batch(mine, source.node.key, source.node.value, failures), pending)
        self.batches += bool(inputs)
        self._run_levels(pending, marks, failures)
        return self._finish(failures)

    def close(self, seq: int) -> Result:
        """Emit what joins still hold back: the input is complete.

        Args:
            seq: Position that the emitted rows get.
        """
        failures = Failures(lambda seq: Coordinates("", 0, 0, None, None), lambda topic: "raise")
        self._outputs, self._peeks = [], []
        pending: Pending = {}
        for segment in range(len(self.plan.ports)):
            self._run_levels(pending, [], failures, only=2 * segment - 1)
            self._deliver_ports(segment, self.plan.task.close(segment, seq), pending, failures)
            self._run_levels(pending, [], failures, only=2 * segment)
        self._run_levels(pending, [seq], failures)
        return self._finish(failures)

    def dropped(self) -> int:
        """Records dropped and counted so far, as Kafka's ``dropped-records-total``."""
        folds = [vertex.step for vertex in self.plan.vertices if isinstance(vertex, Vector)]
        in_folds = sum(step.dropped for step in folds if isinstance(step, SessionFoldStep))
        return self.plan.task.dropped() + in_folds + self.skipped

    def late(self) -> int:
        """Records that came after their window had closed; part of `dropped`."""
        segments = range(len(self.plan.ports))
        in_kernels = sum(late for segment in segments for _, _, late in self.plan.task.node_metrics(segment))
        folds = [vertex.step for vertex in self.plan.vertices if isinstance(vertex, Vector)]
        return in_kernels + sum(step.late for step in folds if isinstance(step, SessionFoldStep))

    # --- one level after the other ----------------------------------------------------------------------------------

    def _run_levels(self, pending: Pending, marks: list[int], failures: Failures, only: int | None = None) -> None:
        for level, vertices in enumerate(self.plan.levels):
            if only is not None and level != only:
                continue
            if level % 2 == 0:
                started = time.perf_counter()
                self._run_segment(level // 2, vertices, pending, marks, failures)
                self._spend(f"{level} kernels", started)
                continue
            for vertex in vertices:
                if isinstance(vertex, Vector):
                    started = time.perf_counter()
                    self._run_step(vertex, pending, marks, failures)
                    self._spend(f"{level} {vertex.node.name}", started)

    def _spend(self, stage: str, started: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def _run_segment(
        self, segment: int, vertices: list[Vertex], pending: Pending, marks: list[int], failures: Failures
    ) -> None:
        inputs = []
        has_flushes = False
        for kernel in vertices:
            if not isinstance(kernel, Kernel):
                continue
            has_flushes = has_flushes or bool(kernel.flushes)
            for port in range(max(1, len(kernel.parents))):
                for batch in pending.pop((id(kernel), port), ()):
                    inputs.append((kernel.number, port, _within(batch, failures).to_rows()))
        if inputs or (has_flushes and marks):
            kept = marks if failures.limit is None else [mark for mark in marks if mark < failures.limit]
            # A segment takes the rows it is given; what peeks saw is still to be read.
            if self._peeks:
                inputs = [(node, port, rows.copy()) for node, port, rows in inputs]
            self._deliver_ports(segment, self.plan.task.run(segment, inputs, kept), pending, failures)

    def _deliver_ports(self, segment: int, ports: list[Rows], pending: Pending, failures: Failures) -> None:
        for (child, port, flows), rows in zip(self.plan.ports[segment], ports, strict=True):
            if len(rows):
                pending.setdefault((id(child), port), []).append(Batch(rows, flows.key, flows.value, failures))

    def _run_step(self, vertex: Vector, pending: Pending, marks: list[int], failures: Failures) -> None:
        batches = pending.pop((id(vertex), 0), [])
        step = vertex.step
        if isinstance(step, SessionFoldStep):
            if not batches and (step.flush_rank is None or not marks):
                return
            rows = Rows.merge([_within(batch, failures).to_rows().copy() for batch in batches])
            source = vertex.node.inputs[0]
            changed = step.run(Batch(rows, source.key, source.value, failures), marks)
            self._deliver(vertex, Batch(changed, vertex.node.key, vertex.node.value, failures), pending)
            return
        if not batches:
            return
        batch = batches[0]
        if len(batches) > 1:
            merged = Rows.merge([part.to_rows().copy() for part in batches])
            batch = Batch(merged, batch.key, batch.value, failures)
        batch = _within(batch, failures)
        if len(batch):
            self._deliver(vertex, step.run(batch), pending)

    def _deliver(self, vertex: Vertex, batch: Batch, pending: Pending) -> None:
        if not len(batch):
            return
        if len(vertex.children) == 1:
            child, port = vertex.children[0]
            pending.setdefault((id(child), port), []).append(batch)
            return
        for number, (child, port) in enumerate(vertex.children):
            pending.setdefault((id(child), port), []).append(batch.fan(number))

    def _finish(self, failures: Failures) -> Result:
        outputs = [Output(topic, batch, node) for topic, batch, node in self._outputs]
        for output in outputs:
            # Encoding can still fail a record.
            output.batch.rows = output.batch.to_rows()
        if failures.limit is not None:
            self.plan.task.roll_back(failures.limit)
            outputs = [Output(t, b.before(failures.limit), node) for t, b, node in outputs]
        self.plan.task.end_batch()
        self.skipped += failures.skipped
        return Result(outputs, self._peeks, failures)


def _within(batch: Batch, failures: Failures) -> Batch:
    return batch if failures.limit is None else batch.before(failures.limit)

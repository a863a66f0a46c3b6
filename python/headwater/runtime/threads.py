"""Stream threads: who steps which task, and when it commits.

`serve` deals the tasks out to threads and steps them until it is told to stop. `replay` takes them to where their topics
ended when it was called, and the topics between sub-topologies to wherever they come to end.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.runtime.task import StreamTask
    from headwater.topology import Topology

_IDLE_SECONDS = 0.05

Ends = dict[tuple[str, int], int]
"""Where to stop, by topic and partition."""


def serve(tasks: list[StreamTask], stop: threading.Event, *, threads: int | None, commit_seconds: float) -> None:
    """Step tasks until `stop` is set; the first error in a thread sets it, and is raised.

    Args:
        tasks: All tasks; each is stepped by one thread only.
        stop: Set by whoever wants this to end.
        threads: How many threads; the number of cores if None.
        commit_seconds: How often to commit while records keep coming.
    """
    count = min(threads or cores(), max(1, len(tasks)))
    _run_all([partial(_step_in_turn, tasks[i::count], stop, commit_seconds) for i in range(count)], stop, count)


def _step_in_turn(tasks: list[StreamTask], stop: threading.Event, commit_seconds: float) -> None:
    """Step some tasks, one after the other, until it is told to stop."""
    committed = time.monotonic()
    while not stop.is_set():
        done = sum(task.step() for task in tasks)
        if not done or time.monotonic() - committed >= commit_seconds:
            _commit(tasks)
            committed = time.monotonic()
        if done:
            continue
        # Not for long: a repartition topic that another thread writes may be what brings the next record.
        if tasks:
            tasks[0].wait(_IDLE_SECONDS)
        else:
            stop.wait(_IDLE_SECONDS)
    _commit(tasks)


def replay(
    tasks: list[StreamTask],
    topology: Topology,
    stop: threading.Event,
    *,
    closes: bool,
    threads: int | None,
    commit_seconds: float,
) -> None:
    """Process what the source topics hold now, drain internal topics, and commit.

    Args:
        tasks: All tasks.
        topology: What they are tasks of.
        stop: Set by whoever wants this to end early.
        closes: Whether to emit what waits for records that will never come, once everything is processed.
        threads: How many threads; the number of cores if None.
        commit_seconds: How often to commit meanwhile.
    """
    _Replay(tasks, topology, stop, threads or cores(), commit_seconds).run(closes=closes)


class _Replay:
    def __init__(
        self, tasks: list[StreamTask], topology: Topology, stop: threading.Event, threads: int, commit_seconds: float
    ) -> None:
        self.tasks = tasks
        self.topology = topology
        self.stop = stop
        self.threads = threads
        self.commit_seconds = commit_seconds
        self.ends = {id(task): task.ends() for task in tasks}

    def run(self, *, closes: bool) -> None:
        self.drain(closes=False)
        if closes and not self.stop.is_set():
            self.drain(closes=True)

    def drain(self, *, closes: bool) -> None:
        """Take the tasks to their ends, and to those of internal topics, wherever they come to lie.

        Sub-topologies in order: what one writes for the next is complete before the next one's end is taken. And again, as
        long as one has written for itself, or for one before it.
        """
        is_growing = True
        while is_growing:
            for number in sorted({task.sub_topology for task in self.tasks}):
                group = [task for task in self.tasks if task.sub_topology == number]
                for task in group:
                    self.ends[id(task)].update(task.internal_ends())
                self.replay_group(group, closes=closes)
                if self.stop.is_set():
                    return
            closes = False
            is_growing = any(not task.internal_ends().items() <= self.ends[id(task)].items() for task in self.tasks)

    def replay_group(self, group: list[StreamTask], *, closes: bool) -> None:
        """Take the tasks of one sub-topology to their ends."""
        slack_ms = None if len(group) == 1 else _order_slack_ms(self.topology, group[0])
        if slack_ms is not None:
            self.replay_in_order(group, slack_ms)
        _run_all([partial(self.replay_task, task, closes) for task in group], self.stop, self.threads)

    def replay_task(self, task: StreamTask, closes: bool) -> None:  # noqa: FBT001 (a thread's function takes no keywords)
        committed = time.monotonic()
        while not self.stop.is_set() and task.step(self.ends[id(task)]):
            if time.monotonic() - committed >= self.commit_seconds:
                task.commit()
                committed = time.monotonic()
        if closes and not self.stop.is_set():
            task.close_windows()
        task.commit()

    def replay_in_order(self, group: list[StreamTask], slack_ms: int) -> None:
        """Step tasks in turn, always the one that is behind in event time, and not far beyond the next one."""
        committed = time.monotonic()
        while not self.stop.is_set():
            heads = sorted(
                (head, number)
                for number, task in enumerate(group)
                if (head := task.next_timestamp(self.ends[id(task)])) is not None
            )
            if not heads:
                return
            task = group[heads[0][1]]
            task.step(self.ends[id(task)], until=heads[1][0] + slack_ms if len(heads) > 1 else None)
            if time.monotonic() - committed >= self.commit_seconds:
                _commit(group)
                committed = time.monotonic()


def _order_slack_ms(topology: Topology, task: StreamTask) -> int | None:
    """How far the tasks of a sub-topology may drift apart in event time, or None if nothing downstream minds.

    Tasks that write one repartition topic decide together how far out of order it is, and windows behind it drop what is
    later than their grace: half of the smallest one leaves the other half to the data's own disorder.
    """
    graces = []
    for repartition in task.runner.plan.repartitions.values():
        for node in topology.descendants(repartition):
            window = getattr(node, "window", None)
            if window is not None:
                graces.append(window.grace_ms // 2)
    return min(graces, default=None)


def _commit(tasks: list[StreamTask]) -> None:
    for task in tasks:
        task.commit()


def _run_all(work: list[Callable[[], None]], stop: threading.Event, limit: int) -> None:
    """Run functions in threads, one function in this one; the first error stops the others and is raised."""
    if len(work) == 1:
        work[0]()
        return
    errors: list[BaseException] = []
    waiting = list(work)
    lock = threading.Lock()

    def take() -> None:
        while True:
            with lock:
                if not waiting or errors:
                    return
                function = waiting.pop(0)
            try:
                function()
            except BaseException as error:
                errors.append(error)
                stop.set()
                return

    threads = [threading.Thread(target=take, name=f"headwater-{i}", daemon=True) for i in range(min(len(work), limit))]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError as error:  # there is none to be had: half of the work is none
        errors.append(error)
        stop.set()
    for thread in started:
        while thread.is_alive():
            thread.join(0.1)  # not for ever, so that Ctrl-C gets through
    if errors:
        raise errors[0]


def cores() -> int:
    """How many threads there are if nobody says."""
    return os.cpu_count() or 1

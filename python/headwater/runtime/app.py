"""`App`: a topology and where it runs.

Making an app opens nothing. `run` opens the broker (or takes an open one), creates the topics that are missing, makes a
task for every sub-topology and partition, and lets threads step them until it is told to stop. Tasks share
nothing but the log; each commits by itself.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Literal, get_args

from headwater.dsl import StreamsBuilder
from headwater.errors import ClosedError, HeadwaterError, InvalidArgumentError, TopologyError, UnknownTopicError
from headwater.log import Broker
from headwater.log import open as open_broker
from headwater.runtime.committer import AtLeastOnce, Committer, ExactlyOnce, ProcessingGuarantee
from headwater.runtime.metrics import Metrics, Progress, collect
from headwater.runtime.plan import Settings
from headwater.runtime.provisioning import prepare_topics, repartition_topics
from headwater.runtime.stores import StoreView
from headwater.runtime.task import StreamTask
from headwater.runtime.threads import cores, replay, serve
from headwater.time import Duration, parse_duration_ms
from headwater.topics import check_topic_name
from headwater.topology import Topology
from headwater.topology import nodes as n

_LOGGER = logging.getLogger("headwater")
_SIZE = re.compile(r"\s*([0-9]{1,18})\s*([A-Z]*)")
_SIZES = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


class App(StreamsBuilder):
    """A stream processing application.

    Example:
        >>> app = App("words", broker="memory:")
        >>> app.stream("words", key=str, value=str).group_by(lambda k, v: v).count().to_stream().to("counts")
        >>> print(app.describe())
    """

    def __init__(
        self,
        id: str,
        *,
        broker: str | Broker = "memory:",
        cache: str = "10MB",
        commit_interval: Duration = "100ms",
        batch_size: int = 10_000,
        threads: int | None = None,
        max_task_idle: Duration = "0s",
        processing_guarantee: ProcessingGuarantee = "at_least_once",
        compatibility: Literal["kafka"] | None = None,
    ) -> None:
        """Define an application; nothing is opened.

        Args:
            id: Application id: the consumer group, and the prefix of internal topics.
            broker: A directory, ``"memory:"``, ``"kafka://host:9092"``, or a broker that is open already.
            cache: ``"0"`` forwards every update of a table; any other size lets updates of a key between two commits
                be forwarded as one.
            commit_interval: How often caches are flushed and positions committed while records keep coming.
            batch_size: Largest number of records of a micro-batch.
            threads: Worker threads; the number of cores if not given.
            max_task_idle: How long a task waits for a source partition that has nothing while others have, so that
                records are taken in order of time; replays do not wait.
            processing_guarantee: ``"at_least_once"`` repeats the outputs since the last commit after a crash;
                ``"exactly_once"`` commits outputs, state and positions in one transaction, so that who reads
                ``read_committed`` sees every result once. Effects outside of the log are repeated either way.
            compatibility: ``"kafka"`` does what Kafka Streams does even where headwater deliberately differs.

        Raises:
            InvalidArgumentError: An illegal id or setting.
        """
        from headwater.runtime.typing import PolarsTypes

        super().__init__(expressions=PolarsTypes())
        self.id = check_topic_name(id)
        self._broker = broker
        self._is_cached = _size(cache) > 0
        self._commit_seconds = parse_duration_ms(commit_interval, "App(commit_interval=)") / 1000
        for setting, number in (("batch_size", batch_size), ("threads", threads)):
            if number is not None and (type(number) is not int or number < 1):
                raise InvalidArgumentError(f"expected {setting} to be 1 or more, got {number!r} - at App")
        self._batch_size = batch_size
        self._threads = threads
        self._idle_seconds = parse_duration_ms(max_task_idle, "App(max_task_idle=)") / 1000
        if processing_guarantee not in get_args(ProcessingGuarantee):
            raise InvalidArgumentError(
                f'expected "at_least_once" or "exactly_once", got {processing_guarantee!r} - at App(processing_guarantee=)'
            )
        self._is_exactly_once = processing_guarantee == "exactly_once"
        if compatibility not in (None, "kafka"):
            raise InvalidArgumentError(f'expected compatibility=None or "kafka", got {compatibility!r} - at App')
        self._compatibility = compatibility
        self._tasks: list[StreamTask] = []
        self._running = False
        self._started = 0.0
        self._stop = threading.Event()
        self._last: Metrics | None = None

    # --- looking at it ----------------------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        """The topology so far."""
        return self.build()

    def describe(self, *, verbose: bool = False) -> str:
        """The topology in Kafka Streams' words.

        Args:
            verbose: Also say how it is executed.
        """
        return self.topology.describe(verbose=verbose)

    def mermaid(self) -> str:
        """The topology as a Mermaid flowchart."""
        return self.topology.mermaid()

    def settings(self, *, logged: bool = False) -> Settings:
        """What the planner needs of this application.

        Args:
            logged: Whether stores have changelogs.
        """
        return Settings(is_cached=self._is_cached, is_compatible=self._compatibility == "kafka", is_logged=logged)

    def policies(self) -> dict[str, Any]:
        """The `on_error` of every source topic."""
        policies: dict[str, Any] = {}
        for node in self.topology.nodes:
            if isinstance(node, n.StreamSource):
                policies.update(dict.fromkeys(node.topics, node.on_error))
            elif isinstance(node, n.TableSource):
                policies[node.topic] = node.on_error
        return policies

    def metrics(self) -> Metrics:
        """What the application has done in the present run, or in the last one."""
        if self._tasks:
            self._last = collect(self._tasks, time.monotonic() - self._started)
        return self._last or collect([], 0.0)

    def store(self, name: str) -> StoreView:
        """A store of the running application, to read.

        Args:
            name: Name of the store (`store=` of the operator).

        Returns:
            A view of all partitions; it shows what the tasks have processed so far.

        Raises:
            ClosedError: The application is not running.
            UnknownTopicError: There is no store of this name.
        """
        if not self._tasks:
            raise ClosedError(
                f"expected a running application, got a stopped one - at store('{name}'); call run() first"
            )
        view = StoreView(self._tasks, name)
        if not view.exists:
            names = ", ".join(self.topology.store_names)
            raise UnknownTopicError(f"expected the name of a store ({names}), got '{name}' - at App.store")
        return view

    # --- running it -------------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        until: Literal["caught_up"] | None = None,
        close_windows: bool = False,
        progress: bool | None = None,
    ) -> Metrics:
        """Run until interrupted, or until the input there is now has been processed.

        Ctrl-C or SIGTERM finishes the present batch, commits and returns; a second one leaves at once, with exit status 130
        (143). A handler of SIGTERM that is yours stays.

        Args:
            until: ``"caught_up"`` processes what the source topics hold when this is called, drains internal topics, and
                returns.
            close_windows: Treat the input as complete: what still waits in joins is emitted. Only with `until`.
            progress: Show records/s and lag on standard error; by default if that is a terminal.

        Returns:
            What was done.

        Raises:
            ProcessingError: A function of yours raised; everything before the record is committed.
            SerdeError: A record does not decode, and its source says ``on_error="raise"``.
            TopologyChangedError: Another topology wrote the state of this application.
            UnknownTopicError: A source topic does not exist.
            InvalidArgumentError: Running already.
            LockedError: Another `App` with this id is running on the same broker.
        """
        if close_windows and until is None:
            raise InvalidArgumentError('expected close_windows=True with until="caught_up", got it alone - at run')
        if self._running:
            raise InvalidArgumentError(
                "expected an application that is not running, got a second run() - at App.run; stop it first"
            )
        self._running = True
        self._stop.clear()
        opened = not isinstance(self._broker, Broker)
        try:
            broker = open_broker(self._broker) if isinstance(self._broker, str) else self._broker
            try:
                with broker._shared.application(self.id), _Interrupts(self._stop):
                    self._run(broker, until == "caught_up", close_windows, progress)
                return self.metrics()
            finally:
                # Whoever leaves at once does not wait for the batches that the workers are in.
                if self._tasks and not isinstance(sys.exc_info()[1], SystemExit):
                    self._last = collect(self._tasks, time.monotonic() - self._started)
                    self._abandon_tasks()
                self._tasks = []
                if opened:
                    broker.close()
        finally:
            self._running = False

    async def run_async(self, **options: Any) -> Metrics:
        """Run without blocking the event loop; cancelling stops the application.

        Args:
            **options: As for `run`.
        """
        work = asyncio.get_running_loop().run_in_executor(None, lambda: self.run(**options))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self.stop()
            await work
            raise

    def stop(self) -> None:
        """Let `run` finish its batch, commit and return; from any thread."""
        self._stop.set()

    def reset(self) -> None:
        """Forget the application's state and positions: the next run starts over. Output topics stay as they are.

        Raises:
            InvalidArgumentError: Running.
        """
        if self._running:
            raise InvalidArgumentError(
                "expected a stopped application, got a running one - at App.reset; stop it first"
            )
        opened = not isinstance(self._broker, Broker)
        broker = open_broker(self._broker) if isinstance(self._broker, str) else self._broker
        try:
            if self.id in broker.groups():
                broker.delete_group(self.id)
            for name in broker.topics():
                if name.startswith(f"{self.id}-") and name.endswith(("-changelog", "-repartition")):
                    broker.delete_topic(name)
        finally:
            if opened:
                broker.close()

    def _run(self, broker: Broker, replays: bool, closes: bool, progress: bool | None) -> None:  # noqa: FBT001
        self._started = time.monotonic()
        self._tasks = self._make_tasks(broker)
        shows = sys.stderr.isatty() if progress is None else progress
        with Progress(self._tasks, self._started, shows):
            if replays:
                self._replay(closes)
            else:
                self._serve()

    def _abandon_tasks(self) -> None:
        for task in self._tasks:
            try:
                task.abandon()
            except HeadwaterError as error:  # whoever takes the task over next does it
                _LOGGER.warning("task %s: %s", task.name, error)

    def _committer(self, broker: Broker, number: int, partition: int) -> Committer:
        if not self._is_exactly_once:
            return AtLeastOnce(broker, self.id)
        return ExactlyOnce(broker, self.id, f"{number}_{partition}", commit_seconds=self._commit_seconds)

    def _serve(self) -> None:
        serve(self._tasks, self._stop, threads=self._threads, commit_seconds=self._commit_seconds)

    def _replay(self, closes: bool) -> None:  # noqa: FBT001
        replay(
            self._tasks,
            self.topology,
            self._stop,
            closes=closes,
            threads=self._threads,
            commit_seconds=self._commit_seconds,
        )

    def _make_tasks(self, broker: Broker) -> list[StreamTask]:
        topology = self.topology
        if not topology.nodes:
            raise TopologyError(
                "expected a topology, got an empty one - at run; start with app.stream() or app.table()"
            )
        names = repartition_topics(self.id, topology)
        policies = self.policies()
        groups = topology.sub_topologies()
        widths = prepare_topics(broker, self.id, topology)
        # A core that has no task of its own reads for the others.
        reads_ahead = max(widths.values(), default=0) < (self._threads or cores())
        return [
            StreamTask(
                self.id,
                number,
                partition,
                groups[number],
                topology,
                self.settings(logged=True),
                broker,
                self._committer(broker, number, partition),
                names,
                policies,
                batch_size=self._batch_size,
                idle_seconds=self._idle_seconds,
                reads_ahead=reads_ahead,
            )
            for number, width in sorted(widths.items())
            for partition in range(width)
        ]


class _Interrupts:
    """Ctrl-C and SIGTERM set the stop flag; a second one leaves at once. Only in the main thread, where signals arrive."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._handle)
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # else the program knows what it wants
                self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise SystemExit(128 + number)
        _LOGGER.info("stopping: finishing the batch and committing; interrupt again to leave at once")
        self._stop.set()

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in _SIZES:
        raise InvalidArgumentError(f'expected a size such as "10MB" or "0", got {text!r:.60} - at App(cache=)')
    return int(match[1]) * _SIZES[match[2]]

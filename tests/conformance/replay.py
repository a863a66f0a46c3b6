"""Feeds a recorded case to headwater's test driver and compares what comes out, step by step or batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

import headwater as hw
from headwater.testing import TopologyTestDriver
from tests.conformance.build import Built, build
from tests.conformance.vectors import MODES, Vector
from tests.conformance.vocabulary import Thrown

EMPTY: dict[str, Any] = {}


class Difference(msgspec.Struct):
    """Where a replay first differs from its recording.

    Attributes:
        case: Number of the case, or None if the topology itself differs.
        step: Number of the (last) step.
        what: ``out``, ``drop``, ``stores``, ``describe`` and the like.
        expected: As recorded.
        got: As replayed.
    """

    case: int | None
    step: int | None
    what: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        where = f"case {self.case} step {self.step}" if self.case is not None else "topology"
        expected, got = (msgspec.json.encode(side, enc_hook=repr).decode() for side in (self.expected, self.got))
        if len(expected) > 400 or len(got) > 400:
            at = next((i for i, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), 0)
            start = max(0, at - 150)
            expected, got = f"..{expected[start : start + 400]}", f"..{got[start : start + 400]}"
        return f"{where}: {self.what}: expected {expected}, got {got}"


# --- the topology itself ----------------------------------------------------------------------------------------------


def check_topology(vector: Vector) -> Difference | None:
    """Build a topology and compare its description, or the refusal of it."""
    wanted = vector.header.get("buildError")
    app = hw.App("conformance", broker="memory:")
    try:
        build(vector.header["spec"], app)
        text = app.topology.describe()
    except hw.HeadwaterError as error:
        kind = hw.InvalidArgumentError if wanted == ["IllegalArgumentException"] else hw.TopologyError
        return None if wanted and isinstance(error, kind) else Difference(None, None, "refused", wanted, str(error))
    if wanted:
        return Difference(None, None, "not refused", wanted, text)
    if text != vector.header["describe"]:
        return Difference(None, None, "describe", vector.header["describe"], text)
    return None


# --- cases ------------------------------------------------------------------------------------------------------------


def replay(vector: Vector, case: dict[str, Any], mode: str, batch_size: int | None) -> Difference | None:
    """Replay one case; the first difference, or None.

    Args:
        vector: Its file.
        case: The case.
        mode: Which recording to compare with.
        batch_size: Largest number of consecutive records fed at once; None for all of them.
    """
    app = hw.App("conformance", broker="memory:", compatibility="kafka", cache=MODES[mode])
    built = build(vector.header["spec"], app)
    with TopologyTestDriver(app, batch_size=batch_size, trace=True) as driver:
        return _Replay(vector, case, mode, built, driver).run(batch_size)


class _Replay:
    def __init__(
        self, vector: Vector, case: dict[str, Any], mode: str, built: Built, driver: TopologyTestDriver
    ) -> None:
        self.case, self.built, self.driver = case, built, driver
        self.recorded = next(run for run in case["runs"] if mode in run["modes"])
        self.is_strict = vector.header["order"][mode] == "strict"
        self.stores = vector.header["stores"]
        self.has_cache = MODES[mode] != "0"
        self.dropped = 0

    def run(self, batch_size: int | None) -> Difference | None:
        ops, steps = self.case["in"], self.recorded["steps"]
        for first, after in _batches(ops, len(steps), batch_size):
            found = self._batch(ops[first:after], steps[first:after], after - 1)
            if found is not None:
                return found
            if "ex" in steps[after - 1]:
                return None
        for name, rows in self.recorded.get("stores", EMPTY).items():
            found = self._store(name, rows, len(ops) - 1)
            if found is not None:
                return found
        return None

    def _batch(self, ops: list[dict[str, Any]], steps: list[dict[str, Any]], last: int) -> Difference | None:
        def differs(what: str, expected: Any, got: Any) -> Difference:
            return Difference(self.case["case"], last, what, expected, got)

        error: hw.HeadwaterError | None = None
        try:
            self._feed(ops)
        except hw.HeadwaterError as raised:
            error = raised
        wanted = steps[-1].get("ex")
        if (error is not None) != (wanted is not None) or not _same_cause(error, wanted):
            return differs("exception", wanted, None if error is None else f"{type(error).__name__}: {error}")
        expected = [element for step in steps for element in step.get("out", ())]
        got = [self._element(emission) for emission in self.driver.trace()]
        if wanted is not None:
            # The outputs of the step that threw were not recorded.
            return None if _starts_with(got, expected, self.is_strict) else differs("out", expected, got)
        if not _equal(expected, got, self.is_strict):
            return differs("out", expected, got)
        before, self.dropped = self.dropped, self.driver.dropped_records()
        drops = sum(step.get("drop", 0) for step in steps)
        if self.dropped - before != drops:
            return differs("drop", drops, self.dropped - before)
        if ops[-1]["op"] == "store":
            return self._store(ops[-1]["name"], steps[-1].get("st", []), last)
        return None

    def _feed(self, ops: list[dict[str, Any]]) -> None:
        match ops[0]["op"]:
            case "pipe":
                self.driver.pipe_many([_record(op) for op in ops])
            case "wall":
                self.driver.advance_wall_clock(ops[0]["ms"])

    def _element(self, emission: Any) -> dict[str, Any]:
        element: dict[str, Any] = {"t": emission.topic, **_keyed(emission.key), "v": emission.value}
        if emission.topic is None:
            element["t"] = self.built.peeks[emission.node]
            return element
        element["ts"] = emission.timestamp
        if emission.headers:
            element["h"] = [[name, None if value is None else value.decode()] for name, value in emission.headers]
        return element

    def _store(self, name: str, expected: list[dict[str, Any]], last: int) -> Difference | None:
        kind = self.stores.get(name, "kv")
        if self.has_cache and kind in {"window", "session"}:
            return None
        got = []
        for key, value, timestamp in self.driver.store(name).items():
            row = {**_keyed(key), "v": value}
            got.append(row if kind == "session" else row | {"ts": timestamp})
        got.sort(key=lambda row: (row["k"].encode(), row.get("w", [])))
        return None if got == expected else Difference(self.case["case"], last, f"store {name}", expected, got)


def _batches(ops: Sequence[dict[str, Any]], count: int, size: int | None) -> Iterator[tuple[int, int]]:
    """(first, after) of consecutive pipes, at most `size` of them, and of every other op alone."""
    first = 0
    while first < count:
        after = first + 1
        if ops[first]["op"] == "pipe":
            while after < count and ops[after]["op"] == "pipe" and (size is None or after - first < size):
                after += 1
        yield first, after
        first = after


def _record(op: dict[str, Any]) -> tuple[str, bytes | None, bytes | None, int, list[tuple[str, bytes | None]]]:
    key, value = op.get("k"), op.get("v")
    data = bytes.fromhex(op["vb"]) if "vb" in op else None
    if isinstance(value, int):
        data = value.to_bytes(8, "big", signed=True)
    elif value is not None:
        data = value.encode("utf-8", "surrogatepass")
    headers = [(name, None if content is None else content.encode()) for name, content in op.get("h", ())]
    return op["t"], None if key is None else key.encode("utf-8", "surrogatepass"), data, op["ts"], headers


def _keyed(key: Any) -> dict[str, Any]:
    if isinstance(key, hw.Windowed):
        return {"k": key.key, "w": [key.start, key.end]}
    return {"k": key}


def _same_cause(error: BaseException | None, wanted: list[str] | None) -> bool:
    if error is None or wanted is None:
        return True
    match wanted[-1]:
        case "IllegalStateException":
            return isinstance(error.__cause__, Thrown)
        case "SerializationException":
            return isinstance(error, hw.SerdeError) or isinstance(error.__cause__, hw.SerdeError)
    return not isinstance(error, hw.InternalError)


def _by_key(elements: list[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for element in elements:
        groups.setdefault((element["t"], element["k"], tuple(element.get("w", ()))), []).append(element)
    return groups


def _equal(expected: list[dict[str, Any]], got: list[dict[str, Any]], is_strict: bool) -> bool:
    return expected == got if is_strict else _by_key(expected) == _by_key(got)


def _starts_with(got: list[dict[str, Any]], expected: list[dict[str, Any]], is_strict: bool) -> bool:
    if is_strict:
        return got[: len(expected)] == expected
    groups = _by_key(got)
    return all(groups.get(key, [])[: len(elements)] == elements for key, elements in _by_key(expected).items())

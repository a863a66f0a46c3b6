"""A micro-batch between two steps: rows, and the Python objects that some step has already made of them.

Keys and values stay bytes until a step reads them, are decoded once, and are encoded again only where a kernel needs
bytes. A user's function runs over a whole column in one call of `Batch.call`, which also knows what to do when it
raises in the middle: the rows before that source record are kept, the failure is noted, the rest is cut off.

Not thread-safe: a batch belongs to the task that runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headwater.runtime.failures import Failures
from headwater.serdes import Serde
from headwater.state import Rows


class Batch:
    """Rows of one edge of a topology.

    Attributes:
        rows: The rows; their bytes are stale where a step has put objects (`to_rows` brings them up to date).
        key: Serde of the keys.
        value: Serde of the values (on a table's edge: of new and old ones).
        failures: Where a failing row is noted.
        tags: Which branch each row takes, behind a split.
    """

    __slots__ = ("_keys", "_olds", "_stale", "_values", "failures", "key", "rows", "tags", "value")

    def __init__(self, rows: Rows, key: Serde[Any], value: Serde[Any], failures: Failures) -> None:
        self.rows = rows
        self.key = key
        self.value = value
        self.failures = failures
        self._keys: list[Any] | None = None
        self._values: list[Any] | None = None
        self._olds: list[Any] | None = None
        self._stale: set[str] = set()
        self.tags: list[int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> list[Any]:
        """The decoded keys; call `decode` first."""
        assert self._keys is not None, "keys are decoded by `decode`"
        return self._keys

    @property
    def values(self) -> list[Any]:
        """The decoded values; call `decode` first."""
        assert self._values is not None, "values are decoded by `decode`"
        return self._values

    @property
    def olds(self) -> list[Any]:
        """The decoded old values of a table's edge; call `decode(olds=True)` first."""
        assert self._olds is not None, "old values are decoded by `decode`"
        return self._olds

    def decode(self, *, keys: bool = True, values: bool = True, olds: bool = False) -> Batch:
        """Decode what is not decoded yet; rows that do not decode follow the policy of their source.

        Args:
            keys: Whether keys are needed.
            values: Whether values are needed.
            olds: Whether old values are needed.

        Returns:
            This batch, or a shorter one without the rows that did not decode.
        """
        bad: dict[int, Exception] = {}
        if keys and self._keys is None:
            self._keys = self._decoded(self.key, self.rows.keys(), bad)
        if values and self._values is None:
            self._values = self._decoded(self.value, self.rows.values(), bad)
        if olds and self._olds is None:
            self._olds = self._decoded(self.value, self.rows.olds(), bad)
        return self.without(bad) if bad else self

    def _decoded(self, serde: Serde[Any], datas: list[bytes | None], bad: dict[int, Exception]) -> list[Any]:
        try:
            return serde.deserialize_many(datas)
        except Exception:
            objects: list[Any] = []
            for index, data in enumerate(datas):
                try:
                    objects.append(None if data is None else serde.deserialize(data))
                except Exception as error:
                    bad[index] = error
                    objects.append(None)
            return objects

    def without(self, bad: dict[int, Exception]) -> Batch:
        """Hand rows that do not decode to their source's policy and drop them.

        Args:
            bad: Row number to error.
        """
        seqs = self.rows.seqs()
        limit = None
        for index in sorted(bad):
            if self.failures.undecodable(seqs[index], bad[index]):
                limit = seqs[index]
                break
        keep = [index not in bad and (limit is None or seqs[index] < limit) for index in range(len(seqs))]
        return self.filter(keep)

    # --- user functions ---------------------------------------------------------------------------------------------

    def call(self, function: Callable[..., Any], *columns: Sequence[Any]) -> tuple[list[Any], Batch]:
        """Call a user's function once a row.

        Args:
            function: Called with one entry of each column.
            columns: As long as this batch.

        Returns:
            The results and the batch they belong to: this one, or, after a failure, its rows before the failing record.
        """
        results: list[Any] = []
        try:
            results.extend(map(function, *columns))
        except Exception as error:
            seq = self.rows.seqs()[len(results)]
            self.failures.raised(seq, error)
            kept = self.before(seq)
            return results[: len(kept)], kept
        return results, self

    # --- making new batches -----------------------------------------------------------------------------------------

    def _derive(self, rows: Rows, pick: Callable[[list[Any]], list[Any]]) -> Batch:
        batch = Batch(rows, self.key, self.value, self.failures)
        batch._keys = None if self._keys is None else pick(self._keys)
        batch._values = None if self._values is None else pick(self._values)
        batch._olds = None if self._olds is None else pick(self._olds)
        batch.tags = None if self.tags is None else pick(self.tags)
        batch._stale = set(self._stale)
        return batch

    def filter(self, mask: list[bool]) -> Batch:
        """The rows where `mask` is true.

        Args:
            mask: As long as this batch.
        """
        if all(mask):
            return self
        return self._derive(
            self.rows.filter(mask), lambda column: [x for x, keep in zip(column, mask, strict=True) if keep]
        )

    def before(self, seq: int) -> Batch:
        """The rows before a source record.

        Args:
            seq: Position of the source record.
        """
        return self.filter([row < seq for row in self.rows.seqs()])

    def fan(self, child: int) -> Batch:
        """A copy for one of several children.

        Args:
            child: Which.
        """
        return self._derive(self.rows.fan(child), lambda column: column)

    def with_values(self, values: list[Any], serde: Serde[Any]) -> Batch:
        """The same rows with other values (objects; encoded when needed).

        Args:
            values: As long as this batch.
            serde: Their serde.
        """
        batch = self._derive(self.rows, lambda column: column)
        batch._values, batch.value = values, serde
        batch._stale.add("values")
        # Old values were of the other serde; whoever wants new ones says so with `with_change`.
        batch._olds = None
        batch._stale.discard("olds")
        return batch

    def with_keys(self, keys: list[Any], serde: Serde[Any]) -> Batch:
        """The same rows with other keys.

        Args:
            keys: As long as this batch.
            serde: Their serde.
        """
        batch = self._derive(self.rows, lambda column: column)
        batch._keys, batch.key = keys, serde
        batch._stale.add("keys")
        return batch

    def with_change(self, values: list[Any], olds: list[Any], serde: Serde[Any]) -> Batch:
        """The same rows of a table's edge with other new and old values.

        Args:
            values: New values.
            olds: Old values.
            serde: The serde of both.
        """
        batch = self.with_values(values, serde)
        batch._olds = olds
        batch._stale.add("olds")
        return batch

    def typed(self, key: Serde[Any], value: Serde[Any]) -> Batch:
        """The same rows read with other serdes.

        Args:
            key: Serde of the keys.
            value: Serde of the values.
        """
        self.to_rows()
        return Batch(self.rows, key, value, self.failures)

    def encode(self, serde: Serde[Any], objects: list[Any]) -> tuple[list[bytes | None], Batch]:
        """Encode objects of this batch's rows; the first one that does not fit fails its record.

        Args:
            serde: Their serde.
            objects: As long as this batch.
        """
        try:
            return serde.serialize_many(objects), self
        except Exception:
            encoded, kept = self.call(lambda x: None if x is None else serde.serialize(x), objects)
            return encoded, kept

    def to_rows(self) -> Rows:
        """The rows with all objects encoded."""
        batch = self
        for part in sorted(self._stale):
            serde = batch.key if part == "keys" else batch.value
            objects = getattr(batch, f"_{part}")
            encoded, kept = batch.encode(serde, objects)
            if kept is not batch:
                # A failure cut the batch; the rest of the parts are encoded on what is left.
                kept.rows = kept._set(part, encoded)
                kept._stale.discard(part)
                return kept.to_rows()
            batch.rows = batch._set(part, encoded)
        self._stale.clear()
        return self.rows

    def _set(self, part: str, encoded: list[bytes | None]) -> Rows:
        rows = self.rows.copy()
        {"keys": rows.set_keys, "values": rows.set_values, "olds": rows.set_olds}[part](encoded)
        return rows

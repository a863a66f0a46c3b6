"""Single files of a partition as they are, line by line, with the names that Kafka's DumpLogSegments has for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from headwater import _core
from headwater.errors import InvalidArgumentError

_CHUNK = 64
_OFFSETS_TOPIC = "__consumer_offsets"


def dump_file(
    path: str | os.PathLike[str], *, records: bool = False, offsets_decoder: bool | None = None
) -> Iterator[dict[str, Any]]:
    """Show what a file holds, good or bad.

    A ``.log`` gives a line a batch; ``.index``, ``.timeindex``, ``.txnindex``, ``.snapshot`` and ``headwater.mark`` a line
    an entry.

    Args:
        path: The file.
        records: Show every record of a batch too, under ``"records"``.
        offsets_decoder: Decode keys and values as those of ``__consumer_offsets``; default for files of that topic.

    Yields:
        Lines in the order of the file.

    Raises:
        InvalidArgumentError: Another kind of file, or none.
        StorageError: It cannot be read.
    """
    folder, name = os.path.split(os.path.abspath(os.fspath(path)))
    if not os.path.exists(path):
        raise InvalidArgumentError(f"expected a file, got none - at {path}; fix the name", path=os.fspath(path))
    if name.endswith(".log"):
        if offsets_decoder is None:
            offsets_decoder = os.path.basename(folder).rpartition("-")[0] == _OFFSETS_TOPIC
        return _dump_log(folder, name, has_records=records, is_offsets=offsets_decoder)
    for ending, dump in _OTHERS.items():
        if name.endswith(ending):
            return dump(folder, name)
    raise InvalidArgumentError(
        f"expected a file {', '.join(('.log', *_OTHERS))}, got {name!r} - at {path}", path=os.fspath(path)
    )


def _dump_log(folder: str, name: str, *, has_records: bool, is_offsets: bool) -> Iterator[dict[str, Any]]:
    position = 0
    while entries := _core.dump_log(folder, name, position, _CHUNK, has_records):
        for end, line in entries:
            position = end
            if is_offsets and not line.get("isControl"):
                line["records"] = [_decoded(record) for record in line.pop("records", ())]
            yield line


def _decoded(record: dict[str, Any]) -> dict[str, Any]:
    found = None if record["key"] is None else _core.decode_offsets_entry(record["key"], record["payload"])
    if found is None:
        return record
    key, value = found
    return {**record, "key": key, "payload": record["payload"] if "version" in key else value}


def _rest(count: int) -> Iterator[dict[str, Any]]:
    if count:
        yield {"fault": f"expected whole entries, got {count} bytes more"}


def _dump_index(folder: str, name: str) -> Iterator[dict[str, Any]]:
    entries, rest = _core.dump_index(folder, name)
    for offset, position in entries:
        yield {"offset": offset, "position": position}
    yield from _rest(rest)


def _dump_time_index(folder: str, name: str) -> Iterator[dict[str, Any]]:
    entries, rest = _core.dump_time_index(folder, name)
    for timestamp, offset in entries:
        yield {"timestamp": timestamp, "offset": offset}
    yield from _rest(rest)


def _dump_transaction_index(folder: str, name: str) -> Iterator[dict[str, Any]]:
    entries, rest = _core.dump_transaction_index(folder, name)
    names = ("version", "producerId", "firstOffset", "lastOffset", "lastStableOffset")
    for entry in entries:
        yield dict(zip(names, entry, strict=True))
    yield from _rest(rest)


def _dump_snapshot(folder: str, name: str) -> Iterator[dict[str, Any]]:
    producers, fault = _core.dump_snapshot(folder, name)
    yield from producers
    if fault is not None:
        yield {"fault": fault}


def _dump_mark(folder: str, name: str) -> Iterator[dict[str, Any]]:
    for position, sequence, durable, identity in _core.dump_mark(folder, name):
        yield {"position": position, "sequence": sequence, "durableOffset": durable, "identity": identity}


_OTHERS: dict[str, Callable[[str, str], Iterator[dict[str, Any]]]] = {
    ".timeindex": _dump_time_index,
    ".txnindex": _dump_transaction_index,
    ".index": _dump_index,
    ".snapshot": _dump_snapshot,
    "headwater.mark": _dump_mark,
}

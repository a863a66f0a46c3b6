"""A partition folder that Kafka wrote, put in place of ours, is read as it is: every record, in every codec."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import headwater as hw

SEGMENTS = Path(__file__).parents[2] / "rust/headwater-record/tests/fixtures/segments"
NAMES = sorted(path.name.removesuffix(".records.jsonl.gz") for path in SEGMENTS.glob("*.records.jsonl.gz"))


def expected(name: str) -> list[dict[str, Any]]:
    with gzip.open(SEGMENTS / f"{name}.records.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def plain(row: dict[str, Any]) -> tuple[Any, ...]:
    def decode(text: str | None) -> bytes | None:
        return None if text is None else base64.b64decode(text)

    headers = tuple((name, decode(value)) for name, value in row["headers"])
    return row["offset"], row["timestamp"], decode(row["key"]), decode(row["value"]), headers


def put_in_place(directory: Path, name: str) -> None:
    with hw.open(directory) as broker:
        broker.create_topic(name)
        broker.send_many(name, ["this goes away"])
    folder = directory / f"{name}-0"
    shutil.rmtree(folder)
    shutil.copytree(SEGMENTS / f"{name}-0", folder)


def read(broker: hw.Broker, name: str, isolation: Any) -> list[tuple[Any, ...]]:
    with broker.consumer(
        name, auto_offset_reset="earliest", timeout="0s", isolation_level=isolation, fetch_size=10_000
    ) as consumer:
        return [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in consumer]


def test_there_are_segments() -> None:
    assert len(NAMES) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_every_record_is_read_exactly(name: str, tmp_path: Path) -> None:
    put_in_place(tmp_path, name)
    rows = expected(name)
    with hw.open(tmp_path) as broker:
        assert read(broker, name, "read_uncommitted") == [plain(row) for row in rows]
        committed = [plain(row) for row in rows if not row.get("aborted")]
        assert read(broker, name, "read_committed") == committed
        for row in rows[:: max(1, len(rows) // 20)]:
            later = [other for other in rows if other["timestamp"] >= row["timestamp"]]
            assert broker.offsets_for_times(name, row["timestamp"]) == {0: later[0]["offset"]}
        end = broker.offsets(name)[0][1]
        assert broker.send_many(name, ["more"]) == 1
        with broker.consumer(name, timeout="0s") as consumer:
            consumer.seek(name, 0, end)
            assert [(r.offset, r.value) for r in consumer] == [(end, b"more")]
    with hw.open(tmp_path) as broker:
        assert broker.offsets(name) == {0: (0, end + 1)}

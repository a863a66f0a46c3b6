"""``headwater verify`` and ``headwater dump``."""

from __future__ import annotations

from pathlib import Path

from .conftest import Shell

KAFKA = Path(__file__).parents[3] / "rust" / "headwater-record" / "tests" / "fixtures" / "segments"


def damaged(shell: Shell) -> tuple[Path, int]:
    """A topic of three batches, the second of which has a flipped bit; the file and where the batch begins."""
    shell.ok("topic", "create", "t")
    for value in ("one", "two", "three"):
        shell.ok("produce", "t", stdin=f"{value}\n")
    log = shell.data / "t-0" / "00000000000000000000.log"
    position = shell.ok("dump", str(log)).rows()[1]["position"]
    data = bytearray(log.read_bytes())
    data[position + 66] ^= 1
    log.write_bytes(data)
    return log, position


def test_a_good_directory_is_clean_and_a_damaged_one_is_not(shell: Shell) -> None:
    shell.ok("topic", "create", "x")
    clean = shell.ok("verify")
    assert clean.out == "" and "nothing is wrong" in clean.err
    log, position = damaged(shell)
    found = shell("verify", str(shell.data))
    assert found.code == 1
    [row] = found.rows()
    assert (row["severity"], row["topic"], row["partition"], row["offset"]) == ("error", "t", 0, 1)
    assert (row["path"], row["position"]) == (str(log), position)
    assert "checksum" in row["what"] and "offset 2" in row["advice"]
    assert "SEVERITY" in shell("verify", "-o", "table").out
    shell.refused("verify", str(shell.data / "nowhere"))


def test_a_directory_of_kafka_is_clean(shell: Shell) -> None:
    assert "nothing is wrong" in shell.ok("verify", str(KAFKA)).err


def test_batches_and_records_are_shown(shell: Shell) -> None:
    log, position = damaged(shell)
    rows = shell.ok("dump", str(log)).rows()
    assert [row["isvalid"] for row in rows] == [True, False, True]
    assert rows[1]["position"] == position and "checksum" in rows[1]["fault"]
    text = shell.ok("dump", str(log), "--records", "-o", "table").out
    assert "baseOffset: 0 lastOffset: 0 count: 1" in text and "payload: three" in text
    lines = shell.ok("dump", str(log), "--records", "-o", "csv").out.splitlines()
    assert "payload" in lines[0] and len(lines) == 4


def test_commits_are_decoded(shell: Shell) -> None:
    shell.ok("topic", "create", "t")
    shell.ok("produce", "t", stdin="a\n")
    shell.ok("consume", "t", "-g", "g")
    log = shell.data / "__consumer_offsets-0" / "00000000000000000000.log"
    [record] = shell.ok("dump", str(log), "--records").rows()[0]["records"]
    assert record["key"] == {"group": "g", "topic": "t", "partition": 0}
    assert record["payload"]["offset"] == 1


def test_files_of_kafka_are_shown(shell: Shell) -> None:
    folder = KAFKA / "java-transactions-0"
    rows = shell.ok("dump", *map(str, sorted(folder.glob("*.log"))), "-r").rows()
    markers = [record["endTxnMarker"] for row in rows if row["isControl"] for record in row["records"]]
    assert {"COMMIT", "ABORT"} == set(markers)
    assert all(row["isvalid"] and row["isTransactional"] for row in rows)
    for ending, name in (
        (".index", "position"),
        (".timeindex", "timestamp"),
        (".txnindex", "firstOffset"),
        (".snapshot", "producerEpoch"),
    ):
        files = [str(path) for path in sorted(folder.glob(f"*{ending}"))]
        assert any(name in row for row in shell.ok("dump", *files).rows()), ending
    shell.refused("dump", str(folder / "partition.metadata"))
    shell.refused("dump", str(folder / "missing.log"))

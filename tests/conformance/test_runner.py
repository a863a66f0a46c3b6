"""The runner notices every kind of difference, skips for one reason only, and says so in its last line."""

import copy
import gzip

import msgspec
import pytest

from tests.conformance.__main__ import main
from tests.conformance.replay import check_topology, replay
from tests.conformance.vectors import VECTORS, read, unbuilt


@pytest.fixture
def vector():
    return read(VECTORS / "W01" / "v0.jsonl.gz")


def changed(vector, change):
    """A case whose recording was changed."""
    for original in vector.cases:
        case = copy.deepcopy(original)
        run = next(run for run in case["runs"] if "rocks-0" in run["modes"])
        if change(run):
            return case
    raise AssertionError("no case has what is to be changed")


def change_output(run):
    for step in run["steps"]:
        if "out" in step:
            step["out"][0]["v"] += 1
            return True
    return False


def change_timestamp(run):
    for step in run["steps"]:
        if "out" in step:
            step["out"][0]["ts"] += 1
            return True
    return False


def change_drops(run):
    for step in run["steps"]:
        if "drop" in step:
            step["drop"] += 1
            return True
    return False


def change_order(run):
    for step in run["steps"]:
        if len({msgspec.json.encode(element) for element in step.get("out", ())}) > 1:
            step["out"].reverse()
            return True
    return False


def change_store(run):
    for rows in run.get("stores", {}).values():
        if rows:
            rows.pop()
            return True
    return False


def expect_exception(run):
    run["steps"][-1] = {"ex": ["StreamsException", "IllegalStateException"]}
    return True


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (change_output, "out"),
        (change_timestamp, "out"),
        (change_drops, "drop"),
        (change_store, "store st"),
        (expect_exception, "exception"),
    ],
)
def test_a_difference_is_found(vector, change, what, batch_size):
    found = replay(vector, changed(vector, change), "rocks-0", batch_size)
    assert found is not None and found.what == what
    assert "expected" in str(found) and "got" in str(found)


def test_order_counts_where_it_is_strict():
    vector = read(VECTORS / "S02" / "v0.jsonl.gz")
    assert vector.header["order"]["rocks-0"] == "strict"
    assert replay(vector, changed(vector, change_order), "rocks-0", 1).what == "out"


def test_a_changed_description_is_found(vector):
    vector.header["describe"] += "\n"
    assert check_topology(vector).what == "describe"


def test_a_topology_that_should_be_refused_is_found(vector):
    vector.header["buildError"] = ["TopologyException"]
    assert check_topology(vector).what == "not refused"


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ({"op": "suppress"}, "suppress"),
        ({"op": "windowedBy", "window": {"type": "sliding"}}, "sliding windows"),
        ({"op": "windowedBy", "window": {"type": "tumbling"}, "emit": "close"}, "emit close"),
        ({"op": "join", "window": {"deprecatedOf": 3}}, "JoinWindows.of"),
        ({"op": "table", "versioned": 10}, "versioned"),
    ],
)
def test_operators_of_later_releases_are_known(node, name):
    assert unbuilt({"nodes": [node]}) == {name}


def test_the_command_counts_and_exits(tmp_path, capsys):
    path = VECTORS / "A01" / "v0.jsonl.gz"
    assert main([str(path)]) == 0
    cases = len(read(path).cases)
    assert capsys.readouterr().out == f"{2 * cases} passed, 0 failed, 0 skipped\n"

    lines = gzip.decompress(path.read_bytes()).splitlines()
    case = msgspec.json.decode(lines[1])
    for run in case["runs"]:
        change_output(run)
    broken = tmp_path / "A01" / "v0.jsonl.gz"
    broken.parent.mkdir()
    broken.write_bytes(gzip.compress(b"\n".join([lines[0], msgspec.json.encode(case)])))
    assert main([str(tmp_path), "--batch", "all", "--mode", "rocks-0"]) == 1
    output = capsys.readouterr().out
    assert output.startswith("A01/v0: 1 failed, first at rocks-0 case 0 step 11: out: expected ")
    assert output.endswith("\n0 passed, 1 failed, 0 skipped\n")


def test_the_command_lists_what_it_skips(capsys):
    assert main([str(VECTORS / "U01"), "--mode", "rocks-0"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("not built yet (files): ") and "suppress" in output
    assert output.endswith(" skipped\n") and "0 passed, 0 failed" in output

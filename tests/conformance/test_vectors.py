"""Every recorded topology of the operators that there are, in both modes, fed one by one and in batches."""

from pathlib import Path

import pytest

from tests.conformance.replay import check_topology, replay
from tests.conformance.vectors import MODES, VECTORS, find, read

FILES = [path for path in find([VECTORS]) if not read(path).unbuilt()]


def name(path: Path) -> str:
    return f"{path.parent.name}-{path.name.removesuffix('.jsonl.gz')}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_topology_is_described_or_refused_as_recorded(path):
    assert check_topology(read(path)) is None


@pytest.mark.parametrize("batch_size", [1, 7, None], ids=["one", "seven", "all"])
@pytest.mark.parametrize("path", FILES, ids=name)
def test_cases_give_what_was_recorded(path, batch_size):
    vector = read(path)
    for mode in vector.modes(MODES):
        for case in vector.cases:
            found = replay(vector, case, mode, batch_size)
            assert found is None, f"{mode} {found}"


def test_the_operators_of_this_release_are_covered():
    assert len(FILES) == 117

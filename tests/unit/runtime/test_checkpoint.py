"""A checkpoint comes back as it was, and fits into Kafka's metadata field however large the topology."""

from __future__ import annotations

import hashlib

import pytest

from headwater.runtime.checkpoint import Checkpoint


@pytest.mark.parametrize("nodes", [0, 3, 1_500])
def test_a_checkpoint_comes_back(nodes: int) -> None:
    checkpoint = Checkpoint(
        clocks={"store": (5, 7)},
        joins={"join": (1, 2**63 - 1, 3, 4)},
        nodes={
            f"KSTREAM-MAPVALUES-{i:010d}": hashlib.blake2b(str(i).encode(), digest_size=8).hexdigest()
            for i in range(nodes)
        },
    )
    checkpoint.wrote("store", 0, 10)
    checkpoint.wrote("store", 10, 12)
    checkpoint.wrote("store", 20, 30)
    text = checkpoint.encode()
    assert len(text.encode()) <= 32_767
    assert Checkpoint.decode(text) == checkpoint
    assert [(part.start, part.end) for part in Checkpoint.decode(text).changelogs["store"]] == [(0, 12), (20, 30)]


def test_no_text_is_no_checkpoint() -> None:
    assert Checkpoint.decode("") == Checkpoint()

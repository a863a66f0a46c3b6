"""The rides of the benchmarks are the same bytes on every machine, or figures could not be compared."""

from __future__ import annotations

from hashlib import sha256

from benches.python.workload import rides


def test_the_same_seed_gives_the_same_bytes() -> None:
    digest = sha256()
    sizes = []
    for key, value, timestamp in rides(20_000):
        digest.update(key + value + str(timestamp).encode())
        sizes.append(len(value))
    assert digest.hexdigest()[:16] == "aa8a3e80d9ab1685"
    assert 395 <= sum(sizes) / len(sizes) <= 399

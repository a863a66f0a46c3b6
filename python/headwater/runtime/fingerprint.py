"""What identifies a node for the state it has written: its kind, name, window, types and folds.

State that one program wrote is another program's only if these agree. Code of callables is not part of it: a bug fix in
a lambda must not cost the state, and what it returns is the user's business.
"""

from __future__ import annotations

import hashlib
from typing import Any

from headwater.serdes import InferredSerde, Serde
from headwater.topology import nodes as n


def fingerprint(node: n.Node) -> str:
    """A short text that changes when state of this node would mean something else.

    Args:
        node: A node of a topology.
    """
    parts = [type(node).__name__, node.name, _serde(node.key), _serde(node.value)]
    parts += [parent.name for parent in node.inputs]
    for field in ("topics", "topic", "window", "kind", "emit", "index"):
        parts.append(f"{field}={getattr(node, field, None)}")
    fold = getattr(node, "fold", None)
    if fold is not None:
        parts.append(type(fold).__name__)
    if isinstance(fold, n.Agg):
        parts += [f"{name}={expr}" for name, expr in fold.columns]
    store = getattr(node, "store", None)
    if isinstance(store, n.StoreSpec):
        parts.append(f"{store.name}/{store.kind}/{store.retention_ms}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def _serde(serde: Serde[Any]) -> str:
    # What an inferred serde has become depends on the data.
    return "inferred" if isinstance(serde, InferredSerde) else serde.name

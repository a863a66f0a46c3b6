"""Executes topologies: plans, tasks, checkpoints and the `App` that owns them."""

from headwater.runtime.app import App
from headwater.runtime.metrics import Metrics

__all__ = ["App", "Metrics"]

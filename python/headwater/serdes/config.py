"""Serdes as plain data, so that a topic can remember them: ``{"format": "json", "type": {...}}``.

A class itself cannot be remembered, its fields can: a Struct, dataclass or TypedDict comes back as a TypedDict of the
same field names and types (values are then dicts), and a type that has no such description as untyped JSON.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any, NotRequired, TypedDict, cast

from msgspec import inspect

from headwater.errors import InvalidArgumentError
from headwater.serdes.base import Serde
from headwater.serdes.documents import JsonSerde, MsgpackSerde, fields_in_order
from headwater.serdes.inferred import InferredSerde
from headwater.serdes.scalars import float64, int64, raw, text
from headwater.serdes.windowed import SessionWindowedSerde, WindowedSerde

_SCALARS: dict[Any, Callable[[], Serde[Any]]] = {"raw": raw, "text": text, "int64": int64, "float64": float64}

_TYPES: dict[str, Any] = {
    "any": Any,
    "none": None,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes,
    "datetime": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "decimal": decimal.Decimal,
    "uuid": uuid.UUID,
}
_INFOS: dict[type, str] = {
    inspect.NoneType: "none",
    inspect.BoolType: "bool",
    inspect.IntType: "int",
    inspect.FloatType: "float",
    inspect.StrType: "str",
    inspect.BytesType: "bytes",
    inspect.DateTimeType: "datetime",
    inspect.DateType: "date",
    inspect.TimeType: "time",
    inspect.TimeDeltaType: "timedelta",
    inspect.DecimalType: "decimal",
    inspect.UUIDType: "uuid",
}


def serde_to_config(serde: Serde[Any]) -> dict[str, Any]:
    """Describe a serde as plain data.

    Args:
        serde: Any serde; one of a user's own class becomes ``{"format": "custom"}`` and its name.
    """
    if isinstance(serde, InferredSerde):
        return {"format": "raw"} if serde.resolved is None else serde_to_config(serde.resolved)
    if isinstance(serde, WindowedSerde):
        return {"format": "windowed", "inner": serde_to_config(serde.inner), "size_ms": serde.size_ms}
    if isinstance(serde, SessionWindowedSerde):
        return {"format": "session_windowed", "inner": serde_to_config(serde.inner)}
    if isinstance(serde, (JsonSerde, MsgpackSerde)):
        return {"format": serde.format, "type": _describe(inspect.type_info(serde.type), set())}
    if serde.name in _SCALARS:
        return {"format": serde.name}
    return {"format": "custom", "name": serde.name}


def serde_from_config(config: dict[str, Any]) -> Serde[Any]:
    """Rebuild a serde from `serde_to_config`'s data.

    Args:
        config: The description; one of a user's own class comes back as raw bytes.

    Raises:
        InvalidArgumentError: The format is unknown (written by a newer headwater).
    """
    kind = config.get("format")
    if kind in _SCALARS:
        return _SCALARS[kind]()
    if kind == "windowed":
        return WindowedSerde(serde_from_config(config["inner"]), config["size_ms"])
    if kind == "session_windowed":
        return SessionWindowedSerde(serde_from_config(config["inner"]))
    if kind == "json":
        return JsonSerde(_rebuild(config.get("type", "any")))
    if kind == "msgpack":
        return MsgpackSerde(_rebuild(config.get("type", "any")))
    if kind == "custom":
        return raw()
    raise InvalidArgumentError(f"expected a known serde format, got {kind!r}; upgrade headwater or pass key=, value=")


def _describe(info: Any, seen: set[Any]) -> Any:
    """Describe a type; recursion and whatever has no description becomes ``"any"``."""
    found = _INFOS.get(type(info))
    if found is not None:
        return found
    if isinstance(info, (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)):
        return {"list": _describe(info.item_type, seen)}
    if isinstance(info, inspect.DictType):
        return {"dict": [_describe(info.key_type, seen), _describe(info.value_type, seen)]}
    if isinstance(info, inspect.UnionType):
        parts = [_describe(part, seen) for part in info.types if not isinstance(part, inspect.NoneType)]
        if len(parts) == 1 and info.includes_none:
            return {"optional": parts[0]}
        return "any"
    if isinstance(info, (inspect.StructType, inspect.DataclassType, inspect.TypedDictType)):
        is_tagged = getattr(info, "tag", None) is not None or getattr(info, "array_like", False)
        if info.cls in seen or is_tagged:
            return "any"
        below = seen | {info.cls}
        fields = [[f.encode_name, _describe(f.type, below), f.required] for f in fields_in_order(info)]
        return {"struct": info.cls.__name__, "fields": fields}
    return "any"


def _rebuild(described: Any) -> Any:
    """Build the type that a description stands for."""
    if isinstance(described, str):
        return _TYPES.get(described, Any)
    if "list" in described:
        return list[_rebuild(described["list"])]  # type: ignore[misc]
    if "dict" in described:
        key, value = described["dict"]
        return dict[_rebuild(key), _rebuild(value)]  # type: ignore[misc]
    if "optional" in described:
        return _rebuild(described["optional"]) | None
    if "struct" in described:
        fields = {
            name: _rebuild(kind) if required else NotRequired[_rebuild(kind)]
            for name, kind, required in described["fields"]
        }
        return cast(Any, TypedDict)(described["struct"], fields)
    return Any

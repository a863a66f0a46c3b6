"""Which columns the values of a serde have.

A Struct, dataclass, TypedDict or NamedTuple has one column a field, named as in Python (a renamed field keeps its Python
name; only the bytes have the other one); any other typed value has the one column ``value``. Nested objects are
`pl.Struct`, lists `pl.List`. A naive `datetime` counts as UTC, since a column has one time zone. A `Decimal` has 18
digits behind the point. What has no polars type (`Any`, a dict, a union) has no dtype: expressions must not read it.
"""

from __future__ import annotations

import datetime
import decimal
import threading
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, NamedTuple, TypedDict, TypeVar, cast

import msgspec
import polars as pl
from msgspec import inspect

from headwater.frames.columns import SCALAR
from headwater.serdes import Serde
from headwater.serdes.documents import fields_in_order

T = TypeVar("T")
DTypes = Any  # a polars type: pl.DataType, or one of its classes

_DECIMAL = pl.Decimal(38, 18)
_DTYPES: dict[type, DTypes] = {
    inspect.BoolType: pl.Boolean(),
    inspect.IntType: pl.Int64(),
    inspect.FloatType: pl.Float64(),
    inspect.StrType: pl.String(),
    inspect.BytesType: pl.Binary(),
    inspect.ByteArrayType: pl.Binary(),
    inspect.DateTimeType: pl.Datetime("us", "UTC"),
    inspect.DateType: pl.Date(),
    inspect.TimeType: pl.Time(),
    inspect.TimeDeltaType: pl.Duration("us"),
    inspect.DecimalType: _DECIMAL,
    inspect.UUIDType: pl.String(),
}
_SCALAR_DTYPES: dict[type, DTypes] = {
    str: pl.String(),
    int: pl.Int64(),
    float: pl.Float64(),
    bool: pl.Boolean(),
    bytes: pl.Binary(),
}
_OBJECTS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType, inspect.NamedTupleType)
_LISTS = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType, inspect.CollectionType)

_same: Callable[[Any], Any] = lambda value: value


class Column(NamedTuple):
    """A field of a value as a column.

    Attributes:
        name: Name of the column, the field's name in Python.
        encoded: Its name in the bytes.
        dtype: Its polars type; None if it has none.
        convert: From the field's object to what polars takes; None if they are the same.
        field: msgspec's description of the field; None for a scalar value.
    """

    name: str
    encoded: str
    dtype: DTypes | None
    convert: Callable[[Any], Any] | None
    field: inspect.Field | None


class ValueSchema:
    """The columns of a serde's values.

    Attributes:
        serde: The serde.
        columns: The columns in order; empty if nothing is known about the values.
        is_object: Whether the values have fields.
        is_mapping: Whether the values are dicts (TypedDict), not objects with attributes.
        is_open: Whether a value of other fields than these decodes too, and no code of the user's looks at all of
            them: then a few fields may be decoded alone.
    """

    def __init__(self, serde: Serde[Any]) -> None:
        """Derive the columns.

        Args:
            serde: Serde of the values.
        """
        self.serde = serde
        self.is_object = False
        self.is_mapping = False
        self.is_open = False
        self._local = threading.local()
        self.columns: tuple[Column, ...] = ()
        self.info: inspect.Type | None = None
        kind = getattr(serde, "resolved", None) or serde
        kind = kind.type
        if kind is None or kind is Any:
            return
        try:
            self.info = inspect.type_info(kind)
        except (TypeError, NameError, AttributeError):
            return
        info = self.info
        if isinstance(info, inspect.UnionType) and info.includes_none and len(info.types) == 2:
            info = next(part for part in info.types if not isinstance(part, inspect.NoneType))
        if isinstance(info, _OBJECTS):
            self.is_object = True
            self.is_mapping = isinstance(info, inspect.TypedDictType)
            self.is_open = _is_open(info)
            self.columns = tuple(_column(field) for field in fields_in_order(info))
        else:
            dtype, convert = _dtype(info, frozenset())
            if dtype is not None:
                self.columns = (Column(SCALAR, SCALAR, dtype, convert, None),)

    @classmethod
    def of(cls, serde: Serde[Any]) -> ValueSchema:
        """The schema of a serde's values.

        Args:
            serde: Serde of the values.
        """
        if hasattr(serde, "resolved"):
            return cls(serde)  # may learn its type later
        return _cached(_Identity(serde))

    @property
    def is_typed(self) -> bool:
        """Whether anything is known about the values."""
        return bool(self.columns)

    def dtypes(self) -> dict[str, DTypes]:
        """Name to dtype of the columns that have one."""
        return {column.name: column.dtype for column in self.columns if column.dtype is not None}

    def remembered(self, name: Hashable, make: Callable[[], T]) -> T:
        """Something made once for this schema and thread.

        Args:
            name: What to remember it by.
            make: Makes it.
        """
        made = cast(dict[Hashable, Any], self._local.__dict__)
        if name not in made:
            made[name] = make()
        return cast(T, made[name])

    def pick(self, names: Any) -> tuple[Column, ...]:
        """The columns with these names, in the schema's order.

        Args:
            names: Wanted names, or None for all.
        """
        return self.columns if names is None else tuple(c for c in self.columns if c.name in names)


def _is_open(info: Any) -> bool:
    if not isinstance(info, (inspect.StructType, inspect.DataclassType, inspect.TypedDictType)):
        return False
    is_special = (
        getattr(info, "array_like", False)
        or getattr(info, "tag", None) is not None
        or getattr(info, "forbid_unknown_fields", False)
    )
    return not is_special and not hasattr(info.cls, "__post_init__")


class _Identity:
    # Serdes compare by name and type; two Structs of one name may differ, so the cache goes by the object itself.
    def __init__(self, serde: Serde[Any]) -> None:
        self.serde = serde

    def __hash__(self) -> int:
        return id(self.serde)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.serde is other.serde


@lru_cache(maxsize=256)
def _cached(serde: _Identity) -> ValueSchema:
    return ValueSchema(serde.serde)


def _column(field: inspect.Field) -> Column:
    dtype, convert = _dtype(field.type, frozenset())
    return Column(field.name, field.encode_name, dtype, None if convert is _same else convert, field)


def _dtype(info: inspect.Type, seen: frozenset[Any]) -> tuple[DTypes | None, Callable[[Any], Any]]:
    """The dtype of a type, and how its objects become what polars takes."""
    if isinstance(info, inspect.Metadata):
        return _dtype(info.type, seen)
    if isinstance(info, inspect.UnionType):
        parts = [part for part in info.types if not isinstance(part, inspect.NoneType)]
        return _dtype(parts[0], seen) if len(parts) == 1 else (None, _same)
    if isinstance(info, inspect.DateTimeType) and info.tz is False:
        return pl.Datetime("us"), _same
    if isinstance(info, inspect.UUIDType):
        return pl.String(), str
    if isinstance(info, inspect.DateTimeType):
        return _DTYPES[inspect.DateTimeType], _utc
    found = _DTYPES.get(type(info))
    if found is not None:
        return found, _same
    if isinstance(info, inspect.EnumType):
        return _common_dtype([member.value for member in info.cls]), lambda member: member.value
    if isinstance(info, inspect.LiteralType):
        return _common_dtype(list(info.values)), _same
    if isinstance(info, _LISTS):
        dtype, inner = _dtype(info.item_type, seen)
        if dtype is None:
            return None, _same
        return pl.List(dtype), lambda items: [None if item is None else inner(item) for item in items]
    if isinstance(info, _OBJECTS) and info.cls not in seen:
        return _struct(info, seen | {info.cls})
    return None, _same


def _struct(info: Any, seen: frozenset[Any]) -> tuple[DTypes | None, Callable[[Any], Any]]:
    fields: list[pl.Field] = []
    reads: list[tuple[str, Callable[[Any], Any]]] = []
    for field in info.fields:
        dtype, convert = _dtype(field.type, seen)
        if dtype is None:
            return None, _same
        fields.append(pl.Field(field.name, dtype))
        reads.append((field.name, convert))
    if isinstance(info, inspect.TypedDictType):
        return pl.Struct(fields), lambda value: {
            name: None if (part := value.get(name)) is None else convert(part) for name, convert in reads
        }
    return pl.Struct(fields), lambda value: {
        name: None if (part := getattr(value, name)) is None or part is msgspec.UNSET else convert(part)
        for name, convert in reads
    }


def _common_dtype(values: list[Any]) -> DTypes | None:
    kinds = {type(value) for value in values if value is not None}
    return _SCALAR_DTYPES.get(kinds.pop()) if len(kinds) == 1 else None


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment


def type_of(dtype: DTypes) -> Any:
    """The Python type that a column's entries have, without None.

    Args:
        dtype: A polars type.
    """
    if dtype.is_integer():
        return int
    if dtype.is_float():
        return float
    match dtype:
        case pl.List() | pl.Array():
            return list[type_of(dtype.inner) | None]  # type: ignore[misc]
        case pl.Struct():
            fields = {field.name: type_of(field.dtype) | None for field in dtype.fields}
            return cast(Any, TypedDict)("Fields", fields)
        case _:
            return _PYTHON_TYPES.get(dtype.base_type(), Any)


_PYTHON_TYPES: dict[Any, Any] = {
    pl.String: str,
    pl.Categorical: str,
    pl.Enum: str,
    pl.Boolean: bool,
    pl.Binary: bytes,
    pl.Date: datetime.date,
    pl.Datetime: datetime.datetime,
    pl.Time: datetime.time,
    pl.Duration: datetime.timedelta,
    pl.Decimal: decimal.Decimal,
    pl.Null: type(None),
}


def object_type(dtypes: dict[str, Any]) -> Any:
    """A TypedDict of nullable fields; a field without a dtype (None) can be anything.

    Args:
        dtypes: Field name to polars type.
    """
    fields = {name: Any if dtype is None else type_of(dtype) | None for name, dtype in dtypes.items()}
    return cast(Any, TypedDict)("Fields", fields)

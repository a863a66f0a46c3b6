"""Values as columns: bytes in, a frame out, and the rows that do not decode.

Only the wanted fields are decoded and checked; msgspec reads them through a type that has just these fields, so that an
unread field is skipped whoever decodes. A row without a value is null in every column and false in the hidden one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import polars as pl

from headwater.errors import SerdeError
from headwater.frames.columns import KEY, OFFSET, PARTITION, PRESENT, SCALAR, TIMESTAMP, VALUE
from headwater.frames.schema import Column, ValueSchema
from headwater.serdes import Serde

Bad = dict[int, Exception]
Parts = Mapping[str, Callable[[], Any]]


def decode_frame(
    serde: Serde[Any],
    datas: list[bytes | None],
    fields: Collection[str] | None = None,
    *,
    parts: Parts | None = None,
) -> tuple[pl.DataFrame, Bad]:
    """Decode values into columns.

    Args:
        serde: Serde of the values.
        datas: The values' bytes, None for tombstones.
        fields: Names of the columns that are needed, those of the record's own parts among them; None: all of the
            value's.
        parts: For the record's parts by column name (``hw.key`` ...), what makes their column.

    Returns:
        A frame of one row a value, and the errors of the rows that did not decode (all null in the frame).
    """
    schema = ValueSchema.of(serde)
    bad: Bad = {}
    needs_whole = fields is not None and VALUE in fields
    columns = schema.pick(None if needs_whole else fields)
    made, present = _columns(schema, columns, datas, bad)
    series = [pl.Series(PRESENT, present, dtype=pl.Boolean), *made]
    for name in sorted(((fields and set(fields)) or set()) & (parts or {}).keys()):
        assert parts is not None
        series.append(_part(name, parts[name]()))
    frame = pl.DataFrame(series)
    if needs_whole:
        whole = [pl.col(column.name) for column in columns if column.dtype is not None]
        is_object = schema.is_object
        frame = frame.with_columns((pl.struct(whole) if is_object else pl.col(SCALAR)).alias(VALUE))
    return frame, bad


def _part(name: str, entries: Any) -> pl.Series:
    dtypes = {TIMESTAMP: pl.Int64, PARTITION: pl.Int32, OFFSET: pl.Int64}
    if name == TIMESTAMP:
        return pl.Series(name, entries, dtype=pl.Int64).cast(pl.Datetime("ms", "UTC"))
    return entries.alias(name) if isinstance(entries, pl.Series) else pl.Series(name, entries, dtype=dtypes.get(name))


def scalar_series(serde: Serde[Any], datas: list[bytes | None], name: str = KEY) -> pl.Series:
    """Keys (or scalar values) as one column; objects are structs.

    Args:
        serde: Their serde.
        datas: Their bytes.
        name: Name of the column.
    """
    frame, bad = decode_frame(serde, datas, {VALUE} if ValueSchema.of(serde).is_object else None)
    for error in bad.values():
        raise error
    if VALUE in frame.columns:
        return frame[VALUE].alias(name)
    if SCALAR in frame.columns:
        return frame[SCALAR].alias(name)
    return pl.Series(name, [None if data is None else msgspec.json.encode(serde.deserialize(data)).decode() for data in datas],
                     dtype=pl.String)  # fmt: skip


def _columns(
    schema: ValueSchema, columns: tuple[Column, ...], datas: Sequence[bytes | None], bad: Bad
) -> tuple[list[pl.Series], list[bool]]:
    deserialize_many, is_mapping = _reader(schema, columns)
    values = _decode(deserialize_many, datas, bad)
    series = []
    for column in columns:
        entries = _entries(schema, column, values, is_mapping=is_mapping)
        series.append(_series(column, entries, bad))
    present = [value is not None for value in values]
    if bad:
        for index in bad:
            present[index] = False
        keep = pl.Series(present)
        series = [pl.select(pl.when(keep).then(made).alias(made.name)).to_series() for made in series]
    return series, present


def _decode(deserialize_many: Callable[[list[Any]], list[Any]], datas: Sequence[bytes | None], bad: Bad) -> list[Any]:
    try:
        return deserialize_many(list(datas))
    except Exception:
        values = []
        for index, data in enumerate(datas):
            try:
                values.append(None if data is None else deserialize_many([data])[0])
            except Exception as error:
                bad[index] = error
                values.append(None)
        return values


def _reader(schema: ValueSchema, columns: tuple[Column, ...]) -> tuple[Callable[[list[Any]], list[Any]], bool]:
    """What decodes just these columns, and whether it makes dicts."""
    info = schema.info
    serde = getattr(schema.serde, "resolved", None) or schema.serde
    narrows = (
        schema.is_object
        and len(columns) < len(schema.columns)
        and hasattr(serde, "format")
        and not getattr(info, "array_like", False)
        and getattr(info, "tag", None) is None
        and isinstance(info, (msgspec.inspect.StructType, msgspec.inspect.DataclassType, msgspec.inspect.TypedDictType))
    )
    if not narrows:
        return serde.deserialize_many, schema.is_mapping
    form: Any = type(serde)
    return _narrow(form, schema.serde.type, tuple(column.name for column in columns)).deserialize_many, False


@lru_cache(maxsize=256)
def _narrow(form: Any, kind: Any, names: tuple[str, ...]) -> Serde[Any]:
    """A serde like `form(kind)` that reads some fields and skips the others."""
    info: Any = msgspec.inspect.type_info(kind)
    hints = _hints(kind)
    fields: list[Any] = []
    rename: dict[str, str] = {}
    for field in info.fields:
        if field.name not in names:
            continue
        rename[field.name] = field.encode_name
        if field.required:
            fields.append((field.name, hints[field.name]))
        elif field.default_factory is not msgspec.NODEFAULT:
            default = msgspec.field(default_factory=field.default_factory)
            fields.append((field.name, hints[field.name], default))
        elif field.default is not msgspec.NODEFAULT:
            fields.append((field.name, hints[field.name], field.default))
        else:
            fields.append((field.name, hints[field.name] | msgspec.UnsetType, msgspec.UNSET))
    name = getattr(kind, "__name__", "Value")
    return form(msgspec.defstruct(name, fields, rename=rename, kw_only=True, gc=False))  # type: ignore[no-any-return]


def _hints(kind: Any) -> dict[str, Any]:
    from typing import NotRequired, Required, get_args, get_origin, get_type_hints

    hints = get_type_hints(kind, include_extras=True)
    return {
        name: get_args(hint)[0] if get_origin(hint) in (NotRequired, Required) else hint for name, hint in hints.items()
    }


def _entries(schema: ValueSchema, column: Column, values: list[Any], *, is_mapping: bool) -> list[Any]:
    name = column.name
    if not schema.is_object:
        entries = values
    elif is_mapping:
        entries = [None if value is None else value.get(name) for value in values]
    else:
        entries = [None if value is None else getattr(value, name) for value in values]
    unset = column.field is not None and not column.field.required
    if unset:
        entries = [None if entry is msgspec.UNSET else entry for entry in entries]
    if column.dtype is None:
        return [None if entry is None else msgspec.json.encode(entry).decode() for entry in entries]
    if column.convert is not None:
        convert = column.convert
        entries = [None if entry is None else convert(entry) for entry in entries]
    return entries


def _series(column: Column, entries: list[Any], bad: Bad) -> pl.Series:
    dtype = pl.String if column.dtype is None else column.dtype
    try:
        return pl.Series(column.name, entries, dtype=dtype)
    except Exception:
        kept = []
        for index, entry in enumerate(entries):
            try:
                pl.Series([entry], dtype=dtype)
                kept.append(entry)
            except Exception as error:
                bad.setdefault(index, SerdeError(
                    f"expected a value that fits {dtype}, got {entry!r} - at field {column.name!r}; narrow the data or "
                    f"pass a callable ({error})", field=column.name,
                ))  # fmt: skip
                kept.append(None)
        return pl.Series(column.name, kept, dtype=dtype)

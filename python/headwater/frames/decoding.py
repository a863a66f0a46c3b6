"""Values as columns: bytes in, a frame out, and the rows that do not decode.

Only the wanted fields are decoded and checked; msgspec reads them through a type that has just these fields, so that an
unread field is skipped whoever decodes. A row without a value is null in every column and false in the hidden one.

JSON objects go through the Rust projection where all wanted fields are plain (int, float, str, bool, or None); the rows
that it is unsure of, and all other values, go through msgspec.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec
import polars as pl

from headwater._core import Columns, JsonProjector, Rows
from headwater.errors import SerdeError
from headwater.frames.columns import KEY, OFFSET, PARTITION, PRESENT, SCALAR, TIMESTAMP, VALUE
from headwater.frames.schema import Column, ValueSchema
from headwater.serdes import Serde, SessionWindowedSerde, WindowedSerde

Bad = dict[int, Exception]
Parts = Mapping[str, Callable[[], Any]]
Datas = list[bytes | None] | pl.Series | Rows


def decode_frame(
    serde: Serde[Any],
    datas: Datas,
    fields: Collection[str] | None = None,
    *,
    part: Literal["value", "old", "other"] = "value",
    parts: Parts | None = None,
    also: Collection[str] = (),
) -> tuple[pl.DataFrame, Bad]:
    """Decode values into columns.

    Args:
        serde: Serde of the values.
        datas: The values' bytes, None for tombstones; or, which is faster, as a column or the rows of a batch.
        fields: Names of the columns that are needed, those of the record's own parts among them; None: all of the
            value's.
        part: Which bytes of a batch's rows.
        parts: For the record's parts by column name (``hw.key`` ...), what makes their column.
        also: Parts that are needed besides `fields`.

    Returns:
        A frame of one row a value, and the errors of the rows that did not decode (all null in the frame).
    """
    schema = ValueSchema.of(serde)
    bad: Bad = {}
    wanted = {*(fields or ()), *also}
    needs_whole = VALUE in wanted
    columns = schema.pick(None if needs_whole else fields)
    projector = schema.remembered(
        ("projector", *(column.name for column in columns)), lambda: _projector(schema, columns)
    )
    if projector is None:
        as_they_are = _plain(schema, datas)
        frame = _decoded(schema, columns, _listed(datas, part), bad) if as_they_are is None else as_they_are
    else:
        frame = _projected(projector, schema, columns, datas, part, bad)
    own = sorted(wanted & (parts or {}).keys())
    if own and parts is not None:
        frame = frame.with_columns([_part(name, parts[name]()) for name in own])
    if needs_whole:
        whole = [pl.col(column.name) for column in columns if column.dtype is not None]
        made = pl.struct(whole) if schema.is_object else pl.col(SCALAR)
        frame = frame.with_columns(pl.when(PRESENT).then(made).alias(VALUE))
    return frame, bad


def _plain(schema: ValueSchema, datas: Datas) -> pl.DataFrame | None:
    """A column of bytes whose values are these bytes, or the text that they are."""
    if not isinstance(datas, pl.Series) or schema.serde.name not in ("raw", "text"):
        return None
    try:
        made = datas.cast(pl.String) if schema.serde.name == "text" else datas
    except pl.exceptions.PolarsError:  # which one is no text, `_decoded` finds out
        return None
    return pl.DataFrame([datas.is_not_null().alias(PRESENT), made.alias(SCALAR)])


def _listed(datas: Datas, part: str) -> list[bytes | None]:
    if isinstance(datas, list):
        return datas
    if isinstance(datas, pl.Series):
        return datas.to_list()
    found: list[bytes | None] = {"value": datas.values, "old": datas.olds, "other": datas.others}[part]()
    return found


def _decoded(schema: ValueSchema, columns: tuple[Column, ...], datas: list[bytes | None], bad: Bad) -> pl.DataFrame:
    made, present = _columns(schema, columns, datas, bad)
    return pl.DataFrame([pl.Series(PRESENT, present, dtype=pl.Boolean), *made])


# --- the Rust projection ------------------------------------------------------------------------------------------------

_PLAIN: tuple[tuple[msgspec.inspect.Type, str], ...] = (
    (msgspec.inspect.IntType(), "int"),
    (msgspec.inspect.FloatType(), "float"),
    (msgspec.inspect.StrType(), "str"),
    (msgspec.inspect.BoolType(), "bool"),
)


def _projector(schema: ValueSchema, columns: tuple[Column, ...]) -> JsonProjector | None:
    """What takes these fields out of JSON objects, or None if it does not know all of their types."""
    if not schema.is_open or getattr(schema.serde, "format", None) != "json" or not columns:
        return None
    fields = []
    for column in columns:
        assert column.field is not None
        kind, is_nullable = plain_kind(column.field.type)
        if kind is None:
            return None
        # A default other than None is the decoder's business.
        is_default_none = column.field.default is None
        is_absent_null = is_default_none or (
            column.field.default is msgspec.NODEFAULT and column.field.default_factory is msgspec.NODEFAULT
        )
        is_optional = not column.field.required and is_absent_null
        fields.append((column.encoded, kind, is_nullable, is_optional, column.name))
    return JsonProjector(fields, PRESENT)


def plain_kind(info: msgspec.inspect.Type) -> tuple[str | None, bool]:
    """What Rust calls a type, None if it does not know it, and whether None fits.

    Args:
        info: The type of a field.
    """
    is_nullable = False
    if isinstance(info, msgspec.inspect.UnionType) and len(info.types) == 2 and info.includes_none:
        is_nullable = True
        info = next(part for part in info.types if not isinstance(part, msgspec.inspect.NoneType))
    return next((kind for plain, kind in _PLAIN if info == plain), None), is_nullable


def _projected(
    projector: JsonProjector,
    schema: ValueSchema,
    columns: tuple[Column, ...],
    datas: Datas,
    part: Literal["value", "old", "other"],
    bad: Bad,
) -> pl.DataFrame:
    found: tuple[Columns, list[int]]
    if isinstance(datas, pl.Series):
        found = projector.project_column(datas.to_frame())
    else:
        found = projector.project(datas) if isinstance(datas, list) else projector.project_rows(datas, part)
    known, unsure = found
    frame = pl.DataFrame(known)
    if not unsure:
        return frame
    listed = _listed(datas, part)
    misfits: Bad = {}
    decoded = _decoded(schema, columns, [listed[index] for index in unsure], misfits)
    bad.update((unsure[index], error) for index, error in misfits.items())
    places = list(range(frame.height))
    for place, index in enumerate(unsure, frame.height):
        places[index] = place
    return pl.concat([frame, decoded.select(frame.columns)])[places]


def _part(name: str, entries: Any) -> pl.Series:
    dtypes = {TIMESTAMP: pl.Int64, PARTITION: pl.Int32, OFFSET: pl.Int64}
    if name == TIMESTAMP:
        return pl.Series(name, entries, dtype=pl.Int64).cast(pl.Datetime("ms", "UTC"))
    return entries.alias(name) if isinstance(entries, pl.Series) else pl.Series(name, entries, dtype=dtypes.get(name))


def key_series(serde: Serde[Any], datas: list[bytes | None] | pl.Series, name: str = KEY) -> pl.Series:
    """Keys (or scalar values) as one column; objects are structs.

    Args:
        serde: Their serde.
        datas: Their bytes.
        name: Name of the column.
    """
    if isinstance(serde, (WindowedSerde, SessionWindowedSerde)):
        return _windowed_series(serde, _listed(datas, "value"), name)
    frame, bad = decode_frame(serde, datas, {VALUE} if ValueSchema.of(serde).is_object else None)
    for error in bad.values():
        raise error
    if VALUE in frame.columns:
        return frame[VALUE].alias(name)
    if SCALAR in frame.columns:
        return frame[SCALAR].alias(name)
    return pl.Series(name, [None if data is None else msgspec.json.encode(serde.deserialize(data)).decode() for data in datas],
                     dtype=pl.String)  # fmt: skip


def _windowed_series(
    serde: WindowedSerde[Any] | SessionWindowedSerde[Any], datas: list[bytes | None], name: str
) -> pl.Series:
    windows = serde.deserialize_many(datas)
    inner: Serde[Any] = serde.inner
    keys = key_series(
        inner, inner.serialize_many([None if window is None else window.key for window in windows]), "key"
    )
    bounds = [
        pl.Series(bound, [None if window is None else getattr(window, bound) for window in windows], dtype=pl.Int64)
        for bound in ("start", "end")
    ]
    is_known = pl.Series([window is not None for window in windows], dtype=pl.Boolean)
    return pl.DataFrame([keys, *bounds]).select(pl.when(is_known).then(pl.struct(pl.all())).alias(name)).to_series()


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
    serde = getattr(schema.serde, "resolved", None) or schema.serde
    narrows = schema.is_object and len(columns) < len(schema.columns) and hasattr(serde, "format") and schema.is_open
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

"""Topics and stores as frames, and frames as records.

Columns are ``partition, offset, timestamp, key`` (``key, window_start, window_end`` for windowed keys), then the value's
fields, or ``value`` when it is a scalar. A field that has the name of an earlier column becomes ``value.NAME``. Fields
without a polars type are JSON text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from headwater._core import fetch_frame
from headwater.errors import InvalidArgumentError, SerdeError
from headwater.frames.columns import PRESENT, SCALAR
from headwater.frames.decoding import decode_frame, key_series, plain_kind
from headwater.frames.encoding import encode_json
from headwater.frames.schema import ValueSchema
from headwater.records import Windowed
from headwater.serdes import Serde, SessionWindowedSerde, WindowedSerde, raw, resolve

if TYPE_CHECKING:
    from headwater.log import Broker

_TIME = pl.Datetime("ms", "UTC")
# How much one read takes; a topic's values are decoded in pieces of this size.
_FETCH_BYTES = 16 * 1024 * 1024
_NOTHING = pl.DataFrame(schema={"offset": pl.Int64, "timestamp": pl.Int64, "key": pl.Binary, "value": pl.Binary})
_LAST_MOMENT = 9_223_372_036_854_775  # beyond it a date is no date (unlimited windows): shown as null


def read_frame(broker: Broker, topic: str, *, key: Any = None, value: Any = None) -> pl.DataFrame:
    """A whole topic as a frame, one row a record, ordered by partition and offset.

    Args:
        broker: Where the topic lives.
        topic: Its name.
        key: Serde or type of the keys; default what the topic remembers, else bytes.
        value: Serde or type of the values, likewise.

    Raises:
        SerdeError: A record does not decode; the error names it.
    """
    known_key, known_value = broker._shared.serdes_of(topic)
    key_serde: Serde[Any] = resolve(key) if key is not None else known_key or raw()
    value_serde: Serde[Any] = resolve(value) if value is not None else known_value or raw()
    core = broker._shared.core
    partitions, _ = core.topic(topic)
    pieces = [_piece(topic, 0, _NOTHING, key_serde, value_serde)]
    for partition in range(partitions):
        start, end, _ = core.watermarks(topic, partition)
        while start < end:
            position, columns = fetch_frame(core, topic, partition, start, _FETCH_BYTES)
            if position <= start:
                break
            start = position
            pieces.append(_piece(topic, partition, pl.DataFrame(columns), key_serde, value_serde))
    return pl.concat(pieces)


def _piece(
    topic: str, partition: int, records: pl.DataFrame, key_serde: Serde[Any], value_serde: Serde[Any]
) -> pl.DataFrame:
    def locate(index: int, error: Exception) -> SerdeError:
        offset = records["offset"][index]
        place = f"topic {topic!r} partition {partition} offset {offset}"
        return SerdeError(
            f"{error} - at {place}",
            topic=topic,
            partition=partition,
            offset=offset,
            field=getattr(error, "field", None),
        )

    frame, bad = decode_frame(value_serde, records["value"])
    for index, error in bad.items():
        raise locate(index, error) from error
    own = [
        pl.repeat(partition, records.height, dtype=pl.Int32, eager=True).alias("partition"),
        records["offset"],
        records["timestamp"].cast(_TIME),
    ]
    keys = records["key"]
    try:
        own += _key_columns(key_serde, keys)
    except Exception:
        for index, data in enumerate(keys):
            try:
                _key_columns(key_serde, pl.Series([data], dtype=pl.Binary))
            except Exception as error:
                raise locate(index, error) from error
        raise
    return _beside(own, _value_columns(frame, value_serde, records["value"]))


def _key_columns(serde: Serde[Any], keys: pl.Series) -> list[pl.Series]:
    if not isinstance(serde, (WindowedSerde, SessionWindowedSerde)):
        return [key_series(serde, keys, "key")]
    size = 8 if isinstance(serde, WindowedSerde) else 16
    listed = keys.to_list()
    inner = [None if data is None else data[:-size] for data in listed]
    return [key_series(serde.inner, inner, "key"), *_bounds(serde.deserialize_many(listed))]


def _bounds(windows: list[Windowed[Any] | None]) -> list[pl.Series]:
    return [
        _moments("window_start", [None if window is None else window.start for window in windows]),
        _moments("window_end", [None if window is None else window.end for window in windows]),
    ]


def _moments(name: str, millis: list[int | None]) -> pl.Series:
    kept = [None if at is None or at > _LAST_MOMENT else at for at in millis]
    return pl.Series(name, kept, dtype=pl.Int64).cast(_TIME)


def _value_columns(frame: pl.DataFrame, serde: Serde[Any], datas: list[bytes | None] | pl.Series) -> list[pl.Series]:
    columns = frame.drop(PRESENT).get_columns()
    if columns or ValueSchema.of(serde).is_object:
        return columns
    # Nothing is known about the values: their JSON text.
    return [key_series(serde, datas, SCALAR)]


def _beside(own: list[pl.Series], fields: list[pl.Series]) -> pl.DataFrame:
    taken = {series.name for series in own}
    return pl.DataFrame([*own, *(f.alias(f"value.{f.name}") if f.name in taken else f for f in fields)])


def entries_frame(entries: list[tuple[Any, Any, int]], key: Serde[Any], value: Serde[Any]) -> pl.DataFrame:
    """What a store holds as a frame: key (with window_start, window_end), the value's fields or ``value``, timestamp.

    Args:
        entries: (key, value, timestamp) of each; keys of windows are `Windowed`.
        key: Serde of the table's keys.
        value: Serde of its values.
    """
    keys = [entry[0] for entry in entries]
    if isinstance(key, (WindowedSerde, SessionWindowedSerde)):
        inner: Serde[Any] = key.inner
        own = [key_series(inner, inner.serialize_many([w.key for w in keys]), "key"), *_bounds(keys)]
    else:
        own = [key_series(key, key.serialize_many(keys), "key")]
    datas = value.serialize_many([entry[1] for entry in entries])
    frame, bad = decode_frame(value, datas)
    for error in bad.values():
        raise error
    times = _moments("timestamp", [entry[2] for entry in entries])
    return _beside([*own, times], _value_columns(frame, value, datas)).select(pl.exclude("timestamp"), "timestamp")


# --- frames as records --------------------------------------------------------------------------------------------------

_OWN = ("partition", "offset", "timestamp", "key", "window_start", "window_end")


def to_records(frame: pl.DataFrame, *, key: Serde[Any] | None, value: Serde[Any] | None) -> pl.DataFrame:
    """The columns of a frame as records: what `read_frame` shows, the other way round.

    The columns ``key``, ``timestamp`` and ``partition`` are the record's own (``offset`` is ignored); ``value`` alone
    is the value, other columns are the fields of a JSON object.

    Args:
        frame: The rows.
        key: Serde of the keys; None: by the column's type.
        value: Serde of the values; None: by the column's type, or JSON.

    Returns:
        The columns ``value`` (bytes) and, if the frame has them, ``key`` (bytes), ``timestamp`` (ms) and ``partition``,
        as `Producer.send_frame` takes them.
    """
    fields = [name for name in frame.columns if name not in _OWN]
    is_scalar = fields == [SCALAR]
    made = [_serialized(frame[SCALAR], value) if is_scalar else _objects(frame.select(fields), value)]
    if "key" in frame.columns:
        if isinstance(key, (WindowedSerde, SessionWindowedSerde)):
            keys = _bytes(key.serialize_many(_windowed_keys(frame)))
        else:
            keys = _serialized(frame["key"], key)
        made.append(keys.alias("key"))
    if "timestamp" in frame.columns:
        times = frame["timestamp"]
        made.append(_whole(times.cast(_TIME).cast(pl.Int64) if times.dtype.is_temporal() else times))
    if "partition" in frame.columns:
        made.append(_whole(frame["partition"]))
    return pl.DataFrame(made)


def _whole(column: pl.Series) -> pl.Series:
    got = str(column.dtype)
    if column.dtype.is_integer() or column.dtype == pl.Null:
        try:
            return column.cast(pl.Int64)
        except pl.exceptions.PolarsError:
            got = "some that 64 bits do not hold"
    raise InvalidArgumentError(
        f"expected whole numbers{' or moments' * (column.name == 'timestamp')}, got {got} - at the column "
        f"{column.name!r} of send_many"
    )


def _bytes(datas: list[bytes | None]) -> pl.Series:
    return pl.Series(SCALAR, datas, dtype=pl.Binary)


def _windowed_keys(frame: pl.DataFrame) -> list[Windowed[Any] | None]:
    if not {"window_start", "window_end"} <= set(frame.columns):
        raise InvalidArgumentError(
            f"expected the columns window_start and window_end beside a windowed key, got {frame.columns} - at send_many"
        )
    bounds = (frame[name].cast(_TIME).cast(pl.Int64).to_list() for name in ("window_start", "window_end"))
    return [Windowed(*row) for row in zip(frame["key"].to_list(), *bounds, strict=True)]


def _serialized(column: pl.Series, serde: Serde[Any] | None) -> pl.Series:
    if serde is None:
        if column.dtype in (pl.Binary, pl.String):
            return column.cast(pl.Binary)
        kind: Any = int if column.dtype.is_integer() else float if column.dtype.is_float() else None
        if kind is None:
            return _bytes([None if entry is None else msgspec.json.encode(entry) for entry in column.to_list()])
        serde = resolve(kind)
    if column.dtype == {"text": pl.String, "raw": pl.Binary}.get(serde.name):
        return column.cast(pl.Binary)
    return _bytes(serde.serialize_many(_objects_of(column.to_list(), serde)))


def _objects(frame: pl.DataFrame, serde: Serde[Any] | None) -> pl.Series:
    if serde is None or serde.type is Any or serde.type is dict:
        return encode_json(frame)
    schema = ValueSchema.of(serde)
    if not schema.is_object:
        raise InvalidArgumentError(
            f"expected one column named value for {serde.name}, got {frame.columns} - at send_many; name it, or pass "
            "value=dict"
        )
    missing = [c.name for c in schema.columns if c.name not in frame.columns and (c.field is None or c.field.required)]
    unknown = [name for name in frame.columns if all(c.name != name for c in schema.columns)]
    if missing or unknown:
        raise InvalidArgumentError(
            f"expected the columns {', '.join(c.name for c in schema.columns)}, got {frame.columns} - at send_many; "
            f"they are the fields of {serde.name}"
        )
    fitting = _fitting(frame, schema)
    if fitting is not None:
        return encode_json(fitting, {column.name: column.encoded for column in schema.columns})
    return _bytes(serde.serialize_many(_objects_of(frame.to_dicts(), serde)))


def _fitting(frame: pl.DataFrame, schema: ValueSchema) -> pl.DataFrame | None:
    """The columns just as the type's fields would be printed, if that needs no object of the type; else None."""
    config = getattr(getattr(schema.info, "cls", None), "__struct_config__", None)
    is_special = not schema.is_open or (config is not None and config.omit_defaults)
    if is_special or getattr(schema.serde, "format", None) != "json" or frame.width != len(schema.columns):
        return None
    series = []
    for column in schema.columns:
        assert column.field is not None
        kind, is_nullable = plain_kind(column.field.type)
        found = frame[column.name]
        if kind == "float" and found.dtype.is_integer():
            found = found.cast(pl.Float64)
        is_fit = found.dtype.is_integer() if kind == "int" else kind is not None and found.dtype == column.dtype
        if not is_fit or (found.null_count() and not is_nullable):
            return None
        series.append(found)
    return pl.DataFrame(series)


def _objects_of(entries: list[Any], serde: Serde[Any]) -> list[Any]:
    """Objects of a serde's own type from plain ones."""
    kind = serde.type
    if kind is None or kind in (str, int, float, bytes, Any, Windowed):
        return entries
    schema = ValueSchema.of(serde)
    rename = {column.name: column.encoded for column in schema.columns}
    if schema.is_object and not schema.is_mapping:
        entries = [
            None if entry is None else {rename[name]: part for name, part in entry.items() if name in rename}
            for entry in entries
        ]
    try:
        return [None if entry is None else msgspec.convert(entry, kind, strict=True) for entry in entries]
    except msgspec.ValidationError as error:
        raise SerdeError(f"expected rows that fit {serde.name}, got another: {error} - at send_many") from error

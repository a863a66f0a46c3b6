"""Serdes carry every kind of value there and back, and say clearly what they cannot carry."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
from typing import Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import InvalidArgumentError, SerdeError, Windowed, serdes


class Ride(msgspec.Struct):
    PULocationID: int
    trip_distance: float
    note: str | None = None


class Renamed(msgspec.Struct, rename="camel"):
    pickup_zone: int


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Named(TypedDict):
    name: str


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        (bytes, b"\x00\xff", "raw"),
        (str, "z\u00fcrich", "text"),
        (int, -(2**63), "int64"),
        (float, 1.5, "float64"),
        (bool, True, "json[bool]"),
        (Ride, Ride(74, 2.0), "json[Ride]"),
        (Renamed, Renamed(3), "json[Renamed]"),
        (Point, Point(1, 2), "json[Point]"),
        (Named, {"name": "a"}, "json[Named]"),
        (dict, {"a": [1, None]}, "json[dict]"),
        (list[int], [1, 2], "json[list[int]]"),
        (datetime.datetime, datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), "json[datetime]"),
        (decimal.Decimal, decimal.Decimal("1.10"), "json[Decimal]"),
        (int | None, 5, "json[int | None]"),
    ],
)
def test_a_type_resolves_to_its_serde_and_round_trips(kind: Any, value: Any, name: str) -> None:
    serde = serdes.resolve(kind)
    assert serde.name == name
    assert serde.deserialize(serde.serialize(value)) == value
    assert serde.deserialize_many(serde.serialize_many([value, None])) == [value, None]


def test_kafkas_byte_layouts() -> None:
    assert serdes.int64().serialize(1) == b"\0\0\0\0\0\0\0\x01"
    assert serdes.float64().serialize(1.0) == bytes.fromhex("3ff0000000000000")
    assert serdes.float64().serialize(1) == bytes.fromhex("3ff0000000000000")
    assert serdes.windowed(serdes.text(), 10).serialize(Windowed("a", 5, 15)) == b"a\0\0\0\0\0\0\0\x05"
    assert serdes.session_windowed(serdes.text()).serialize(Windowed("a", 5, 9)) == (
        b"a" + (9).to_bytes(8, "big") + (5).to_bytes(8, "big")
    )


@given(st.text(), st.integers(-(2**63), 2**62), st.integers(0, 2**40))
def test_windowed_keys_round_trip(key: str, start: int, length: int) -> None:
    window = Windowed(key, start, start + length)
    timed = serdes.windowed(serdes.text(), length)
    session = serdes.session_windowed(serdes.text())
    assert timed.deserialize(timed.serialize(window)) == window
    assert session.deserialize(session.serialize(window)) == window


def test_windows_are_hashable() -> None:
    assert len({Windowed("a", 0, 10), Windowed("a", 0, 10), Windowed("b", 0, 10)}) == 2


@pytest.mark.parametrize(
    ("kind", "value"), [(str, 5), (int, "5"), (int, True), (int, 2**63), (float, "x"), (bytes, "x"), (dict, object())]
)
def test_a_value_that_does_not_fit_is_refused(kind: Any, value: Any) -> None:
    serde = serdes.resolve(kind)
    with pytest.raises(SerdeError, match="expected"):
        serde.serialize(value)
    with pytest.raises(SerdeError):
        serde.serialize_many([None, value])


def test_a_json_error_names_the_field() -> None:
    with pytest.raises(SerdeError, match="PULocationID") as caught:
        serdes.resolve(Ride).deserialize(b'{"PULocationID":"x","trip_distance":1}')
    assert caught.value.field == "PULocationID"
    assert isinstance(caught.value, ValueError)
    with pytest.raises(SerdeError) as caught:
        serdes.resolve(list[Ride]).deserialize_many([b"[]", b'[{"PULocationID":1,"trip_distance":null}]'])
    assert caught.value.field == "[0].trip_distance" or caught.value.field == "[...].trip_distance"


@pytest.mark.parametrize("kind", [5, None, "str", object(), lambda: 1, serdes.Serde])
def test_what_is_no_type_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="expected"):
        serdes.resolve(kind)


def test_a_class_that_msgspec_cannot_decode_is_refused() -> None:
    class Opaque:
        pass

    with pytest.raises(InvalidArgumentError, match="Opaque"):
        serdes.resolve(Opaque)


def test_an_inferred_serde_pins_itself_to_the_first_value() -> None:
    serde = serdes.infer()
    assert serde.resolved is None and serde.name == "inferred"
    assert serde.serialize_many([None, "a"]) == [None, b"a"]
    assert serde.resolved is serdes.text() and serde.deserialize(b"b") == "b"
    with pytest.raises(SerdeError, match="expected str, the type of the first value, got 5"):
        serde.serialize(5)
    numbers = serdes.infer()
    assert numbers.serialize(1.5) == serdes.float64().serialize(1.5)
    assert numbers.serialize(2) == serdes.float64().serialize(2.0)
    rides = serdes.infer()
    assert rides.deserialize(rides.serialize(Ride(1, 2.0))) == Ride(1, 2.0)
    with pytest.raises(SerdeError, match="declare"):
        serdes.infer().deserialize(b"x")


class Nested(msgspec.Struct):
    ride: Ride
    tags: list[str]
    at: datetime.datetime
    extra: dict[str, int] = {}


@pytest.mark.parametrize(
    "serde",
    [
        serdes.raw(),
        serdes.text(),
        serdes.int64(),
        serdes.float64(),
        serdes.windowed(serdes.text(), 10_000),
        serdes.session_windowed(serdes.int64()),
        serdes.json(),
    ],
)
def test_a_serde_survives_as_plain_data(serde: Any) -> None:
    config = msgspec.json.decode(msgspec.json.encode(serdes.serde_to_config(serde)))
    back = serdes.serde_from_config(config)
    assert back.name == serde.name
    assert back == serde


def test_a_remembered_class_comes_back_as_dicts_of_the_same_types() -> None:
    serde = serdes.json(Nested)
    config = msgspec.json.decode(msgspec.json.encode(serdes.serde_to_config(serde)))
    back = serdes.serde_from_config(config)
    at = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    value = back.deserialize(serde.serialize(Nested(Ride(1, 2.0), ["a"], at)))
    assert value == {
        "ride": {"PULocationID": 1, "trip_distance": 2.0, "note": None},
        "tags": ["a"],
        "at": at,
        "extra": {},
    }
    assert back.type.__name__ == "Nested"


def test_msgpack_round_trips() -> None:
    serde = serdes.msgpack(Ride)
    assert serde.deserialize(serde.serialize(Ride(1, 2.0))) == Ride(1, 2.0)
    assert serdes.serde_from_config(serdes.serde_to_config(serde)).deserialize(serde.serialize(Ride(1, 2.0))) == {
        "PULocationID": 1,
        "trip_distance": 2.0,
        "note": None,
    }


def test_a_users_own_serde_is_accepted() -> None:
    class Upper(serdes.Serde[str]):
        name = "upper"

        def serialize(self, value: str) -> bytes:
            return value.upper().encode()

        def deserialize(self, data: bytes) -> str:
            return data.decode()

    assert serdes.resolve(Upper()).serialize_many(["a", None]) == [b"A", None]


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class _Unshowable:
    def __repr__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize("value", [_nested(100_000), 10**5000, _Unshowable()], ids=["nested", "number", "unshowable"])
@pytest.mark.parametrize("serde", ["json", "msgpack", "text", "raw", "int64", "float64"])
def test_h15_a_value_that_cannot_be_shown_is_refused_all_the_same(serde: str, value: Any) -> None:
    with pytest.raises(SerdeError, match="expected"):
        getattr(serdes, serde)().serialize(value)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e400}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"\xef\xbb\xbf{}",
        b'"\\ud800"',
        b'"\xff"',
        b"{} x",
        b"",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=["nan", "infinity", "1e400", "open", "deep", "bom", "surrogate", "utf8", "trailing", "empty", "digits"],
)
def test_a06_json_is_read_strictly(data: bytes) -> None:
    with pytest.raises(SerdeError):
        serdes.json().deserialize(data)


def test_a06_the_last_of_equal_keys_counts_and_large_integers_are_exact() -> None:
    assert serdes.json().deserialize(b'{"a":1,"a":9223372036854775808}') == {"a": 2**63}


@pytest.mark.parametrize("value", ["\ud800", {"a": "\ud800"}])
def test_a05_a_lone_surrogate_is_refused(value: Any) -> None:
    with pytest.raises(SerdeError, match="surrogates not allowed"):
        (serdes.text() if isinstance(value, str) else serdes.json()).serialize(value)


class _Users(serdes.Serde[Any]):
    name = "mine"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def serialize(self, value: Any) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [RuntimeError("boom"), RecursionError(), "text", 5])
def test_a11_what_a_users_serde_raises_or_returns_is_an_error_that_names_it(answer: Any) -> None:
    with pytest.raises(SerdeError, match="'mine'"):
        _Users(answer).serialize_many(["x"])


def test_a11_bytes_that_a_serde_goes_on_to_change_are_copied() -> None:
    buffer = bytearray(b"abc")
    encoded = _Users(buffer).serialize_many(["x", None])
    buffer[:] = b"zzz"
    assert encoded == [b"abc", None]

"""What the Rust projection accepts is what msgspec accepts for the same fields, with the same values: whole or mutated."""

from __future__ import annotations

import json as plain_json
from typing import Any

import msgspec
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater._core import JsonProjector
from headwater.frames import ValueSchema, decode_frame
from headwater.frames.columns import PRESENT
from headwater.frames.decoding import _projector
from headwater.serdes import json


class Value(msgspec.Struct):
    whole: int
    real: float
    text: str
    flag: bool
    maybe_whole: int | None
    maybe_text: str | None = None
    # More fields, which nobody asks for.
    other: Any = None


FIELDS = ("whole", "real", "text", "flag", "maybe_whole", "maybe_text")
SERDE = json(Value)
SCHEMA = ValueSchema.of(SERDE)

numbers = st.one_of(
    st.integers(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 1e16, 1e22, 1e-7, 5e-324, 2**53 + 1, 10**18, 10**17]),
)
raw_numbers = st.sampled_from(
    ["-0", "0", "1.0", "1e5", "1E+5", "1.50", "01", "1.", ".5", "+1", "1e400", "1e-400", "9007199254740993",
     "123456789012345678901234567890", "0.1000000000000000055511151231257827", "9223372036854775808", "-9223372036854775808",
     "4.35e-5", "1e", "--1", "0x1", "NaN", "Infinity"]
)  # fmt: skip
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
fitting = st.fixed_dictionaries(
    {
        "whole": st.integers(-(2**63), 2**63 - 1),
        "real": numbers.filter(lambda n: abs(n) < 2**63),
        "text": st.text(),
        "flag": st.booleans(),
        "maybe_whole": st.none() | st.integers(-(10**17), 10**17),
    },
    optional={"maybe_text": st.none() | st.text(), "other": anything, "unknown": anything},
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """JSON objects: fitting, with some entry replaced, in any order, spaced, escaped, or with duplicate keys."""
    entries: dict[str, Any] = draw(fitting)
    texts = {name: plain_json.dumps(entry, ensure_ascii=draw(st.booleans())) for name, entry in entries.items()}
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(texts)))
        texts[name] = draw(raw_numbers | anything.map(plain_json.dumps))
    pairs = list(texts.items())
    if draw(st.booleans()):
        pairs = draw(st.permutations(pairs))
    if draw(st.booleans()):
        pairs.append(draw(st.sampled_from(pairs)))
        pairs.append((pairs[-1][0], draw(raw_numbers | anything.map(plain_json.dumps))))
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]))
    body = comma.join(f"{plain_json.dumps(name)}{colon}{text}" for name, text in pairs)
    return (
        draw(st.sampled_from(["{%s}", " {%s}\n", "{ %s }", "{%s}x", "{%s", "{%s,}"]))
        .replace("%s", body)
        .encode("utf-8", "surrogatepass")
    )


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A document with a few bytes changed, removed or added."""
    text = bytearray(draw(documents()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text) - 1))
        how = draw(st.sampled_from(["set", "cut", "add"]))
        byte = draw(st.sampled_from(list(b'"\\{}[],:0123456789.eE+-ntu \n\x00\x1f\x80\xff')) | st.integers(0, 255))
        if how == "set":
            text[at] = byte
        elif how == "add":
            text.insert(at, byte)
        elif len(text) > 1:
            del text[at]
    return bytes(text)


class Narrow(msgspec.Struct):
    whole: int
    real: float
    text: str
    flag: bool
    maybe_whole: int | None
    maybe_text: str | None = None


decoder = msgspec.json.Decoder(Narrow)


def decoded(data: bytes) -> tuple[Any, ...] | None:
    try:
        found = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return tuple(getattr(found, name) for name in FIELDS)


def same(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    # repr tells 0.0 from -0.0 and shows every digit
    return [repr(entry) for entry in left] == [repr(entry) for entry in right]


@settings(max_examples=500, deadline=None)
@given(st.lists(documents() | mutated(), min_size=1, max_size=6))
def test_what_is_known_is_what_msgspec_reads(datas: list[bytes]) -> None:
    projector = _projector(SCHEMA, SCHEMA.pick(FIELDS))
    assert projector is not None
    for _ in range(2):  # the second time by remembered shapes
        columns, unsure = projector.project(list(datas))
        frame = pl.DataFrame(columns)
        for index, data in enumerate(datas):
            if index in unsure:
                continue
            expected = decoded(data)
            assert expected is not None, data
            assert same(frame.select(FIELDS).row(index), expected), data


@settings(max_examples=150, deadline=None)
@given(st.lists(st.none() | documents() | mutated(), max_size=6))
def test_frames_are_what_msgspec_reads(datas: list[bytes | None]) -> None:
    frame, bad = decode_frame(SERDE, datas, set(FIELDS))
    assert frame.height == len(datas)
    for index, data in enumerate(datas):
        expected = None if data is None else decoded(data)
        too_large = expected is not None and any(isinstance(n, int) and not -(2**63) <= n < 2**63 for n in expected)
        assert (index in bad) == (data is not None and (expected is None or too_large)), data
        row = frame.select(FIELDS).row(index)
        is_present = frame[PRESENT][index]
        assert is_present == (expected is not None and not too_large)
        assert same(row, expected if is_present and expected else (None,) * len(FIELDS))


def test_ordinary_values_are_known() -> None:
    projector = _projector(SCHEMA, SCHEMA.pick(("whole", "real")))
    assert projector is not None
    datas = [msgspec.json.encode(Value(i, i / 4, "a", True, None, other={"x": [1, "é"]})) for i in range(10)]
    _, unsure = projector.project(list(datas))
    assert unsure == []


def test_rides_of_two_shapes_are_known() -> None:
    projector = JsonProjector([("a", "int", False, False, "a")], PRESENT)
    datas: list[bytes | None] = [b'{"a":1,"b":2}', b'{"b":2,"a":3}', b'{"a":4,"b":2}', None]
    columns, unsure = projector.project(datas)
    assert unsure == []
    assert pl.DataFrame(columns)["a"].to_list() == [1, 3, 4, None]

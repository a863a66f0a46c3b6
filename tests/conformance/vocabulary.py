"""The functions that the recorded topologies are written with: ``name`` or ``name:argument``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import headwater as hw

Function = Callable[..., Any]


class Thrown(Exception):
    """What a vocabulary function raises on purpose."""


def text(value: Any) -> str:
    """How a function sees a value: ∅ for None, key@start-end for windowed keys."""
    if value is None:
        return "∅"
    if isinstance(value, hw.Windowed):
        return f"{value.key}@{value.start}-{value.end}"
    return str(value)


def text_or_none(value: Any) -> str | None:
    return None if value is None else text(value)


def starts(value: Any, prefix: str) -> bool:
    return value is not None and text(value).startswith(prefix)


def head(value: Any, count: int) -> str | None:
    return None if value is None else text(value)[:count]


def throw_on(value: Any, prefix: str, otherwise: Any) -> Any:
    if starts(value, prefix):
        raise Thrown(f"told to throw on {prefix}")
    return otherwise


def upper(value: Any) -> str | None:
    if value is None:
        return None
    return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text(value))


def without(aggregate: Any, value: Any, separator: str) -> str:
    whole, piece = text(aggregate), separator + text(value)
    if piece in whole:
        return whole.replace(piece, "", 1)
    return f"{whole}-{text(value)}"


def without_or_none(aggregate: Any, value: Any) -> str | None:
    rest = without(aggregate, value, "+")
    return None if rest == "0" else rest


PREDICATES: dict[str, Callable[[str], Function]] = {
    "true": lambda a: lambda k, v: True,
    "false": lambda a: lambda k, v: False,
    "prefix": lambda a: lambda k, v: starts(v, a),
    "keyIs": lambda a: lambda k, v: k is not None and text(k) == a,
    "keyNull": lambda a: lambda k, v: k is None,
    "valNull": lambda a: lambda k, v: v is None,
    "valNotNull": lambda a: lambda k, v: v is not None,
    "even": lambda a: lambda k, v: v is not None and text(v)[-1:] in tuple("02468"),
    "lenGt": lambda a: lambda k, v: v is not None and len(text(v)) > int(a),
    "throwOn": lambda a: lambda k, v: throw_on(v, a, True),
}

VALUE_MAPPERS: dict[str, Callable[[str], Function]] = {
    "append": lambda a: lambda k, v: text(v) + a,
    "appendNN": lambda a: lambda k, v: None if v is None else text(v) + a,
    "upper": lambda a: lambda k, v: upper(v),
    "nullOn": lambda a: lambda k, v: None if v is None or starts(v, a) else text(v),
    "withKey": lambda a: lambda k, v: f"{text(k)}={text(v)}",
    "text": lambda a: lambda k, v: text_or_none(v),
    "identity": lambda a: lambda k, v: v,
    "head": lambda a: lambda k, v: head(v, int(a)),
    "len": lambda a: lambda k, v: None if v is None else f"#{len(text(v))}",
    "throwOn": lambda a: lambda k, v: throw_on(v, a, text_or_none(v)),
}

KEY_SELECTORS: dict[str, Callable[[str], Function]] = {
    "val": lambda a: lambda k, v: head(v, int(a)),
    "valN": lambda a: lambda k, v: None if starts(v, "n") else head(v, int(a)),
    "same": lambda a: lambda k, v: text_or_none(k),
    "const": lambda a: lambda k, v: a,
    "keyHead": lambda a: lambda k, v: head(k, int(a)),
    "suffix": lambda a: lambda k, v: None if k is None else text(k) + a,
    "inner": lambda a: lambda k, v: k.key if isinstance(k, hw.Windowed) else k,
}

MAPPERS: dict[str, Callable[[str], Function]] = {
    "swap": lambda a: lambda k, v: (text_or_none(v), text_or_none(k)),
    "keySuffix": lambda a: lambda k, v: (None if k is None else text(k) + a, text_or_none(v)),
    "keyFromVal": lambda a: lambda k, v: (head(v, int(a)), text_or_none(v)),
    "nullPairOn": lambda a: lambda k, v: None if starts(v, a) else (text_or_none(k), text_or_none(v)),
}

FLAT_MAPPERS: dict[str, Callable[[str], Function]] = {
    "dup": lambda a: lambda k, v: [(text_or_none(k), f"{text(v)}'1"), (text_or_none(k), f"{text(v)}'2")],
    "chars": lambda a: lambda k, v: [] if v is None else [(c, text_or_none(v)) for c in text(v)],
    "both": lambda a: lambda k, v: [(text_or_none(k), text_or_none(v)), (text_or_none(v), text_or_none(k))],
    "none": lambda a: lambda k, v: [],
}

FLAT_VALUE_MAPPERS: dict[str, Callable[[str], Function]] = {
    "dup": lambda a: lambda v: [f"{text(v)}1", f"{text(v)}2"],
    "split": lambda a: lambda v: [] if v is None else text(v).split("."),
    "nullIterOn": lambda a: lambda v: None if starts(v, a) else [] if v is None else [text(v)],
}

AGGREGATORS: dict[str, Callable[[str], Function]] = {
    "concat": lambda a: lambda k, v, g: f"{text(g)}+{text(v)}",
    "concatDel": lambda a: lambda k, v, g: None if starts(v, a) else f"{text(g)}+{text(v)}",
    "keyConcat": lambda a: lambda k, v, g: f"{text(g)}+{text(k)}:{text(v)}",
    "tag": lambda a: lambda k, v, g: text(g) + a + text(v),
    "unconcat": lambda a: lambda k, v, g: without(g, v, "+"),
    "unconcatDel": lambda a: lambda k, v, g: without_or_none(g, v),
}

REDUCERS: dict[str, Callable[[str], Function]] = {
    "comma": lambda a: lambda old, new: f"{text(old)},{text(new)}",
    "commaDel": lambda a: lambda old, new: None if starts(new, a) else f"{text(old)},{text(new)}",
    "last": lambda a: lambda old, new: new,
    "first": lambda a: lambda old, new: old,
    "uncomma": lambda a: lambda old, new: without(old, new, ","),
}

MERGERS: dict[str, Callable[[str], Function]] = {"amp": lambda a: lambda k, left, right: f"{text(left)}&{text(right)}"}

JOINERS: dict[str, Callable[[str], Function]] = {
    "pipe": lambda a: lambda k, left, right: f"{text(left)}|{text(right)}",
    "pipeKey": lambda a: lambda k, left, right: f"{text(k)}={text(left)}|{text(right)}",
    "nullOn": lambda a: lambda k, left, right: None if starts(left, a) else f"{text(left)}|{text(right)}",
}


def function(kind: dict[str, Callable[[str], Function]], spec: str) -> Function:
    """The function of a kind that a topology calls by ``name`` or ``name:argument``."""
    name, _, argument = spec.partition(":")
    return kind[name](argument)

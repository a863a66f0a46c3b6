"""Errors are typed, carry their place, have distinct codes, and survive pickling."""

from __future__ import annotations

import inspect
import pickle

import pytest

import headwater
from headwater import errors

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.HeadwaterError)]


@pytest.mark.parametrize("error_class", CLASSES)
def test_an_error_carries_its_place(error_class: type[errors.HeadwaterError]) -> None:
    error = error_class("expected a, got b", topic="t", partition=1, offset=2, path="p", field="f", key="k")
    assert str(error) == "expected a, got b"
    assert (error.topic, error.partition, error.offset, error.path, error.field, error.key) == (
        "t",
        1,
        2,
        "p",
        "f",
        "k",
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is error_class and copy.offset == 2 and str(copy) == str(error)


def test_codes_are_distinct() -> None:
    assert len({c.code for c in CLASSES}) == len(CLASSES)


def test_errors_are_also_the_builtin_kinds() -> None:
    assert issubclass(errors.InvalidArgumentError, ValueError)
    assert issubclass(errors.StorageError, OSError)
    assert issubclass(errors.UnknownTopicError, LookupError)
    assert issubclass(errors.UnknownGroupError, LookupError)
    assert issubclass(errors.LockedError, errors.ClosedError)
    assert issubclass(errors.FencedInstanceIdError, errors.ClosedError)
    assert issubclass(errors.TopologyChangedError, errors.TopologyError)


def test_every_error_is_exported() -> None:
    for error_class in CLASSES:
        assert getattr(headwater, error_class.__name__) is error_class

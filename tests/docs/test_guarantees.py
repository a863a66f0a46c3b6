"""docs/guarantees.md promises only what a test shows: every test that it names exists."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import ROOT

NAMED = re.findall(r"`((?:tests|rust)/[\w/.-]+\.(?:py|rs))(?:::(\w+))?`", (ROOT / "docs" / "guarantees.md").read_text())


def test_tests_are_named() -> None:
    assert len(NAMED) > 10


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_the_test_exists(path: str, test: str) -> None:
    source = (ROOT / path).read_text()
    if test:
        assert re.search(rf"\b(def|fn) {test}\(", source), f"{path} has no {test}"

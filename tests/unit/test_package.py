"""The public surface is what `__all__` says, and importing it is cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

import headwater


@pytest.mark.parametrize("name", headwater.__all__)
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(headwater, name) is not None
    assert name in dir(headwater)


def test_the_export_table_and_all_agree() -> None:
    assert sorted([*headwater._EXPORTS, *headwater._MODULES]) == headwater.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        headwater.nonsense  # noqa: B018


def test_importing_headwater_imports_no_polars() -> None:
    code = "import sys, headwater; print('polars' in sys.modules, 'asyncio' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]

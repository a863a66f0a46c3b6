"""Runs commands in this process, as a shell would in its own."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.cli.app import run


class Result:
    """What a command did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """A shell whose ``HEADWATER_DATA`` is a directory of the test."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = data
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("HEADWATER_DATA", str(data))

    def __call__(self, *arguments: str, stdin: str = "") -> Result:
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = run(arguments)
        return Result(code, *self._capsys.readouterr())

    def ok(self, *arguments: str, stdin: str = "") -> Result:
        found = self(*arguments, stdin=stdin)
        assert found.code == 0, found.err
        return found

    def refused(self, *arguments: str) -> str:
        found = self(*arguments)
        assert found.code == 2 and found.out == "", found.out
        assert "\ntry: " in found.err, found.err
        return found.err

    def broker(self) -> hw.Broker:
        return hw.open(self.data)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path / "data", capsys, monkeypatch)

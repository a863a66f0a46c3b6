"""What ``import headwater`` costs: a few modules of the standard library, neither polars nor the compiled core."""

from __future__ import annotations

import subprocess
import sys

COUNT = "import sys; before = set(sys.modules); import headwater; print(*sorted(set(sys.modules) - before))"
ON_WINDOWS = "import sys; sys.platform = 'win32'; import headwater"


def test_importing_headwater_imports_next_to_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    foreign = {name for name in done.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"headwater"}


def test_opening_a_broker_does_not_import_polars() -> None:
    program = "import sys, headwater as hw; hw.open('memory:').close(); sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_windows_is_refused_in_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", ON_WINDOWS], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: expected Linux or macOS, got Windows")

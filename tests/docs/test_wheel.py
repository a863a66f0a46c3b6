"""One abi3 wheel installs into an empty environment of every supported Python, and the README runs there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, python_blocks

VERSIONS = ("3.11", "3.12", "3.13")


def interpreter(version: str) -> str | None:
    """A Python of a version: from PATH, or where pyenv and uv put theirs."""
    candidates = [shutil.which(f"python{version}") or ""]
    for home in (os.environ.get("PYENV_ROOT", "~/.pyenv") + "/versions", "~/.local/share/uv/python"):
        candidates += map(str, sorted(Path(home).expanduser().glob(f"*{version}*/bin/python{version}")))
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        candidates.append(sys.executable)
    check = f"import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != ({version.replace('.', ', ')}))"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    maturin = Path(sys.executable).with_name("maturin")
    if not maturin.exists():
        pytest.skip("maturin is not installed beside this Python; `make test` installs it")
    subprocess.run([maturin, "build", "-q", "--release", "--out", folder], cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("headwater-*.whl")
    return built


def test_the_wheel_is_abi3_and_depends_on_polars_and_msgspec_alone(wheel: Path) -> None:
    import zipfile

    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
    required = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert sorted(line.split()[1].split(">")[0] for line in required) == ["msgspec", "polars"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_readme_runs_from_the_wheel(version: str, wheel: Path, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    fresh = tmp_path / "venv" / "bin" / "python"
    subprocess.run([fresh, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel], check=True)
    program = tmp_path / "readme.py"
    program.write_text("\n\n".join(python_blocks(ROOT / "README.md")))
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([fresh, program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

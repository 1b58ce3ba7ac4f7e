"""The wheel holds what the code reads at run time, and a bare install is as light as an app needs it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "pennytrace": ROOT / "instrumentation",
    "pennytrace_collectors": ROOT / "collectors",
    "pennytrace_dashboards": ROOT / "dashboards",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what it cannot do without."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), str(wheel)], check=True)
    return python


def test_the_wheel_holds_every_file_of_the_three_packages(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    for package, folder in PACKAGES.items():
        files = (
            path
            for path in (folder / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
        missing = {str(path.relative_to(folder)) for path in files} - held
        assert not missing


def test_a_bare_install_brings_opentelemetrys_api_and_wrapt_only(bare: Path) -> None:
    listing = subprocess.run(
        [str(Path(sys.executable).with_name("uv")), "pip", "freeze", "--python", str(bare)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = {line.split("==")[0].split(" @")[0].lower() for line in listing.splitlines()}

    assert names <= {
        "pennytrace",
        "opentelemetry-api",
        "wrapt",
        "typing-extensions",
        "importlib-metadata",
        "zipp",
    }


def test_a_bare_install_starts_and_names_the_extra_that_a_command_needs(bare: Path) -> None:
    command = str(bare.with_name("pennytrace"))
    help_text = subprocess.run([command, "--help"], check=True, capture_output=True, text=True).stdout
    report = subprocess.run([command, "report"], check=False, capture_output=True, text=True)

    assert "report" in help_text
    assert report.returncode == 2
    assert "pip install 'pennytrace[collector]'" in report.stderr


def test_importing_and_starting_loads_nothing_heavy(bare: Path) -> None:
    heavy = {
        "openai",
        "httpx",
        "requests",
        "ssl",
        "http.client",
        "asyncio",
        "opentelemetry.sdk",
        "pydantic",
        "chdb",
    }
    script = "import pennytrace, sys; pennytrace.init(); print('\\n'.join(sys.modules))"
    loaded = subprocess.run(
        [str(bare), "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()

    assert not heavy & set(loaded)

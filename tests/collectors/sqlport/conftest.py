"""One served store for all tests of the port, in a process of its own: chdb opens one folder a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .asking import Port

SERVE = Path(__file__).with_name("serve.py")


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    folder = tmp_path_factory.mktemp("sqlport")
    # In a folder of its own, so that a file written to a bare name is seen too.
    (folder / "cwd").mkdir()
    (folder / "secret.csv").write_text("S3CRET-IN-A-FILE\n")
    with open(folder / "errors.txt", "w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(SERVE), str(folder / "store")],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder / "cwd",
            env={**os.environ, "PENNYTRACE_TEST_SECRET": "S3CRET-IN-THE-ENVIRONMENT"},
        )
    assert process.stdout
    number = process.stdout.readline()
    try:
        assert number.strip(), (folder / "errors.txt").read_text()
        yield Port(int(number), folder, process)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()

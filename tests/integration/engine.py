"""vLLM on the CPU, as a server process of its own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.collectors.waiting import eventually
from tests.engines import environment
from tests.instrumentation.processes import clean_environment

MODEL: Final = "tiny-llama"
_MAKE_MODEL: Final = Path(__file__).parents[1] / "engines" / "tiny_model.py"
_LOADED_WITHIN_S: Final = 300.0
_OPTIONS: Final = (
    *("--served-model-name", MODEL),
    *("--dtype", "float32"),
    *("--max-model-len", "256"),
    "--enforce-eager",
    *("--block-size", "32"),  # prompts of 64 tokens and more are long enough for its cache
    "--enable-prompt-tokens-details",
)


@dataclass(frozen=True, slots=True)
class Engine:
    """A server that accepts requests."""

    url: str
    """For OPENAI_BASE_URL."""
    log: Path

    def last_words(self) -> str:
        """The end of its log, for the message of a failure."""
        return f"the end of {self.log}:\n" + "\n".join(self.log.read_text("utf-8").splitlines()[-40:])


def make_model(folder: Path) -> Path:
    """Make the tiny model in `folder`, and return where it is."""
    model = folder / "model"
    _run_to_its_end([environment.program("python"), _MAKE_MODEL, model], folder)
    return model


@contextmanager
def serving(
    folder: Path, *, variables: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> Iterator[Engine]:
    """Make the tiny model, serve it, and leave no process behind.

    Args:
        folder: Where the model, the log and vLLM's own files are put.
        variables: Environment variables besides those that it always has.
        options: Options of `vllm serve` besides those that it always has.
    """
    model = make_model(folder)
    port = free_port()
    engine = Engine(f"http://127.0.0.1:{port}/v1", folder / "vllm.log")
    command = [environment.program("vllm"), "serve", model, "--host", "127.0.0.1", "--port", port, *_OPTIONS]
    command += options
    with open(engine.log, "wb") as log:
        process = subprocess.Popen(
            list(map(str, command)),
            env=surroundings(folder, variables),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        eventually(
            lambda: _is_ready(process, engine, port),
            within_s=_LOADED_WITHIN_S,
            what=f"vLLM, see {engine.log}",
        )
        yield engine
    finally:
        _end(process)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _is_ready(process: subprocess.Popen[bytes], engine: Engine, port: int) -> bool:
    assert process.poll() is None, f"vLLM ended with {process.returncode}; {engine.last_words()}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    # Its engine core and helpers are of its process group, and may outlive a server that was killed.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def _run_to_its_end(command: Sequence[object], folder: Path) -> None:
    done = subprocess.run(
        list(map(str, command)), env=surroundings(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def surroundings(folder: Path, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables for a process of vLLM that keeps its files in `folder`."""
    return clean_environment(
        {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CACHE_ROOT": str(folder / "cache"),
            "VLLM_CONFIG_ROOT": str(folder / "config"),
            "HF_HUB_OFFLINE": "1",
            **(variables or {}),
        }
    )

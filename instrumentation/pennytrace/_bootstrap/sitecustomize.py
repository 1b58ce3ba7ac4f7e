"""Runs before an app that `pennytrace run` started: Python imports this by its name, from PYTHONPATH."""

import os
import sys


def _run_the_one_behind_us() -> None:
    # Only one `sitecustomize` is imported, the first on the path; the machine may have its own, further down.
    here = os.path.dirname(os.path.abspath(__file__))
    ours = sys.modules.pop("sitecustomize", None)
    path = sys.path[:]
    sys.path[:] = [entry for entry in path if os.path.abspath(entry or os.curdir) != here]
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.path[:] = path
        if ours is not None:
            sys.modules["sitecustomize"] = ours


def _start() -> None:
    try:
        import pennytrace
    except ModuleNotFoundError as error:
        if error.name != "pennytrace":
            raise
        sys.stderr.write(
            f"pennytrace: {sys.executable} has no pennytrace: nothing is recorded;"
            " install it in the environment of the app\n"
        )
    else:
        pennytrace.init()


_run_the_one_behind_us()
_start()

"""Finds the function of the app that makes a call, by walking up the stack."""

from __future__ import annotations

import inspect
import os
import sys
from types import CodeType, FrameType
from typing import Any, Final

from pennytrace._attribution.text import clean

_COROUTINE: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
_RESUMABLE: Final = _COROUTINE | inspect.CO_GENERATOR

_NOT_THE_APP: Final = (
    os.path.dirname(os.__file__) + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    "<frozen ",
)
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_MOST_CODE: Final = 20_000  # code that is generated again and again must not fill the memory

_known: dict[int, tuple[CodeType, str | None]] = {}
"""Whether code is the app's, and then its name, by the id of the code object; it is kept, so the id is its own."""


def calling_function() -> str | None:
    """Return the nearest function of the app on the stack, as `module.function`, or None when there is none.

    The app is what is neither the standard library nor installed in site-packages. The walk ends where the
    current task ends: what is below started the event loop, and did not make the call.
    """
    frame: FrameType | None = sys._getframe(1)
    in_task = False
    while frame is not None:
        code = frame.f_code
        known = _known.get(id(code))
        name = known[1] if known is not None else _learn(frame)
        if name is not None:
            return name
        flags = code.co_flags
        if in_task and not flags & _RESUMABLE:
            return None
        in_task = in_task or flags & _COROUTINE != 0
        frame = frame.f_back
    return None


def main_module() -> str:
    """Return the name of the program: its module as given to `python -m`, else its file without `.py`."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return str(spec.name).removesuffix(".__main__")
    path = getattr(main, "__file__", None) or (sys.argv[0] if sys.argv else "")
    if path == "-m":  # this early (`pennytrace run`) the program is not loaded yet, only named
        return sys.orig_argv[sys.orig_argv.index("-m") + 1]
    stem = os.path.splitext(os.path.basename(path))[0]
    return stem if stem not in ("", "-c", "-") else "python"


def _learn(frame: FrameType) -> str | None:
    code = frame.f_code
    name = clean(_name(frame)) if _is_app(code.co_filename) else None
    if len(_known) >= _MOST_CODE:
        _known.clear()
    _known[id(code)] = (code, name)
    return name


def _is_app(filename: str) -> bool:
    return not filename.startswith(_NOT_THE_APP) and not any(part in filename for part in _INSTALLED)


def _name(frame: FrameType) -> str:
    module: Any = frame.f_globals.get("__name__")
    if module == "__main__" or not isinstance(module, str):
        module = main_module()
    function = frame.f_code.co_qualname.replace(".<locals>", "")
    while function.endswith(("comp>", "<genexpr>")):  # a comprehension is a part of its function
        function = function.rpartition(".")[0]
    return module if function in ("", "<module>") else f"{module}.{function}"

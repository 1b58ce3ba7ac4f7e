"""An app that makes every call under another instrumentation, with pennytrace beside it or not; prints what came of it.

Run as a module with the name of the other (see `others.py`) and two base URLs: of a provider that answers, and of one
that refuses. It goes through the same three times, each in a process of its own: `alone`, without pennytrace; `first`,
where pennytrace starts before the other; and `after`. Each time both are started and taken out twice, pennytrace
first and then the other first, so that each stage can be compared with the same one without pennytrace.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

from tests.integration.coexistence.apps.calls import Around, Callers, Servers
from tests.integration.coexistence.apps.others import OTHERS, Other, Seen

_DUNDERS: Final = frozenset({"__init__", "__iter__", "__aiter__", "__stream__"})


class Log(logging.Handler):
    """Everything that is logged as a warning or worse, by anybody."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        logging.captureWarnings(True)
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


class Part(NamedTuple):
    """One of the two that instrument the library."""

    start: Callable[[], object]
    stop: Callable[[], object]


class App:
    """Makes the calls, one stage after another, and writes down what each stage gave."""

    def __init__(self, servers: Servers, around: Callable[[str], Around]) -> None:
        self._callers = Callers(servers)
        self._around = around
        self.stages: dict[str, dict[str, Any]] = {}
        self._original = _methods()
        gc.freeze()  # the library's thousands of objects need not be gone through for each stream that is dropped
        self.make_calls("bare", lambda: [])

    def make_calls(self, stage: str, seen: Callable[[], list[Seen]]) -> None:
        told = self._callers.make_every_call(self._around(stage))
        self.stages[stage] = {
            "told": told,
            "seen": sorted(seen(), key=_canonical),
            "changed": self._changed(),
        }

    def close(self) -> None:
        self._callers.close()

    def _changed(self) -> list[str]:
        """Return which methods of the library's classes are not what they were before anybody was there."""
        return sorted(
            f"{kind.__qualname__}.{name}"
            for kind, before in self._original.items()
            for name in vars(kind).keys() | before.keys()
            if _is_of_interest(name) and vars(kind).get(name) is not before.get(name)
        )


def run(app: App, other: Other, pennytrace: Part, *, pennytrace_first: bool) -> None:
    theirs = Part(other.start, other.stop)
    order = (pennytrace, theirs) if pennytrace_first else (theirs, pennytrace)
    leaving = (("other remains", pennytrace, theirs), ("pennytrace remains", theirs, pennytrace))
    for time, (one_remains, first_out, last_out) in enumerate(leaving):
        for part in order:
            part.start()
        app.make_calls(f"both {time}", other.take)
        first_out.stop()
        app.make_calls(one_remains, other.take)
        last_out.stop()
        app.make_calls(f"neither {time}", other.take)


def live(name: str, order: str, servers: Servers, printed: Connection) -> None:
    """Be the app once, and send what came of it."""
    log = Log()
    alone = order == "alone"
    app = App(servers, _untagged if alone else _tagged)
    part = Part(lambda: None, lambda: None) if alone else _pennytrace(f"{name} {order}")
    run(app, OTHERS[name](), part, pennytrace_first=order == "first")
    app.close()
    printed.send({"stages": app.stages, "log": log.lines})


def main(name: str, servers: Servers) -> None:
    warm = Callers(servers)  # the library takes seconds to import, and imports more as it is used
    warm.make_every_call(lambda name: nullcontext())
    warm.close()
    fork = multiprocessing.get_context("fork")
    lives = {}
    for order in ("alone", "first", "after"):
        lives[order], printed = fork.Pipe(duplex=False)
        fork.Process(target=live, args=(name, order, servers, printed)).start()
        printed.close()
    json.dump({order: printed.recv() for order, printed in lives.items()}, sys.stdout)


def _canonical(seen: Seen) -> str:
    return json.dumps(seen, sort_keys=True, default=str)  # ddtrace's attributes come in any order


def _pennytrace(service: str) -> Part:
    import pennytrace

    return Part(partial(pennytrace.init, service=service), partial(pennytrace.shutdown, 10))


def _untagged(stage: str) -> Around:
    return lambda name: nullcontext()


def _tagged(stage: str) -> Around:
    import pennytrace

    return lambda name: pennytrace.tag(feature=name, stage=stage)


def _methods() -> dict[type, dict[str, Any]]:
    """Return what the library's classes hold, those of its data aside."""
    modules = [sys.modules[name] for name in sys.modules if name.startswith(("openai._", "openai.resources"))]
    things = [thing for module in modules for thing in vars(module).values()]
    kinds = {thing for thing in things if type(thing) is type and thing.__module__.startswith("openai")}
    return {kind: dict(vars(kind)) for kind in kinds}


def _is_of_interest(name: str) -> bool:
    return not name.startswith("__") or name in _DUNDERS  # pydantic adds dunder names as it goes


if __name__ == "__main__":
    main(sys.argv[1], Servers(*sys.argv[2:]))

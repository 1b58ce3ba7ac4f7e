"""The end of a process, and its children: whatever way one ends, its calls arrive, each once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import openai
import pytest

import pennytrace
from pennytrace._delivery import exit as _exit
from pennytrace._delivery.body import Body
from pennytrace._delivery.otlp import Span, encode_request, encode_span
from pennytrace._delivery.spool import Spool
from tests.instrumentation import sink as sinks
from tests.instrumentation.apps import APP
from tests.instrumentation.celery_app import app_in
from tests.instrumentation.conftest import Calls
from tests.instrumentation.processes import ROOT, clean_environment, python, run
from tests.instrumentation.provider import MODEL, Provider
from tests.instrumentation.sink import Sink

MESSAGES: Any = [{"role": "user", "content": "?"}]


def ask(client: openai.OpenAI) -> None:
    client.chat.completions.create(model=MODEL, messages=MESSAGES)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
    return port


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def waiting(folder: Path) -> list[sinks.Recorded]:
    """Return the calls that wait on disk."""
    return [call for file in folder.glob("*/*.otlp") for call in sinks.decode(file.read_bytes())]


def kept(folder: Path) -> list[str]:
    """Return the names of the calls that wait on disk."""
    return [call.name for call in waiting(folder)]


def names(sink: Sink) -> list[str]:
    """Return the names of the calls that arrived, none of them twice."""
    assert len({span.span_id for span in sink.spans}) == len(sink.spans)
    return sorted(span.name for span in sink.spans)


@contextmanager
def started(program: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program, and wait until it says that it is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=clean_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # threads and fork: that is the point here
class TestFork:
    def test_the_child_delivers_its_own_and_the_parent_the_rest(
        self, provider: Provider, client: openai.OpenAI, calls: Calls
    ) -> None:
        ask(client)  # the sender runs when the fork comes
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with openai.OpenAI(api_key="none", base_url=provider.url) as own:
                    own.embeddings.create(model="child", input="x", encoding_format="float")
                status = 0 if pennytrace.flush(30) else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        names = sorted(call.name for call in calls())
        assert names == [f"chat {MODEL}", "embeddings child"]

    def test_a_child_that_is_terminated_at_once_ends(self, sink: Sink) -> None:
        """Even by a signal that comes while the child is still being made: CPython would forget that one."""
        program = """
import signal
for _ in range(100):
    child = os.fork()
    if child == 0:
        time.sleep(10)
        os._exit(1)
    os.kill(child, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
if os.fork() == 0:
    os._exit(signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, []))
assert os.wait()[1] == 0, "the mask of signals is the app's"
"""
        done = run([sys.executable, "-c", APP + program], environment={"TEST_ENDPOINT": sink.url})
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_fork_does_not_cut_an_import_of_ours_in_two(self, sink: Sink) -> None:
        """The app may want the same module in the child, and would wait for a thread that is no more."""
        program = """
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "email.parser":  # in the middle of http.client, which only our sender needs here
            started.set()
            time.sleep(0.7)

import threading
started = threading.Event()
sys.meta_path.insert(0, Slow())
call(name="parent")
assert started.wait(30)
child = os.fork()
if child == 0:
    call(name="child")
    import http.client
    os._exit(0 if pennytrace.flush(30) else 2)
assert os.waitpid(child, 0)[1] == 0
"""
        done = run([sys.executable, "-c", APP + program], environment={"TEST_ENDPOINT": sink.url})
        assert (done.returncode, done.stderr) == (0, "")
        assert names(sink) == ["child", "parent"]

    def test_a_stream_that_is_open_stays_the_parents(
        self, provider: Provider, client: openai.OpenAI, calls: Calls
    ) -> None:
        stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        next(stream)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                stream.close()  # what the garbage collector may do there
                status = 0 if pennytrace.flush(30) else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list(stream)) == 3
        assert len(calls()) == 1

    def test_a_child_does_not_keep_its_parents_lock_on_the_spool(self, folder: Path) -> None:
        spool, other = (Spool(str(folder), "http://h/v1/traces", limit=2**20) for _ in range(2))
        span = Span(os.urandom(16), os.urandom(8), None, "chat m", 1, 2, {}, failed=False)
        spool.add(Body(encode_request(b"", b"", [encode_span(span)]), 1))
        told, tell = os.pipe()
        with spool.held():
            child = os.fork()
            if child == 0:
                os.read(told, 1)
                os._exit(0)
        with other.held() as alone:
            assert alone
        os.write(tell, b"x")
        assert os.waitpid(child, 0)[1] == 0
        os.close(told)
        os.close(tell)

    def test_a_child_of_multiprocessing_delivers_before_it_ends(
        self, provider: Provider, sink: Sink, recording: None
    ) -> None:
        child = multiprocessing.get_context("fork").Process(target=_embed, args=(provider.url,))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert [span.name for span in sink.spans] == ["embeddings child"]


def _embed(url: str) -> None:
    with openai.OpenAI(api_key="none", base_url=url) as own:
        own.embeddings.create(model="child", input="x", encoding_format="float")


class TestTheEndOfTheProcess:
    CALL = """
import openai, pennytrace, sys
pennytrace.init(endpoint=sys.argv[1])
client = openai.OpenAI(api_key="none", base_url=sys.argv[2])
client.embeddings.create(model="m", input="x", encoding_format="float")
client.close()
"""

    def test_delivers_what_is_left(self, provider: Provider, sink: Sink) -> None:
        done = python(self.CALL, sink.url, provider.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(sink.spans) == 1

    def test_by_sys_exit_keeps_the_status(self, provider: Provider, sink: Sink) -> None:
        done = python(self.CALL + "sys.exit(3)", sink.url, provider.url)
        assert (done.returncode, done.stderr) == (3, "")
        assert len(sink.spans) == 1

    def test_records_a_stream_that_nobody_closed(self, provider: Provider, sink: Sink) -> None:
        stream = 'left = client.chat.completions.create(model="m", messages=[], stream=True); next(left)\n'
        # Whatever the status: Python 3.13.0 crashes on the SDK's open stream, with and without us.
        python(self.CALL.replace("client.close()", stream), sink.url, provider.url)
        assert sorted(span.name for span in sink.spans) == ["chat m", "embeddings m"]

    def test_does_not_wait_for_a_collector_that_is_not_there(
        self, provider: Provider, free_port: int
    ) -> None:
        before = time.monotonic()
        program = self.CALL + "import time, atexit; print(time.monotonic())"
        done = python(program, f"http://127.0.0.1:{free_port}", provider.url)
        assert done.returncode == 0
        assert "could not deliver" in done.stderr
        assert float(done.stdout) > before
        assert time.monotonic() - float(done.stdout) < 4.5  # it would wait 5 for one that is there


class TestFlush:
    def test_before_os_exit_delivers(self, sink: Sink) -> None:
        done = python(APP + "call(3); done = pennytrace.flush(); os._exit(7 * done)", TEST_ENDPOINT=sink.url)
        assert done.returncode == 7
        assert names(sink) == ["chat m"] * 3

    def test_before_os_exit_keeps_what_nobody_takes(self, free_port: int, folder: Path) -> None:
        program = APP + "call(3); assert not pennytrace.flush(0); os._exit(0)"
        url = f"http://127.0.0.1:{free_port}"
        assert python(program, TEST_ENDPOINT=url, PENNYTRACE_SPOOL=str(folder)).returncode == 0
        assert len(kept(folder)) == 3

    def test_leaves_nothing_in_memory_while_an_attempt_hangs(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            program = APP + "call(); pennytrace.flush(0.2); call(2); pennytrace.flush(0.2); os._exit(0)"
            assert python(program, TEST_ENDPOINT=url, PENNYTRACE_SPOOL=str(folder)).returncode == 0
        assert len(kept(folder)) == 3


class TestTheLastCalls:
    def test_of_a_thread_that_outlives_the_main_one_are_delivered(self, sink: Sink) -> None:
        thread = "import threading; threading.Thread(target=lambda: (time.sleep(0.2), call())).start()"
        assert python(APP + thread, TEST_ENDPOINT=sink.url).stderr == ""
        assert names(sink) == ["chat m"]

    def test_made_when_all_is_over_are_kept(self, sink: Sink, folder: Path) -> None:
        program = "import atexit; atexit.register(lambda: call(name='late'))\n" + APP + "call(name='before')"
        python(program, TEST_ENDPOINT=sink.url, PENNYTRACE_SPOOL=str(folder))
        assert sorted([*names(sink), *kept(folder)]) == ["before", "late"]

    def test_of_a_process_are_kept_while_the_collector_hangs(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            done = python(APP + "call(3)", TEST_ENDPOINT=url, PENNYTRACE_SPOOL=str(folder))
        assert done.returncode == 0
        assert "They wait in" in done.stderr
        assert len(kept(folder)) == 3


class TestSigterm:
    READY = "print('ready', flush=True); time.sleep(60)"

    def test_keeps_what_is_in_memory_and_ends_as_without_us(self, free_port: int, folder: Path) -> None:
        url = f"http://127.0.0.1:{free_port}"
        program = APP + "call(); pennytrace.flush(0.1); call(700);" + self.READY
        with started(program, TEST_ENDPOINT=url, PENNYTRACE_SPOOL=str(folder)) as app:
            app.terminate()
            assert app.wait(20) == -signal.SIGTERM
        assert len(kept(folder)) == 701

    def test_keeps_them_while_a_flush_waits_for_a_collector_that_hangs(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            program = APP + "call(3); print('ready', flush=True); pennytrace.flush(60)"
            with started(program, TEST_ENDPOINT=url, PENNYTRACE_SPOOL=str(folder)) as app:
                silent.accept()[0].close()
                app.terminate()
                assert app.wait(20) == -signal.SIGTERM
        assert len(kept(folder)) == 3

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_stays_the_apps_when_it_handles_it(self, sink: Sink, when: str) -> None:
        own = "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        program = "import sys\n" + (own + APP if when == "before" else APP + own) + "call();" + self.READY
        with started(program, TEST_ENDPOINT=sink.url) as app:
            app.terminate()
            assert app.wait(20) == 3
        assert names(sink) == ["chat m"]

    def test_is_left_alone_by_a_thread_and_given_back(self, sink: Sink) -> None:
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        thread = threading.Thread(target=lambda: pennytrace.init(endpoint=sink.url))
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        pennytrace.init(endpoint=sink.url, service="other")
        assert signal.getsignal(signal.SIGTERM) is _exit._terminated
        pennytrace.shutdown()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class TestPools:
    PROGRAM = (
        APP.replace("pennytrace.init", "if True: pennytrace.init")
        + """
import multiprocessing

def work(number):
    call(name=f"work {number}")

if __name__ == "__main__":
    call(name="parent")
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[2] == "executor":
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            list(pool.map(work, range(10)))
    else:
        with context.Pool(2) as pool:
            pool.map(work, range(10), chunksize=1)
            if sys.argv[2] == "join":
                pool.close()
                pool.join()
"""
    )

    @pytest.mark.parametrize("end", ["join", "terminate", "executor"])
    @pytest.mark.parametrize("start", ["fork", "spawn"])
    def test_lose_and_double_nothing(self, sink: Sink, tmp_path: Path, start: str, end: str) -> None:
        program = tmp_path / "pool.py"
        program.write_text(self.PROGRAM)
        folder = tmp_path / "spool"
        environment = {"TEST_ENDPOINT": sink.url, "PENNYTRACE_SPOOL": str(folder)}
        done = run([sys.executable, program, start, end], environment=environment)
        assert (done.returncode, done.stderr) == (0, "")
        expected = sorted(["parent", *(f"work {number}" for number in range(10))])
        if end != "terminate":
            assert sorted([*names(sink), *kept(folder)]) == expected
            return
        # Workers of a pool that is terminated, as `with Pool()` does, leave theirs on disk for the next; also those
        # that they were just sending, under the same ids, by which the collector knows them again.
        calls = [*sink.spans, *waiting(folder)]
        assert sorted({call.span_id: call.name for call in calls}.values()) == expected


class TestGunicorn:
    APP = (
        APP
        + """
call(name="preload")

def application(environ, start_response):
    call(name=environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
"""
    )

    def test_with_preload_loses_and_doubles_nothing(self, sink: Sink, tmp_path: Path, free_port: int) -> None:
        (tmp_path / "shop.py").write_text(self.APP)
        command = [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{free_port}"]
        environment = {"TEST_ENDPOINT": sink.url, "PENNYTRACE_SPOOL": str(tmp_path / "spool")}
        with subprocess.Popen(
            [*command, "shop:application"],
            cwd=tmp_path,
            env=clean_environment(environment),
            stderr=subprocess.PIPE,
        ) as server:
            try:
                for number in range(20):
                    _get(free_port, f"/{number}")
                server.terminate()
                assert server.wait(20) == 0
            finally:
                server.kill()
        expected = sorted(["preload", *(f"/{number}" for number in range(20))])
        assert sorted([*names(sink), *kept(tmp_path / "spool")]) == expected


def _get(port: int, path: str) -> None:
    for _ in range(500):
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            assert connection.getresponse().status == 200
        except ConnectionRefusedError:  # it is starting
            threading.Event().wait(0.02)
        else:
            return
        finally:
            connection.close()
    raise AssertionError("the server did not start")


class TestCelery:
    WORKER = (
        APP
        + """
from pathlib import Path
from tests.instrumentation.celery_app import app_in

app = app_in(Path(os.environ["CELERY_FOLDER"]))
call(name="start")

@app.task(name="work")
def work(number):
    call(name=f"work {number}")
"""
    )

    def test_prefork_loses_and_doubles_nothing(self, sink: Sink, tmp_path: Path) -> None:
        (tmp_path / "jobs.py").write_text(self.WORKER)
        environment = {
            "TEST_ENDPOINT": sink.url,
            "PENNYTRACE_SPOOL": str(tmp_path / "spool"),
            "CELERY_FOLDER": str(tmp_path),
            "PYTHONPATH": str(ROOT),
        }
        app = app_in(tmp_path)
        results = [app.send_task("work", [number]) for number in range(10)]
        command = [sys.executable, "-m", "celery", "-A", "jobs", "worker", "--pool", "prefork", "-c", "2"]
        with subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle", "--loglevel", "ERROR"],
            cwd=tmp_path,
            env=clean_environment(environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as worker:
            try:
                for result in results:
                    result.get(timeout=60, interval=0.02)
                worker.terminate()
                worker.wait(30)
            finally:
                worker.kill()
        expected = sorted(["start", *(f"work {number}" for number in range(10))])
        assert sorted([*names(sink), *kept(tmp_path / "spool")]) == expected

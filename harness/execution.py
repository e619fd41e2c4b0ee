"""Where cells run: in a worker process that may die without harm, or in this one."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, final

from torchstone.harness.errors import WorkerError

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["Executor", "Inline", "Pending", "Process", "executor"]

T = TypeVar("T")
Progress: TypeAlias = Callable[[str, int, int], None]

REPORT_EVERY = 0.1  # seconds
WATCH_EVERY = 1.0


class Pending(ABC):
    """A task that was submitted."""

    @abstractmethod
    def result(self) -> Any:
        """Wait for its result. Raises what the task raised, or WorkerError where the worker was lost."""


class Executor(ABC):
    """Runs functions of the form ``function(*arguments, progress)``.

    Attributes:
        isolates: whether a task can have a process of its own.
    """

    isolates: ClassVar[bool]

    @abstractmethod
    def submit(self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Pending:
        """Queue a task; past ``timeout`` seconds of running it is ended."""

    @abstractmethod
    def submit_alone(self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Pending:
        """A task for a process of its own, where there can be one, begun when its result is asked for."""

    @abstractmethod
    def close(self) -> None:
        """End it, and whatever still runs."""


def executor(name: str, progress: Progress) -> Executor:
    """The executor called ``name``, which reports the progress of its tasks to ``progress``."""
    return {"process": Process, "inline": Inline}[name](progress)


@final
class Inline(Executor):
    """Runs tasks in this process, when their results are asked for. What they print goes to standard error."""

    isolates: ClassVar[bool] = False

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def submit(self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Pending:
        """Queue a task. This process cannot be ended, so ``timeout`` does not apply."""
        return _Deferred(lambda: function(*arguments, self._progress))

    def submit_alone(self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Pending:
        """The same: there is one process."""
        return self.submit(function, *arguments, timeout=timeout)

    def close(self) -> None:
        """Nothing is left running."""


@final
class _Deferred(Pending):
    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def result(self) -> Any:
        with contextlib.redirect_stdout(sys.stderr), _no_exit():
            return self._call()


@final
class Process(Executor):
    """Runs tasks one after another in a spawned worker.

    A worker that crashes, exits, hangs or is killed for its memory costs the task it was on; the next gets a new one.
    """

    isolates: ClassVar[bool] = True

    def __init__(self, progress: Progress) -> None:
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # torch's profiler tells of its every start and stop
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin for a busy core make small models crawl
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # and a second one wins them nothing
        self._receiver, self._sender = multiprocessing.Pipe(duplex=False)
        self._pool, self._alone = _pool(self._sender), list[_Alone]()
        self._closed = threading.Event()
        self._listener = threading.Thread(target=self._listen, args=(progress,), daemon=True)
        self._listener.start()

    def submit(self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Pending:
        """Queue a task for the worker. Its function, arguments and result are pickled."""
        return _Remote(self._pool.schedule(_perform, args=(function, *arguments), timeout=timeout), timeout)

    def submit_alone(self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Pending:
        """A task for a worker that is started for it and ends with it."""
        self._alone.append(_Alone(self._sender, function, arguments, timeout))
        return self._alone[-1]

    def close(self) -> None:
        """Kill the workers that are busy, and take them down."""
        for task in self._alone:
            task.end()
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()
        self._closed.set()
        self._listener.join(timeout=2)
        self._sender.close()
        self._receiver.close()

    def _listen(self, progress: Progress) -> None:
        while not self._closed.is_set():
            if self._receiver.poll(REPORT_EVERY):
                stage, done, total = json.loads(self._receiver.recv_bytes())
                progress(stage, done, total)


@final
class _Remote(Pending):
    def __init__(self, future: Future[Any], timeout: float | None) -> None:
        self._future, self._timeout = future, timeout

    def result(self) -> Any:
        from pebble import ProcessExpired

        try:
            return self._future.result()
        except ProcessExpired as error:
            raise WorkerError(f"The worker process ended before the cell did: {_fate(error.exitcode)}") from error
        except FutureTimeoutError as error:
            raise WorkerError(
                f"It ran longer than timeout={self._timeout:g} seconds and was ended; give it more with "
                "timeout=SECONDS."
            ) from error


@final
class _Alone(Pending):
    """A task in a worker of its own, which is there only while its result is waited for."""

    def __init__(
        self, sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], timeout: float | None
    ) -> None:
        self._sender, self._task, self._timeout = sender, (function, *arguments), timeout
        self._worker: ProcessPool | None = None

    def result(self) -> Any:
        self._worker = _pool(self._sender)
        try:
            # the clock of the timeout runs from when the worker takes the task, not from when it is started
            future = self._worker.schedule(_perform, args=self._task, timeout=self._timeout)
            return _Remote(future, self._timeout).result()
        finally:
            self.end()

    def end(self) -> None:
        """Take the worker down, where there is one."""
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]
            self._worker.join()
            self._worker = None


def _pool(sender: Connection) -> ProcessPool:
    """A spawned worker, to be started with its first task."""
    from pebble import ProcessPool

    context = multiprocessing.get_context("spawn")
    return ProcessPool(max_workers=1, context=context, initializer=_begin, initargs=[sender])


def _fate(code: int) -> str:
    """An exit code in words."""
    if code == -signal.SIGKILL:
        return "it was killed (SIGKILL), most often for using too much memory; try a smaller batch_size or model."
    if code < 0:
        return f"it crashed with {signal.Signals(-code).name}; executor=inline with --debug shows where."
    return f"it exited by itself with code {code}; a model must not end the process."


class _Reporter:
    """Sends progress to the parent, not more often than it can be seen.

    One message is one write far below the size that a pipe may split, so that a worker killed in the middle of its work
    never leaves half of one behind.
    """

    def __init__(self, sender: Connection) -> None:
        self._sender = sender
        self._next = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next or done >= total:
            self._next = now + REPORT_EVERY
            self._sender.send_bytes(json.dumps([stage[:80], done, total]).encode())


_worker: dict[str, _Reporter] = {}  # of this worker process; empty in the parent


def _begin(sender: Connection) -> None:
    """Set up a worker: interrupts are the parent's to handle, and what is printed goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what a model printed must not die with its worker
    _worker["report"] = _Reporter(sender)


def _end_with(parent: int) -> None:
    """End this process once ``parent`` has ended, killed perhaps: nobody is left to hear of its work."""
    while os.getppid() == parent:
        time.sleep(WATCH_EVERY)
    os._exit(1)


def _perform(function: Callable[..., T], *arguments: Any) -> T:
    try:
        with _no_exit():
            return function(*arguments, _worker["report"])
    except KeyboardInterrupt as error:
        raise WorkerError("The model raised KeyboardInterrupt; a model must not end the process.") from error


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """A model that calls ``sys.exit`` has failed; it does not end the run."""
    try:
        yield
    except SystemExit as error:
        raise WorkerError(f"The model called sys.exit({error.code!r}); a model must not end the process.") from error

"""Runs processes as threads of which exactly one runs, each giving way before a storage call."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future

SECONDS = 60.0
"""Longest wait of one thread for another; a schedule takes milliseconds."""


class Died(BaseException):
    """The process was killed; no handler of the code under test may catch this."""


class Inline(Executor):
    """An executor that calls in the thread of its caller."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def submit(self, act, /, *args, **kwargs):
        done: Future[object] = Future()
        try:
            done.set_result(act(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the caller raises it
            done.set_exception(error)
        return done


class Turns:
    """A scheduler; `step` lets a process make one storage call."""

    def __init__(self, processes: Sequence[Callable[[], object]]) -> None:
        self._go = [threading.Semaphore(0) for _ in processes]
        self._back = threading.Semaphore(0)
        self._me = threading.local()
        self._dead: set[int] = set()
        self.over: set[int] = set()
        """Processes that have ended."""
        self.errors: list[BaseException] = []
        """Errors that ended a process, deaths apart."""
        self._threads = [
            threading.Thread(target=self._run, args=(number, act), daemon=True)
            for number, act in enumerate(processes)
        ]
        for thread in self._threads:
            thread.start()

    def step(self, who: int, calls: int = 1) -> None:
        """Lets a process go on until it is before its next call, so many times."""
        for _ in range(calls):
            if who in self.over:
                return
            self._go[who].release()
            assert self._back.acquire(timeout=SECONDS), "a process waits for another one"

    def finish(self, who: int) -> None:
        while who not in self.over:
            self.step(who)

    def kill(self, who: int) -> None:
        """The process makes no call any more."""
        self._dead.add(who)
        self.finish(who)

    def give_way(self) -> None:
        """Called before each storage call; passes at once in a thread that is no process."""
        who = getattr(self._me, "number", None)
        if who is None:
            return
        if who in self._dead:
            raise Died
        self._back.release()
        assert self._go[who].acquire(timeout=SECONDS)
        if who in self._dead:
            raise Died

    def _run(self, number: int, act: Callable[[], None]) -> None:
        self._me.number = number
        assert self._go[number].acquire(timeout=SECONDS)
        try:
            if number not in self._dead:
                act()
        except Died:
            pass
        except BaseException as error:  # noqa: BLE001 - the test shows it
            self.errors.append(error)
        finally:
            self.over.add(number)
            self._back.release()

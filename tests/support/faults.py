"""Real faults for real sweeps: a Ray of several nodes on one machine, drivers that are resumed when
they die, and kill -9.

Every node is a `ray start --block` of its own with an address of its own in 127.0.0.0/8; all it
started dies with it.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.evidence import lines

SCRIPT = Path(__file__).with_name("planted_sweep.py")
STEPS = (100, 150, 200, 300, 400)
PATIENCE = 600.0
"""Seconds for what takes ten on two quiet cores."""


ATTEMPTS = 8
"""At starting a node."""


class Stuck(Exception):
    """Something did not come to pass in time."""


def wait_for(
    what: str, found: Callable[[], object], seconds: float = PATIENCE, every: float = 0.05
) -> object:
    """The first true answer of `found`."""
    until = time.monotonic() + seconds
    while not (answer := found()):
        if time.monotonic() > until:
            raise Stuck(f"not within {seconds:.0f} s: {what}")
        time.sleep(every)
    return answer


def environment(folder: Path) -> dict[str, str]:
    """Of every process that talks to a Ray in `folder`: its own token and temporary folder, one
    thread a process.
    """
    token = folder / "token"
    if not token.exists():
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
    found = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",
        "TMPDIR": str(folder),
    }
    found.pop("RAY_ADDRESS", None)
    return found


# processes


def processes() -> dict[int, int]:
    """{pid: its parent's}, of all that are no zombies."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found[int(entry.name)] = int(parent)
    return found


def command_line(pid: int) -> str:
    """Empty where the process is gone."""
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    return ""


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    parents, found = processes(), [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def mentioning(text: str) -> dict[int, str]:
    """Processes whose command line or working files name `text`, this one left out."""
    found = {pid: command_line(pid) for pid in processes() if pid != os.getpid()}
    return {pid: line for pid, line in found.items() if text in line}


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def writer(folder: Path) -> int | None:
    """The process that has the sweep's journal open to write."""
    journal = str(folder.resolve() / "journal") + "/"
    for pid in processes():
        if "ray::" not in command_line(pid):
            continue
        with contextlib.suppress(OSError):
            for number in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(number.readlink())
                    if target.startswith(journal) and target.endswith(".jsonl"):
                        return pid
    return None


# a Ray of several nodes


def free_ports(count: int) -> list[int]:
    """Different ones that nobody listens at now."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in taken]


@dataclass
class Nodes:
    """A head without CPUs and worker nodes, each a process tree that can be killed."""

    folder: Path
    num_workers: int = 2
    cpus: int = 3
    """Of each worker node."""
    head_cpus: int = 0
    _port: int = 0
    _head: subprocess.Popen[bytes] | None = None
    _workers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _started: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """All nodes, the head first."""
        self._port = free_ports(1)[0]
        self._head = self._node(
            "head",
            "--head",
            f"--port={self._port}",
            f"--num-cpus={self.head_cpus}",
            "--node-ip-address=127.0.0.1",
            "--include-dashboard=false",
            f"--temp-dir={self.folder}",
        )
        for number in range(self.num_workers):
            self.start_worker(number)

    def start_worker(self, number: int) -> None:
        self._workers[number] = self._node(
            f"worker-{number}",
            f"--address={self.address}",
            f"--num-cpus={self.cpus}",
            f"--node-ip-address=127.0.0.{number + 2}",
        )

    def kill_worker(self, number: int) -> None:
        """Kill -9 the whole node: raylet, agents, workers."""
        kill(descendants(self._workers[number].pid))
        self._workers[number].wait()

    def kill_all(self) -> None:
        """The machine is gone, all of it."""
        for node in [self._head, *self._workers.values()]:
            if node is not None:
                kill(descendants(node.pid))
                node.wait()

    def stop(self) -> None:
        """SIGTERM, workers first; what does not listen is killed."""
        for node in [*self._workers.values(), self._head]:
            if node is not None and node.poll() is None:
                node.send_signal(signal.SIGTERM)
        for node in [*self._workers.values(), self._head]:
            if node is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    node.wait(timeout=60)
        self.kill_all()

    def _node(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """Start one; on a machine so busy that Ray gives up on it, again."""
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(Stuck):
                return self._try_node(name, *words)
        return self._try_node(name, *words)

    def _try_node(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        self._started += 1
        log = self.folder / f"{name}-{self._started}.log"
        # without ports a raylet waits 15 s for its agents to name theirs, and ends: too short on a
        # busy machine
        names = (
            "metrics-export-port",
            "dashboard-agent-listen-port",
            "dashboard-agent-grpc-port",
            "runtime-env-agent-port",
        )
        words = (
            *words,
            *(f"--{one}={port}" for one, port in zip(names, free_ports(len(names)), strict=True)),
        )
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--block",
            "--disable-usage-stats",
            "--object-store-memory=80000000",
            *words,
        ]
        with log.open("wb") as output:
            node = subprocess.Popen(
                command, env=environment(self.folder), stdout=output, stderr=subprocess.STDOUT
            )
        started = lambda: (  # noqa: E731
            node.poll() is not None or "Ray runtime started" in log.read_text(errors="replace")
        )
        wait_for(f"{name} starts", started, every=0.2)
        if node.poll() is not None:
            kill(descendants(node.pid))
            raise Stuck(f"{name} ended with {node.returncode}: {log.read_text()[-2000:]}")
        return node


@contextlib.contextmanager
def nodes(folder: Path, **how: int) -> Iterator[Nodes]:
    """Nodes that are gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Nodes(folder, **how)
    try:
        found.start()
        yield found
    finally:
        found.stop()


# a sweep whose driver is started again, as a cron job would


@dataclass
class Supervised:
    """One sweep: its folder, its witness outside of it, and the driver that works there now."""

    folder: Path
    ray: Nodes | None
    """None: embedded Ray."""
    options: dict[str, object]
    """Of planted_sweep.py."""
    temporary: Path
    """For the drivers' output, the witness, embedded Ray."""
    starts: int = 0
    refusals: list[str] = field(default_factory=list)
    """What drivers said that ended by themselves before the sweep was complete."""
    driver: subprocess.Popen[bytes] | None = None
    torn: int = 0
    """Half lines that `kill_in_write` left."""

    @property
    def witness(self) -> Path:
        return self.temporary / f"{self.folder.name}.witness"

    @property
    def log(self) -> Path:
        return self.temporary / f"{self.folder.name}-{self.starts}.log"

    def alive(self) -> bool:
        return self.driver is not None and self.driver.poll() is None

    def complete(self) -> bool:
        """The driver said so by its exit code."""
        return self.driver is not None and self.driver.poll() == 0

    def start(self) -> None:
        """`run` the first time, `resume` wherever there is something to resume."""
        if self.driver is not None and self.driver.poll() not in (None, 0, -signal.SIGKILL):
            self.refusals.append(self.log.read_text(errors="replace")[-1500:])
        self.starts += 1
        what = "resume" if (self.folder / "config.yaml").exists() else "run"
        words = [word for key, value in self.options.items() for word in (f"--{key}", str(value))]
        address = ["--address", self.ray.address] if self.ray is not None else []
        command = [
            sys.executable,
            str(SCRIPT),
            what,
            str(self.folder),
            *address,
            "--witness",
            str(self.witness),
            *words,
        ]
        with self.log.open("wb") as output:
            self.driver = subprocess.Popen(
                command,
                env=environment(self.ray.folder if self.ray else self.temporary),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def see_to(self) -> bool:
        """Start the driver where it is dead; whether the sweep is complete."""
        if not self.complete() and not self.alive():
            self.start()
        return self.complete()

    def finish(self, seconds: float = PATIENCE) -> None:
        """Resume until it is complete."""
        wait_for(f"{self.folder.name} completes: {self.log}", self.see_to, seconds, every=0.5)

    # faults: each returns whether it struck

    def kill_driver(self) -> bool:
        if not self.alive():
            return False
        assert self.driver is not None
        self.driver.kill()
        self.driver.wait()
        return True

    def kill_actor(self) -> bool:
        pid = writer(self.folder)
        if pid is None:
            return False
        kill([pid])
        return True

    def kill_training(self, pick: float) -> bool:
        """A process that computed one of the last steps.

        Args:
            pick: in [0, 1), which of them.
        """
        pids = sorted(
            {
                line["pid"]
                for line in lines(self.witness)[-6:]
                if "ray::" in command_line(line["pid"])
            }
        )
        if not pids:
            return False
        kill([pids[int(pick * len(pids))]])
        return True

    def kill_in_write(self, seconds: float = 30.0) -> bool:
        """Kill actor and driver at the moment the journal grows, before the flush is acknowledged;
        then tear the tail.

        The tear is what a crash of the machine leaves of a write: half of the last line where
        nobody was told that it is safe, else half of a line that follows.
        """
        pid = writer(self.folder)
        if pid is None or not self.alive():
            return False
        path = max((self.folder / "journal").glob("*.jsonl"))
        size, until = path.stat().st_size, time.monotonic() + seconds
        while path.stat().st_size == size:
            if time.monotonic() > until or not self.alive():
                return False
        kill([pid])
        self.kill_driver()
        wait_for("the trainings of a dead driver end", lambda: not self._trainings(), 60)
        wait_for("no actor comes back for a dead driver", lambda: writer(self.folder) is None, 60)
        told = {
            (line["trial"], line["step"])
            for line in lines(self.witness)
            if line["what"] == "acknowledged"
        }
        self.torn += tear(max((self.folder / "journal").glob("*.jsonl")), told)
        return True

    def _trainings(self) -> list[int]:
        return [
            pid
            for pid in {line["pid"] for line in lines(self.witness)[-20:]}
            if "ray::" in (line := command_line(pid)) and "IDLE" not in line
        ]


def tear(path: Path, told: set[tuple[str, int]]) -> bool:
    """Leave half a line at the end of a segment; False where the kill left one.

    Args:
        told: (trial, step) whose acknowledgement arrived: such lines are on the disk, whatever
            crashes.
    """
    data = path.read_bytes()
    if not data.endswith(b"\n"):
        return False
    last = data[data[:-1].rfind(b"\n") + 1 :]
    event = json.loads(last)
    if event.get("kind") == "point" and (event["trial"], event["step"]) not in told:
        os.truncate(path, len(data) - len(last) // 2)
    else:
        with path.open("ab") as stream:
            stream.write(last[: len(last) // 2])
    return True

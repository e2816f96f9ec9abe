"""A Ray cluster of several nodes on this machine for benchmarks, with a token of its own, and what its processes use."""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def nodes(count: int, cpus: int) -> Iterator[str]:
    """Address of a cluster of `count` nodes with `cpus` each; nothing is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="bimix-bench-"))
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    os.environ.update(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token),
        RAY_USAGE_STATS_ENABLED="0",
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        RAY_worker_niceness="0",
    )
    from ray.cluster_utils import Cluster

    Path("/tmp/ray").mkdir(exist_ok=True)

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": cpus,
            "object_store_memory": 100 << 20,
            "include_dashboard": False,
            "temp_dir": str(folder),
        },
    )
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=cpus, object_store_memory=80 << 20)
        cluster.wait_for_nodes(timeout=120)
        yield cluster.address
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def resident(pid: int) -> int | None:
    """Bytes of memory a process holds alone or shares; None where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return None


def proportional(pid: int) -> int | None:
    """Bytes of memory, what it shares divided among the sharers; None where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def loaded(pid: int, library: str) -> bool:
    """Whether a process has mapped a library."""
    try:
        return library in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def named(start: str) -> list[int]:
    """Processes of this PID namespace whose command line begins so, such as `ray::LawActor`."""
    found, here = [], Path("/proc/self/ns/pid").readlink()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
                if line.startswith(start) and (folder / "ns" / "pid").readlink() == here:
                    found.append(int(folder.name))
    return found

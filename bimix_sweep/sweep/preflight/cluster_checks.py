"""Checks of a cluster: that it answers, runs the same Ray, and holds a trial."""

from collections.abc import Iterator

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.jobs.dashboard import Head
from bimix_sweep.sweep.preflight.finding import Finding, ok, problem, warning


def check_cluster(address: str, config: SweepConfig | None) -> Iterator[Finding]:
    """Checks that the cluster answers, runs the same Ray, and holds a trial."""
    if not address.startswith(("http://", "https://")):
        yield from _core_address(address)
        return
    try:
        head = Head.reach(address)
        resources = head.resources()
    except SweepError as error:
        yield problem("cluster", str(error))
        return
    import ray

    if head.ray_version.split(".")[:2] != ray.__version__.split(".")[:2]:
        yield warning(
            "cluster",
            (
                f"{head.address} runs Ray {head.ray_version}, this machine {ray.__version__}; use "
                "one version"
            ),
        )
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    message = f"{head.address}: Ray {head.ray_version}, {cpus:g} CPUs, {gpus:g} GPUs now"
    if config is None:
        yield ok("cluster", message)
        return
    fits = [cpus // config.resources.cpu] + (
        [gpus // config.resources.gpu] if config.resources.gpu else []
    )
    slots = int(min(fits)) // config.resources.nodes
    yield (
        ok("cluster", f"{message}, so at most {slots} trials at a time")
        if slots
        else warning(
            "cluster",
            (
                f"{message}, too little for one trial of {config.resources.cpu:g} CPUs and "
                f"{config.resources.gpu:g} GPUs unless it grows"
            ),
        )
    )


def _core_address(address: str) -> Iterator[Finding]:
    """Checks that something listens at an address that is not a dashboard's."""
    from bimix_sweep.sweep.cluster.connection import check_address

    try:
        check_address(address)
        yield ok(
            "cluster",
            f"something listens at {address}; give the dashboard's http:// address to look closer",
        )
    except SweepError as error:
        yield problem("cluster", str(error))

"""Process beside the driver that logs a running sweep to one tracker.

`python -m bimix_sweep.sweep.views.tracking.child` takes one argument, the JSON text of `Order`. A
line that the driver is to tell begins with `FAILS` or `WORKS`; all other output goes to the log.
"""

import os
import signal
import sys

from pydantic import BaseModel

from bimix_sweep.config import MlflowConfig, WandbConfig
from bimix_sweep.errors import BimixSweepError
from bimix_sweep.sweep.views.tracking.logging_sweep import log_while_running
from bimix_sweep.sweep.views.tracking.tracker import TrackerName

FAILS, WORKS = "bimix-sweep, fails: ", "bimix-sweep, works: "
NICENESS = 10
"""Trials go first where the machine has too few cores."""


class Order(BaseModel):
    """What the process is to do."""

    folder: str
    """Folder or URI of the sweep."""
    name: TrackerName
    config: WandbConfig | MlflowConfig
    driver: int
    """Process id of the driver; the process ends when its driver has ended."""


def main() -> int:
    """Logs the sweep until it is complete, SIGTERM comes or the driver has ended."""
    order = Order.model_validate_json(sys.argv[1])
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    os.nice(NICENESS)
    try:
        log_while_running(
            order.folder,
            order.name,
            order.config,
            _tell,
            lambda: bool(ended) or os.getppid() != order.driver,
        )
    except (BimixSweepError, OSError) as error:
        _tell(str(error).splitlines()[0], True)
        return 1
    return int(bool(ended))


def _tell(line: str, fails: bool) -> None:
    sys.stdout.write(f"{FAILS if fails else WORKS}{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Classes of commands that need more than typer's own class gives."""

import os
import sys
import textwrap
from typing import Any

from typer.core import TyperCommand

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables that set the number of threads of numpy's linear algebra.

numpy reads both when it is loaded; without them it uses all cores.
"""


class OneThread(TyperCommand):
    """Command that fits laws with one linear-algebra thread, unless the environment sets a number.

    The matrices of a fit are small, so further threads only wait for each other
    (docs/evidence.md). The command trains nothing, so no trial inherits the setting. Commands that
    run a sweep on Ray do not use this class: their trials take the threads that `resources` give.
    """

    def invoke(self, ctx: Any) -> Any:
        if "numpy" not in sys.modules and not any(name in os.environ for name in BLAS_THREADS):
            os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
        return super().invoke(ctx)


class WithTrainers(TyperCommand):
    """Command whose help ends with the ids of the trainers; only the help loads their registry."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from bimix_sweep.export.registry import TRAINERS, VARIANTS

        for title, ids in (("Ids", TRAINERS), ("Other forms of these trainers", VARIANTS)):
            with formatter.section(title):  # write_text() would cut an id at its hyphen
                lines = textwrap.wrap(", ".join(ids), formatter.width - 2, break_on_hyphens=False)
                formatter.write("".join(f"  {line}\n" for line in lines))

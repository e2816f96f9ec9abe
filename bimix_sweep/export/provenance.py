"""Which program made a result: versions of packages, and the commit where it runs from a checkout."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def versions(*packages: str) -> dict[str, str]:
    """{name: version} of Python and of installed packages."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def commit() -> dict[str, Any]:
    """`commit` of this program and whether it is `dirty`; empty where it does not run from a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {}
    answers = [
        subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)  # noqa: S607
        for words in (
            ("rev-parse", "HEAD"),
            ("status", "--porcelain", "--untracked-files=no", "--", "bimix_sweep"),
        )
    ]
    if any(answer.returncode for answer in answers):
        return {}
    return {"commit": answers[0].stdout.strip(), "dirty": bool(answers[1].stdout.strip())}

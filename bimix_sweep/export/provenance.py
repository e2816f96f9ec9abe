"""Tells which program made a result: versions of packages, and the commit of a git checkout."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def versions(*packages: str) -> dict[str, str]:
    """{name: version} of Python and of installed packages."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def commit() -> dict[str, Any]:
    """{"commit": hash, "dirty": bool} of this program; empty if the program does not run from a
    git checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {}
    answers = [
        subprocess.run(
            ["git", *words],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        for words in (
            ("rev-parse", "HEAD"),
            ("status", "--porcelain", "--untracked-files=no", "--", "bimix_sweep"),
        )
    ]
    if any(answer.returncode for answer in answers):
        return {}
    return {"commit": answers[0].stdout.strip(), "dirty": bool(answers[1].stdout.strip())}

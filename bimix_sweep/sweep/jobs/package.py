"""The working directory that is sent with a job: the configuration and the user's own code."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig

CONFIG_NAME = "sweep.submitted.yaml"
"""Name of the configuration file in the working directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """The working directory that is sent with a job."""

    path: Path
    """Folder on this machine."""
    config_name: str
    """Name of the configuration file in it."""
    excludes: list[str]
    """Patterns of files that Ray does not send."""


@contextlib.contextmanager
def packaged(config: SweepConfig, folder: str, working_dir: Path | None) -> Iterator[Package]:
    """Makes a folder with the configuration and links to the content of the user's folder.

    Ray follows the links and respects .gitignore.
    """
    with tempfile.TemporaryDirectory(prefix="bimix-job-") as made:
        package, excludes = Path(made), [".git", "__pycache__"]
        for entry in sorted(working_dir.resolve().iterdir()) if working_dir is not None else ():
            if entry.name != CONFIG_NAME and not (
                not locations.is_uri(folder) and Path(folder).is_relative_to(entry)
            ):
                (package / entry.name).symlink_to(entry)
        files.write_text(
            package / CONFIG_NAME,
            _config_in_package(config, working_dir).model_copy(update={"out": folder}).to_yaml(),
        )
        yield Package(path=package, config_name=CONFIG_NAME, excludes=excludes)


def _config_in_package(config: SweepConfig, working_dir: Path | None) -> SweepConfig:
    """Returns the configuration as the package holds it.

    A trainer's folder that lies in `working_dir` is given relative to the package.
    """
    if (
        working_dir is None
        or config.trainer == "builtin"
        or not Path(config.trainer.folder).is_relative_to(working_dir.resolve())
    ):
        return config
    inside = str(Path(config.trainer.folder).relative_to(working_dir.resolve()))
    return config.model_copy(
        update={"trainer": config.trainer.model_copy(update={"folder": inside})}
    )

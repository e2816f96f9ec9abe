"""A tracker as the rest of the sweep sees it, and which trackers there are.

Each client is imported in one module alone, `wandb_tracker` and `mlflow_tracker`, when it is used.
"""

import contextlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from pydantic import ValidationError

from bimix_sweep import locations
from bimix_sweep.config import MlflowConfig, SweepConfig, TrackingConfig, WandbConfig
from bimix_sweep.config.yaml_file import explain
from bimix_sweep.errors import ConfigError, SweepError
from bimix_sweep.sweep.views.tracking.runs import TrackedRun
from bimix_sweep.sweep.workspace.paths import CONFIG
from bimix_sweep.text import listed

TrackerName = Literal["wandb", "mlflow"]
TrackerConfig = WandbConfig | MlflowConfig


class Tracker(Protocol):
    """Connection to a tracker. Every method may raise whatever the tracker's client raises."""

    @property
    def place(self) -> str:
        """Where the runs are kept, without a password."""
        ...

    def send(self, run: TrackedRun) -> None:
        """Makes the tracker's run of this id equal to `run`, whatever it holds of it already.

        Returns when all of a run that has ended is sent, and at once for a run that goes on.
        """
        ...

    def close(self) -> None:
        """Closes the runs that are open, and the connection; called after a failure, too."""
        ...


def configured(tracking: TrackingConfig | None) -> dict[TrackerName, TrackerConfig]:
    """{name: configuration} of the trackers that a sweep is logged to."""
    if tracking is None:
        return {}
    found: dict[TrackerName, TrackerConfig] = {}
    if tracking.wandb is not None:
        found["wandb"] = tracking.wandb
    if tracking.mlflow is not None:
        found["mlflow"] = tracking.mlflow
    return found


def stated(folder: str, name: TrackerName, given: Mapping[str, str]) -> TrackerConfig:
    """Returns the configuration of a tracker: the sweep's own, changed by the options of a command.

    Args:
        folder: folder or URI of the sweep.
        name: which tracker.
        given: {key: value} of the options.

    Raises:
        ConfigError: an option is not of this tracker, or is wrong, or W&B has no project.
    """
    model: type[TrackerConfig] = WandbConfig if name == "wandb" else MlflowConfig
    if other := next((key for key in given if key not in model.model_fields), None):
        raise ConfigError(f"--{other} is no option for {name}; need {listed(model.model_fields)}")
    own = None
    with contextlib.suppress(ConfigError, OSError):  # what is missing is told by what needs it
        own = configured(SweepConfig.load(locations.join(folder, CONFIG)).tracking).get(name)
    values = {**(own.model_dump() if own else {}), **given}
    if name == "wandb" and "project" not in values:
        raise ConfigError(f"{folder}: the sweep states no tracking.wandb; need --project PROJECT")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(f"--{line}" for line in explain(error, model))) from error


def check_tracker(name: TrackerName, config: TrackerConfig) -> None:
    """Checks what can be checked without the tracker.

    Raises:
        SweepError: the tracker's client is not installed, or nothing says where the tracker is.
    """
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:  # W&B's own folder ./wandb is no package
        raise SweepError(
            f"tracking.{name}: the package {name} is not installed here; install it with: pip "
            f"install 'bimix-sweep[tracking]', or leave out tracking.{name} and later run: "
            f"bimix-sweep log DIR --to {name}"
        )
    if isinstance(config, MlflowConfig):
        from bimix_sweep.sweep.views.tracking.mlflow_tracker import address_of

        address_of(config)


def connect(name: TrackerName, config: TrackerConfig, folder: Path) -> Tracker:
    """Connects to a tracker.

    Args:
        name: which tracker.
        config: where it keeps the runs.
        folder: local folder for files of the tracker's client.
    """
    if isinstance(config, WandbConfig):
        from bimix_sweep.sweep.views.tracking.wandb_tracker import WandbTracker

        return WandbTracker(config, folder)
    from bimix_sweep.sweep.views.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(config)

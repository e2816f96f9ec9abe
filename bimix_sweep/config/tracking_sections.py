"""Section `tracking` of sweep.yaml: the trackers, W&B and MLflow, that show a sweep to a team."""

from typing import Annotated

from pydantic import AfterValidator, Field

from bimix_sweep import locations
from bimix_sweep.config.section import Section

NAME = r"^[^\x00-\x1f\x7f]+$"
"""Names that a tracker takes: any text in one line."""


def _without_password(uri: str) -> str:
    """Returns the URI unchanged; refuses one with a password, which the sweep would store."""
    try:
        locations.check_uri(uri)
    except ValueError as error:
        raise ValueError(
            f"{str(error).partition(',')[0]}; leave it out here, and set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (a server), or the whole URI as "
            "MLFLOW_TRACKING_URI (a database)"
        ) from None
    return uri


class WandbConfig(Section):
    """Where W&B keeps the runs of a sweep; WANDB_API_KEY, WANDB_BASE_URL, WANDB_MODE and WANDB_DIR
    are read from the environment."""

    project: str = Field(
        min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f/\\#?%:]+$", description="Project"
    )
    entity: str | None = Field(
        None, max_length=128, pattern=NAME, description="Team or user; default: that of the key"
    )


class MlflowConfig(Section):
    """Where MLflow keeps the runs of a sweep; MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN,
    are read from the environment."""

    uri: Annotated[str, AfterValidator(_without_password)] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        pattern=NAME,
        description="Tracking server (http://...) or database (sqlite:///mlflow.db), without a "
        "password; default: MLFLOW_TRACKING_URI of the environment",
    )
    experiment: str | None = Field(
        None, max_length=250, pattern=NAME, description="Experiment; default: the sweep's name"
    )


class TrackingConfig(Section):
    """Trackers that a running sweep is logged to."""

    wandb: WandbConfig | None = Field(None, description="Weights & Biases")
    mlflow: MlflowConfig | None = Field(None, description="MLflow")

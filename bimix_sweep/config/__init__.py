"""Configuration of a sweep: what a user writes in sweep.yaml, and its checks.

These names are what other rooms import from here.
"""

from bimix_sweep.config.sections import MAX_SIZES, TargetConfig
from bimix_sweep.config.stated_mixtures import StatedMixtures
from bimix_sweep.config.stated_sections import MAX_FIRST
from bimix_sweep.config.sweep_config import SweepConfig
from bimix_sweep.config.text_sections import DomainConfig, TextConfig
from bimix_sweep.config.tracking_sections import MlflowConfig, TrackingConfig, WandbConfig
from bimix_sweep.config.trainer_sections import CommandConfig, FunctionConfig, ResourcesConfig

__all__ = [
    "MAX_FIRST",
    "MAX_SIZES",
    "CommandConfig",
    "DomainConfig",
    "FunctionConfig",
    "MlflowConfig",
    "ResourcesConfig",
    "StatedMixtures",
    "SweepConfig",
    "TargetConfig",
    "TextConfig",
    "TrackingConfig",
    "WandbConfig",
]

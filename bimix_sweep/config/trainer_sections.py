"""Sections of sweep.yaml about who trains the proxies, and with which resources."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator

from bimix_sweep.config.section import Section
from bimix_sweep.text import shown

ENTRY_POINT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""Pattern of `module:function`; the module name has dots where the module is in a package."""


class FunctionConfig(Section):
    """Trainer that is a Python function."""

    function: str = Field(
        description="module:function; it is called with mixture, report and context"
    )
    folder: str = Field(
        ".",
        min_length=1,
        pattern=r"^[^\x00-\x1f]+$",
        description="Where the module is looked for first; default: this file's folder",
    )

    @field_validator("function")
    @classmethod
    def _entry_point(cls, function: str) -> str:
        if not ENTRY_POINT.fullmatch(function):
            raise ValueError(f"is {shown(function)}; need module:function")
        return function


class CommandConfig(Section):
    """Trainer that is a program."""

    command: tuple[str, ...] = Field(
        min_length=1,
        description='Program and arguments, run without a shell; "{job}" becomes the path of the '
        "job file",
    )
    folder: str = Field(
        ".",
        min_length=1,
        pattern=r"^[^\x00-\x1f]+$",
        description="Where it runs; default: this file's folder",
    )

    @field_validator("command")
    @classmethod
    def _takes_the_job(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command[0].strip() or any("\0" in word for word in command):
            raise ValueError(
                f"is {shown(list(command))}; need the name of a program first, and no null "
                "characters"
            )
        if not any("{job}" in word for word in command):
            raise ValueError(
                f'is {shown(list(command))}; need "{{job}}" among the arguments, the program reads '
                "its mixture from that file"
            )
        return command


def _trainer_kind(trainer: Any) -> str:
    """Kind of the trainer, taken from its key, so that errors name the keys of that kind only."""
    if isinstance(trainer, str):
        return "builtin"
    return (
        "function"
        if isinstance(trainer, FunctionConfig)
        or (isinstance(trainer, dict) and "function" in trainer)
        else "command"
    )


def allow_entry_point(schema: dict[str, Any]) -> None:
    """Add the string `module:function` to the forms of a trainer in the JSON Schema."""
    schema["anyOf"] = [
        *schema.pop("oneOf"),
        {"type": "string", "pattern": f"^{ENTRY_POINT.pattern}$"},
    ]


def _from_entry_point(trainer: Any) -> Any:
    """A trainer that is stated as `module:function`, as a mapping; refuses other wrong values."""
    if isinstance(trainer, str) and trainer != "builtin" and ENTRY_POINT.fullmatch(trainer):
        return {"function": trainer}
    if trainer != "builtin" and not isinstance(trainer, dict | FunctionConfig | CommandConfig):
        raise ValueError(
            f"is {shown(trainer)}; need builtin, module:function or {{command: [...]}}"
        )
    return trainer


TrainerConfig = Annotated[
    Annotated[Literal["builtin"], Tag("builtin")]
    | Annotated[FunctionConfig, Tag("function")]
    | Annotated[CommandConfig, Tag("command")],
    Discriminator(_trainer_kind),
    BeforeValidator(_from_entry_point),
]
TRAINER_KINDS: dict[str, type[Section]] = {"function": FunctionConfig, "command": CommandConfig}
"""{kind of trainer: its section of the configuration}, without the builtin trainer."""


class ResourcesConfig(Section):
    """Resources that one trial uses, and the limits on its time."""

    cpu: float = Field(
        1, ge=0.01, le=4096, description="CPU cores of a trial, on each of its nodes"
    )
    gpu: float = Field(
        0,
        ge=0,
        le=4096,
        description="GPUs of a trial, on each of its nodes; a fraction shares one GPU between "
        "trials",
    )
    nodes: int = Field(
        1, ge=1, le=1024, description="Nodes of a trial; a command trainer is started once on each"
    )
    slots: int | Literal["auto"] = Field(
        "auto", description="Trials at a time; auto = as many as the cluster holds"
    )
    max_silence: float | Literal["auto"] | None = Field(
        "auto",
        description="Seconds that a trial may report nothing before its processes are killed and "
        "it is tried again, at most twice; auto = 10 times the longest time between two points of "
        "the trials that finished, at least 600; null = no limit",
    )
    max_hours: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Wall hours after which a trial, all its attempts together, is stopped and has "
        "failed; null = no limit",
    )

    @field_validator("gpu")
    @classmethod
    def _part_or_whole(cls, gpu: float) -> float:
        if (gpu > 1 and gpu != int(gpu)) or 0 < gpu < 1e-3:
            raise ValueError(
                f"is {gpu:g}; need a whole number of GPUs, or a part of one from 0.001 to 1"
            )
        return gpu

    @field_validator("max_silence", mode="before")
    @classmethod
    def _seconds(cls, seconds: Any) -> Any:
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if seconds not in ("auto", None) and not (number and 1 <= seconds <= 1e9):
            raise ValueError(
                f"is {shown(seconds)}; need auto, null or a number of seconds from 1 to 1e9"
            )
        return seconds

    @field_validator("slots", mode="before")
    @classmethod
    def _positive(cls, slots: Any) -> Any:
        if slots != "auto" and not (
            isinstance(slots, int) and not isinstance(slots, bool) and 1 <= slots <= 10**5
        ):
            raise ValueError(f"is {shown(slots)}; need auto or a whole number from 1 to 100000")
        return slots

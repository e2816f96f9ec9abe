"""Configuration of a sweep: the sections of sweep.yaml, checked key by key.

Every sweep saves its resolved configuration beside its results.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from bimix_sweep import files, locations
from bimix_sweep.errors import ConfigError, MixtureError
from bimix_sweep.mixture.domains import MAX_DOMAINS, DomainSet, check_names
from bimix_sweep.mixture.goals import Goal, named_accuracy
from bimix_sweep.mixture.simplex import SUM_TOLERANCE
from bimix_sweep.parsing import parse_yaml
from bimix_sweep.text import shown

MAX_PROBLEMS = 20
"""Largest number of problems of one file that an error message lists."""


class Section(BaseModel):
    """Mapping in the file. An unknown key is an error; values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _without_secrets(place: str) -> str:
    """The place, unchanged; a URI that holds a secret is an error."""
    if locations.is_uri(place):
        locations.check_uri(place)
    return place


Place = Annotated[str, AfterValidator(_without_secrets)]
"""Path or URI without a secret: the sweep writes its places into all that it stores."""


class DomainConfig(Section):
    """Domain: a source of training text."""

    path: Place | None = Field(
        None,
        min_length=1,
        description="Text to train proxies on: a file, folder, glob or URI (.txt .jsonl .jsonl.gz "
        ".jsonl.zst .parquet); the builtin trainer needs it",
    )
    tokens: float | None = Field(
        None,
        ge=1,
        le=1e18,
        description="Tokens available to the final run; default: those of the text itself",
    )
    min: float = Field(
        0.0, ge=0, le=1, description="Smallest proportion a mixture may give this domain"
    )
    max: float = Field(
        1.0, ge=0, le=1, description="Largest proportion a mixture may give this domain"
    )
    version: str | None = Field(
        None,
        pattern=r"^[^\x00-\x1f]+$",
        max_length=200,
        description="Label of this state of the text, kept in the provenance",
    )


class TargetConfig(Section):
    """Target: a set of held-out text whose loss is measured."""

    domain: str | None = Field(None, description="Use this domain's own validation split")
    path: Place | None = Field(
        None, min_length=1, description="Or any held-out text: a file, folder, glob or URI"
    )
    weight: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="Share in the objective after normalising; 0 = watched, not optimised",
    )
    unit: Literal["nats_per_token", "bits_per_byte"] = Field(
        "nats_per_token", description="Unit of the loss"
    )
    goal: Literal["min", "max"] | None = Field(
        None,
        description="Of a metric that your trainer reports: whether less or more is better; "
        "default: a loss, so less",
    )
    range: tuple[float, float] | None = Field(
        None,
        description="Smallest and largest possible value of such a metric, [0, 1] for an accuracy; "
        "with it the value need not be above 0",
    )

    @model_validator(mode="after")
    def _goal_and_range(self) -> Self:
        if self.range is not None and self.goal is None:
            raise ValueError("has a range and no goal; write goal: min or goal: max")
        try:
            self.as_goal()
        except ConfigError as error:
            raise ValueError(f"cannot be used: {error}") from error
        return self

    def as_goal(self) -> Goal | None:
        """Direction and range of the target; None where the file does not state a goal."""
        if self.goal is None:
            return Goal() if self.unit == "bits_per_byte" else None
        return Goal(direction=self.goal, range=self.range)


class FinalConfig(Section):
    """Final run: the training run that uses the mixture."""

    tokens: float = Field(ge=1, le=1e18, description="Tokens of the final run")
    size: float | None = Field(
        None,
        ge=1,
        le=1e18,
        description="Its non-embedding parameters; the recipe says how far they lie beyond those "
        "of the proxies",
    )
    max_epochs: float = Field(
        4.0,
        ge=1e-6,
        le=1e6,
        description="How often a domain's tokens may be repeated: caps its proportion",
    )
    match_epochs: bool = Field(
        True,
        description="Subsample each domain so that a proxy repeats it as often as the final run "
        "would",
    )


MAX_SIZES = 4
"""Largest number of proxy sizes, and of numbers of steps.

Two sizes show how the ranking of mixtures changes with size; each further size needs more trials to
fit its effect.
"""
Steps = Annotated[int, Field(ge=8, le=10**9)]
"""Number of steps of one trial, at least 8, because a loss curve has 8 points."""


class ProxyConfig(Section):
    """Proxy trials of the sweep: model sizes, steps, batch and vocabulary."""

    sizes: tuple[float, ...] = Field(
        (2.0e5,),
        description="Non-embedding parameters of the proxies: one size, or up to four, rising; the "
        "mixture is chosen for the largest, and most trainings are of the smaller ones",
    )
    steps: Steps | Annotated[tuple[Steps, ...], Field(min_length=1, max_length=MAX_SIZES)] = Field(
        800,
        description="Optimizer steps of one training: one number, or up to four, rising; the "
        "mixture is chosen for the longest, and most trainings are shorter",
    )
    context: int = Field(128, ge=8, le=65536, description="Tokens of one sequence")
    batch: int = Field(8, ge=1, le=65536, description="Sequences of one step")
    vocabulary: int = Field(
        2048, ge=300, le=65536, description="Byte-pair vocabulary trained on the domains"
    )

    @field_validator("sizes")
    @classmethod
    def _few_and_rising(cls, sizes: tuple[float, ...]) -> tuple[float, ...]:
        if (
            not 1 <= len(sizes) <= MAX_SIZES
            or list(sizes) != sorted({*sizes})
            or not 1e3 <= sizes[0] <= sizes[-1] <= 1e15
        ):
            raise ValueError(
                f"is {shown(list(sizes))}; need one to {MAX_SIZES} rising sizes of at least 1e3 "
                "parameters, at most 1e15"
            )
        return sizes

    @field_validator("steps", mode="before")
    @classmethod
    def _one_or_rising(cls, steps: Any) -> Any:
        try:
            found = TypeAdapter(list[Steps]).validate_python(
                steps[: MAX_SIZES + 1] if isinstance(steps, list | tuple) else [steps]
            )
        except ValidationError:
            found = []
        if not 1 <= len(found) <= MAX_SIZES or found != sorted({*found}):
            raise ValueError(
                f"is {shown(steps)}; need a whole number from 8 to 1e9, or up to {MAX_SIZES} "
                "rising ones"
            )
        return found[0] if len(found) == 1 else tuple(found)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Numbers of steps of the trials, in rising order."""
        return (self.steps,) if isinstance(self.steps, int) else self.steps

    @property
    def tokens(self) -> int:
        """Number of tokens of the trial with the most steps."""
        return self.lengths[-1] * self.context * self.batch


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


def _allow_entry_point(schema: dict[str, Any]) -> None:
    """Add the string `module:function` to the forms of a trainer in the JSON Schema."""
    schema["anyOf"] = [
        *schema.pop("oneOf"),
        {"type": "string", "pattern": f"^{ENTRY_POINT.pattern}$"},
    ]


TrainerConfig = Annotated[
    Annotated[Literal["builtin"], Tag("builtin")]
    | Annotated[FunctionConfig, Tag("function")]
    | Annotated[CommandConfig, Tag("command")],
    Discriminator(_trainer_kind),
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


class BudgetConfig(Section):
    """Limits at which the sweep ends."""

    trials: int = Field(
        40,
        ge=2,
        le=10**6,
        description="Most proxy trainings proposed (the final comparison comes on top)",
    )
    core_hours: float | None = Field(
        None,
        gt=0,
        le=1e12,
        description="Most CPU core-hours of all trainings, the final ones too; a hard limit",
    )
    gpu_hours: float | None = Field(
        None,
        gt=0,
        le=1e12,
        description="Most GPU-hours of all trainings, the final ones too; a hard limit",
    )


class StopConfig(Section):
    """Conditions under which the sweep stops before its budget is used."""

    tolerance: float = Field(
        0.002,
        gt=0,
        lt=1,
        description="Largest regret of the optimum, as a fraction of its loss, that is good enough",
    )
    patience: int = Field(
        3,
        ge=1,
        le=10**6,
        description="Refits in a row that must agree, each made after trainings newly ended "
        "(without Ray, one a record)",
    )


class SweepConfig(Section):
    """Configuration of a sweep."""

    name: str = Field(
        "sweep",
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Shown wherever the sweep is",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Everything random follows from it")
    domains: dict[str, DomainConfig] = Field(
        max_length=MAX_DOMAINS, description="Sources of training text by name"
    )
    targets: dict[str, TargetConfig] = Field(
        default_factory=dict,
        max_length=MAX_DOMAINS,
        description="What is minimised; default: every domain's validation split",
    )
    objective: Literal["mean", "worst"] = Field(
        "mean", description="Weighted mean of the targets' losses, or the worst of them"
    )
    final: FinalConfig | None = Field(
        None, description="The run that the mixture is for; default: no token caps"
    )
    proxy: ProxyConfig = Field(default_factory=ProxyConfig)
    trainer: TrainerConfig = Field(
        "builtin",
        description="Who trains the proxies: builtin, module:function, or {command: [program, "
        "argument, '{job}']}",
        json_schema_extra=_allow_entry_point,
    )
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    stop: StopConfig = Field(default_factory=StopConfig)
    out: Place = Field(
        "runs/sweep",
        min_length=1,
        pattern=r"^[^\x00-\x1f]+$",
        description="The sweep's folder, relative to where the command runs",
    )

    @field_validator("trainer", mode="before")
    @classmethod
    def _entry_point(cls, trainer: Any) -> Any:
        if isinstance(trainer, str) and trainer != "builtin":
            if not ENTRY_POINT.fullmatch(trainer):
                raise ValueError(
                    f"is {shown(trainer)}; need builtin, module:function or {{command: [...]}}"
                )
            return {"function": trainer}
        if not isinstance(trainer, str | dict | FunctionConfig | CommandConfig):
            raise ValueError(
                f"is {shown(trainer)}; need builtin, module:function or {{command: [...]}}"
            )
        return trainer

    @model_validator(mode="after")
    def _fits_the_trainer(self) -> Self:
        builtin = self.trainer == "builtin"
        for name, domain in self.domains.items():
            if builtin and domain.path is None:
                raise ValueError(
                    f"domains.{name}.path is missing; need it, the builtin trainer reads the text"
                )
        for name, target in self.targets.items():
            if target.domain is not None and target.path is not None:
                raise ValueError(f"targets.{name} names both a domain and a path; need one of them")
            if builtin and target.domain is None and target.path is None:
                raise ValueError(
                    f"targets.{name} names neither a domain nor a path; the builtin trainer needs "
                    "one of them"
                )
        if self.trainer == "builtin" and (self.resources.nodes > 1 or self.resources.gpu > 1):
            raise ValueError(
                f"resources ask for {self.resources.nodes} nodes of {self.resources.gpu:g} GPUs a "
                "trial; the builtin trainer uses one node and at most one GPU, so lower them or "
                "bring your own trainer"
            )
        return self

    @model_validator(mode="after")
    def _names_and_bounds(self) -> Self:
        try:
            check_names(list(self.domains))
            check_names(list(self.targets), "target")
            self.domain_set()
        except MixtureError as error:
            raise ValueError(str(error)) from error
        if len(self.domains) < 2:
            raise ValueError(
                f"domains has {len(self.domains)} entries; need at least 2 to have anything to mix"
            )
        for name, target in self.targets.items():
            if target.domain is not None and target.domain not in self.domains:
                raise ValueError(
                    f"targets.{name}.domain is {shown(target.domain)}; need one of "
                    f"{', '.join([*self.domains][:20])}"
                )
        units = {t.unit for t in self.targets.values() if t.weight > 0 and t.range is None}
        if len(units) > 1:
            raise ValueError(
                f"targets above weight 0 have units {' and '.join(sorted(units))}; need one unit, "
                "their losses are averaged"
            )
        self._check_goals()
        if self.targets and not any(target.weight > 0 for target in self.targets.values()):
            raise ValueError("every target has weight 0; need at least one above 0")
        return self

    def _check_goals(self) -> None:
        """Check that each target has a clear direction.

        Raises:
            ValueError: the name of a target is that of an accuracy and no goal is given, or a goal
                is given for a loss of the builtin trainer.
        """
        for name, target in self.targets.items():
            if self.trainer == "builtin" and target.goal is not None:
                raise ValueError(
                    f"targets.{name}.goal is {target.goal}; the builtin trainer measures losses, "
                    "which are minimised, so leave it out or bring your own trainer"
                )
            if name in self.own() or self.trainer == "builtin" or target.goal is not None:
                continue
            if named_accuracy(name):
                raise ValueError(
                    f"targets.{name} is named like a metric of which more is better, and nothing "
                    "says which way it counts; write goal: max and range: [0, 1], or goal: min if "
                    "it is a loss"
                )

    @classmethod
    def load(cls, path: str | Path) -> "SweepConfig":
        """Read a YAML file; relative data paths start from the file's own folder.

        Raises:
            ConfigError: the file is missing or not YAML, or a key or value is wrong. The message
                gives each problem on a line of its own.
        """
        try:
            raw = parse_yaml(files.read_text(path))
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read ({error.strerror or error}); need a sweep configuration in "
                "YAML"
            ) from error
        except ValueError as error:
            raise ConfigError(f"{path} is {error}") from error
        if not isinstance(raw, dict):
            what = "is empty" if raw is None else f"holds {type(raw).__name__}"
            raise ConfigError(f"{path} {what}; need a mapping with domains, proxy, budget, ...")
        config = cls.parse(raw, where=str(path))
        return config if locations.is_uri(path) else config.anchored(Path(path).resolve().parent)

    @classmethod
    def parse(cls, raw: dict[str, Any], where: str = "config") -> "SweepConfig":
        """Check a mapping and return its configuration.

        Args:
            raw: the keys and values of sweep.yaml.
            where: the name of the source, which begins each line of an error message.

        Raises:
            ConfigError: a key or value is wrong. The message gives each problem on a line of its
                own.
        """
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise ConfigError("\n".join(f"{where}: {line}" for line in _explain(error))) from error

    def anchored(self, folder: Path) -> "SweepConfig":
        """Copy of the configuration with its relative data paths made absolute from `folder`."""

        def absolute(path: str | None) -> str | None:
            return (
                path
                if path is None
                or locations.is_uri(path)
                or path.startswith("~")
                or Path(path).is_absolute()
                else str(folder / path)
            )

        trainer = self.trainer
        if trainer != "builtin":
            trainer = trainer.model_copy(update={"folder": absolute(trainer.folder)})
        return self.model_copy(
            update={
                "trainer": trainer,
                "domains": {
                    k: d.model_copy(update={"path": absolute(d.path)})
                    for k, d in self.domains.items()
                },
                "targets": {
                    k: t.model_copy(update={"path": absolute(t.path)})
                    for k, t in self.targets.items()
                },
            }
        )

    def to_yaml(self) -> str:
        """Resolved configuration as YAML; parsing this YAML gives an equal configuration."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def public(self) -> dict[str, Any]:
        """Configuration as JSON values with every default filled in, as the journal stores it."""
        return self.model_dump(mode="json") | {
            "targets": {n: t.model_dump(mode="json") for n, t in self.resolved_targets().items()}
        }

    @property
    def digest(self) -> str:
        """Hash of every key that can change the results.

        The keys left out are the name, the output folder, the resources and the trainer's folder.
        """
        content = {
            key: value
            for key, value in self.public().items()
            if key not in ("out", "resources", "name")
        }
        if self.trainer != "builtin":
            del content["trainer"]["folder"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def resolved_targets(self) -> dict[str, TargetConfig]:
        """Targets of the sweep; default: the validation split of each domain, with weight 1."""
        return self.targets or {name: TargetConfig(domain=name) for name in self.domains}

    def weights(self) -> dict[str, float]:
        """Weight of each target in the objective; the weights sum to 1."""
        targets = self.resolved_targets()
        total = sum(target.weight for target in targets.values())
        return {name: target.weight / total for name, target in targets.items()}

    def goals(self) -> dict[str, Goal]:
        """{target: direction and range} of each target with a known goal.

        All targets of the builtin trainer are losses, so all of their goals are known.
        """
        known = Goal() if self.trainer == "builtin" else None
        return {
            name: goal
            for name, target in self.resolved_targets().items()
            if (goal := target.as_goal() or known) is not None
        }

    def own(self) -> dict[str, str]:
        """{target: domain} of each target that is the validation split of a domain."""
        found = {}
        for name, target in self.resolved_targets().items():
            # a user's trainer may know its targets by name only
            named = name if target.path is None and name in self.domains else None
            if (domain := target.domain or named) is not None:
                found[name] = domain
        return found

    def domain_set(self, text_tokens: dict[str, float] | None = None) -> DomainSet:
        """Feasible set of all mixtures that the sweep trains or recommends.

        The bounds of domain j are its `min` and `max` and, with `final`, the token cap
        r_j <= max_epochs * tokens_j / final.tokens.

        Args:
            text_tokens: tokens of the domains for which the file gives no number; a domain without
                a number in both has no cap.

        Raises:
            MixtureError: the bounds and caps leave no mixture, or only one.
        """
        domains = DomainSet(
            names=tuple(self.domains),
            tokens=tuple(self.available_tokens(text_tokens).values()),
            lower=tuple(d.min for d in self.domains.values()),
            upper=tuple(d.max for d in self.domains.values()),
        )
        caps = ""
        if self.final is not None:
            domains = domains.capped(self.final.tokens, self.final.max_epochs)
            caps = ", with the token caps of final,"
        if len(domains) > 1 and (
            sum(domains.lower) > 1 - SUM_TOLERANCE or sum(domains.upper) < 1 + SUM_TOLERANCE
        ):
            raise MixtureError(
                f"the domains' min and max{caps} leave a single mixture; need room to choose in"
            )
        return domains

    def available_tokens(self, text_tokens: dict[str, float] | None = None) -> dict[str, float]:
        """{domain: tokens available to the final run}.

        The number is infinite where neither the file nor `text_tokens` gives one.
        """
        known = text_tokens or {}
        return {name: d.tokens or known.get(name, float("inf")) for name, d in self.domains.items()}

    def subsample(self, text_tokens: dict[str, float] | None = None) -> dict[str, int] | None:
        """{domain: most tokens of it that a proxy trains on}; None without `match_epochs`.

        With these numbers the trial with the most steps repeats a domain as often as the final run
        would. A domain with an infinite number of tokens is left out.
        """
        if self.final is None or not self.final.match_epochs:
            return None
        share = self.proxy.tokens / self.final.tokens
        return {
            name: max(1, round(t * share))
            for name, t in self.available_tokens(text_tokens).items()
            if t != float("inf")
        }


def _explain(error: ValidationError) -> Iterator[str]:
    """One line for each problem: the path in the file, the value found and the value needed."""
    problems = error.errors()
    if len(problems) > MAX_PROBLEMS:
        yield f"{len(problems)} problems; the first {MAX_PROBLEMS}:"
    for item in problems[:MAX_PROBLEMS]:
        location = item["loc"]
        # pydantic puts the kind of trainer between the keys
        kind = location[:1] == ("trainer",) and len(location) > 1
        where = ".".join(
            str(part)[:80] for part in (location[:1] + location[2:] if kind else location)
        )
        if item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])[:80]
            near = difflib.get_close_matches(key, _keys_at(item["loc"][:-1]), n=1)
            yield f"{where} is not a known key" + (
                f"; did you mean {near[0]}?"
                if near
                else f"; known are {', '.join(_keys_at(item['loc'][:-1]))}"
            )
        elif item["type"] == "missing":
            yield f"{where} is missing; need it"
        elif item["type"] == "value_error":
            yield f"{where} {item['ctx']['error']}".strip()
        else:
            yield (
                f"{where} is {shown(item['input'])}; need: "
                f"{item['msg'].removeprefix('Input should be ')}"
            )


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Known keys of the section at a path in the file."""
    place: Any = SweepConfig
    parts = iter(location)
    for part in parts:
        if part == "trainer":
            place = TRAINER_KINDS[str(next(parts))]
        elif get_origin(place) is dict:
            place = get_args(place)[1]
        else:
            annotation = place.model_fields[str(part)].annotation
            place = (
                next((a for a in get_args(annotation) if a is not type(None)), annotation)
                if get_origin(annotation) is not dict
                else annotation
            )
    return list(place.model_fields)

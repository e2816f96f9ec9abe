"""Configuration of a sweep: the content of sweep.yaml, and what follows from it.

Every sweep saves its resolved configuration beside its results.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from bimix_sweep import locations
from bimix_sweep.config import checks
from bimix_sweep.config.section import Place, Section
from bimix_sweep.config.sections import (
    BudgetConfig,
    FinalConfig,
    ProxyConfig,
    StopConfig,
    TargetConfig,
)
from bimix_sweep.config.stated_mixtures import StatedKeys, StatedMixtures
from bimix_sweep.config.stated_sections import First, PriorConfig, Today, shared_weights
from bimix_sweep.config.text_sections import DataConfig, DomainConfig
from bimix_sweep.config.token_sections import StatedTokenizer, TokensConfig
from bimix_sweep.config.tracking_sections import TrackingConfig
from bimix_sweep.config.trainer_sections import (
    ResourcesConfig,
    TrainerConfig,
    allow_entry_point,
)
from bimix_sweep.config.yaml_file import absolute, explain, read_mapping
from bimix_sweep.errors import ConfigError, MixtureError
from bimix_sweep.mixture.domains import MAX_DOMAINS, DomainSet, Mixture, check_names
from bimix_sweep.mixture.goals import Goal
from bimix_sweep.mixture.simplex import SUM_TOLERANCE


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
    tokenizer: StatedTokenizer = Field(
        None,
        description="Tokenizer of all text, also of ready-made tokens: its path, or {path, "
        "end_of_text}; default: one of proxy.vocabulary tokens is trained",
    )
    tokens: TokensConfig = Field(default_factory=TokensConfig)
    data: DataConfig = Field(default_factory=DataConfig, description="How the text becomes tokens")
    objective: Literal["mean", "worst"] = Field(
        "mean", description="Weighted mean of the targets' losses, or the worst of them"
    )
    today: Today = Field(
        None,
        description="Mixture trained on now, whose gain the recipe states; default: natural",
    )
    prior: PriorConfig | None = Field(
        None, description="Mixture that the recommended one stays near; default: none"
    )
    first: First = Field((), description="Mixtures to try after the uniform and the natural one")
    final: FinalConfig | None = Field(
        None, description="The final run, which the mixture is for; default: no token caps"
    )
    proxy: ProxyConfig = Field(default_factory=ProxyConfig)
    trainer: TrainerConfig = Field(
        "builtin",
        description="Who trains the proxies: builtin, module:function, or {command: [program, "
        "argument, '{job}']}",
        json_schema_extra=allow_entry_point,
    )
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    tracking: TrackingConfig | None = Field(None, description="Trackers that show the sweep")
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    stop: StopConfig = Field(default_factory=StopConfig)
    out: Place = Field(
        "runs/sweep",
        min_length=1,
        pattern=r"^[^\x00-\x1f]+$",
        description="The sweep's folder, relative to where the command runs",
    )

    @model_validator(mode="after")
    def _fits_the_trainer(self) -> Self:
        checks.check_texts(self.domains, self.targets, builtin=self.trainer == "builtin")
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
            domains = self.domain_set()
            self.stated.early_notes(domains, counted=self.trainer == "builtin")
        except MixtureError as error:
            raise ValueError(str(error)) from error
        checks.check_domains_and_targets(self.domains, self.targets)
        checks.check_groups(self.targets, self.objective)
        checks.check_references(self.targets)
        checks.check_goals(self.targets, self.own(), builtin=self.trainer == "builtin")
        return self

    @classmethod
    def load(cls, path: str | Path) -> "SweepConfig":
        """Reads a YAML file; relative data paths start from the file's own folder.

        Raises:
            ConfigError: the file is missing or not YAML, or a key or value is wrong. The message
                gives each problem on a line of its own.
        """
        config = cls.parse(read_mapping(path), where=str(path))
        return config if locations.is_uri(path) else config.anchored(Path(path).resolve().parent)

    @classmethod
    def parse(cls, raw: dict[str, Any], where: str = "config") -> "SweepConfig":
        """Checks a mapping and returns its configuration.

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
            raise ConfigError(
                "\n".join(f"{where}: {line}" for line in explain(error, cls))
            ) from error

    def anchored(self, folder: Path) -> "SweepConfig":
        """Copy of the configuration with its relative data paths made absolute from `folder`."""
        trainer = self.trainer
        if trainer != "builtin":
            trainer = trainer.model_copy(update={"folder": absolute(trainer.folder, folder)})
        return self.model_copy(
            update={
                "trainer": trainer,
                "tokenizer": self.tokenizer and self.tokenizer.anchored(folder),
                "data": self.data.anchored(folder),
                "domains": {k: d.anchored(folder) for k, d in self.domains.items()},
                "targets": {k: t.anchored(folder) for k, t in self.targets.items()},
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

        The keys left out are name, out, resources, tracking, the trainer's folder, and of data all
        but validation_tokens.
        """
        content = self.public()
        content["data"] = {"validation_tokens": self.data.validation_tokens}
        for key in ("out", "resources", "name", "tracking"):
            del content[key]
        if self.trainer != "builtin":
            del content["trainer"]["folder"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def resolved_targets(self) -> dict[str, TargetConfig]:
        """Targets of the sweep; default: the validation split of each domain, with weight 1."""
        return self.targets or {name: TargetConfig(domain=name) for name in self.domains}

    def weights(self) -> dict[str, float]:
        """Weight of each target in the objective; the weights sum to 1."""
        shared = shared_weights(self.resolved_targets())
        total = sum(shared.values())
        return {name: weight / total for name, weight in shared.items()}

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
        own = {}
        for name, target in self.resolved_targets().items():
            # a user's trainer may know its targets by name only
            named = name if target.path is None and name in self.domains else None
            if (domain := target.domain or named) is not None:
                own[name] = domain
        return own

    def blends(self) -> dict[str, dict[str, float]]:
        """{domain: {name of a source: its proportion of the domain's tokens}} of fixed blends."""
        return {n: blend for n, d in self.domains.items() if (blend := d.blend(n))}

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

    @property
    def stated(self) -> StatedKeys:
        """The keys that state mixtures."""
        return StatedKeys(today=self.today, prior=self.prior, first=self.first)

    def stated_mixtures(
        self, text_tokens: dict[str, float] | None = None, entropy: Mixture | None = None
    ) -> StatedMixtures:
        """Mixtures of the keys `today`, `prior` and `first`.

        Args:
            text_tokens: as for `domain_set`, with the same errors.
            entropy: entropy mixture of the text; None where it is not known.
        """
        return self.stated.resolved(self.domain_set(text_tokens), entropy)

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
        fraction = self.proxy.tokens / self.final.tokens
        return {
            name: max(1, round(t * fraction))
            for name, t in self.available_tokens(text_tokens).items()
            if t != float("inf")
        }

"""Checks between the sections of sweep.yaml: what a trainer and the objective need of domains and
targets.

Each message begins with the path in the file, as the messages of `yaml_file` do.
"""

from collections.abc import Collection, Mapping

from bimix_sweep.config.sections import TargetConfig
from bimix_sweep.config.text_sections import DomainConfig
from bimix_sweep.mixture.goals import named_accuracy
from bimix_sweep.text import shown


def check_texts(
    domains: Mapping[str, DomainConfig], targets: Mapping[str, TargetConfig], *, builtin: bool
) -> None:
    """Checks that the builtin trainer finds the text of every domain and target, and that no target
    names two texts.

    Raises:
        ValueError: a text is missing, or a target names both a domain and a path.
    """
    for name, domain in domains.items():
        if taken := next((part for part in domain.blend(name) if part in domains), None):
            raise ValueError(
                f"domains.{taken} has the name of a source of the blend domains.{name}; rename it"
            )
        if builtin and not domain.has_text:
            raise ValueError(
                f"domains.{name}.path is missing; need it, the builtin trainer reads the text"
            )
    for name, target in targets.items():
        if target.domain is not None and target.path is not None:
            raise ValueError(f"targets.{name} names both a domain and a path; need one of them")
        if builtin and target.domain is None and target.path is None:
            raise ValueError(
                f"targets.{name} names neither a domain nor a path; the builtin trainer needs "
                "one of them"
            )


def check_domains_and_targets(
    domains: Collection[str], targets: Mapping[str, TargetConfig]
) -> None:
    """Checks the number of domains, that targets name known ones, and that their losses can be
    averaged.

    Raises:
        ValueError: there are fewer than two domains, a target's domain is unknown, weighted targets
            have several units, or no target has a weight above 0.
    """
    if len(domains) < 2:
        raise ValueError(
            f"domains has {len(domains)} entries; need at least 2 to have anything to mix"
        )
    for name, target in targets.items():
        if target.domain is not None and target.domain not in domains:
            raise ValueError(
                f"targets.{name}.domain is {shown(target.domain)}; need one of "
                f"{', '.join([*domains][:20])}"
            )
    units = {t.unit for t in targets.values() if t.weight > 0 and t.range is None}
    if len(units) > 1:
        raise ValueError(
            f"targets above weight 0 have units {' and '.join(sorted(units))}; need one unit, "
            "their losses are averaged"
        )
    if targets and not any(target.weight > 0 for target in targets.values()):
        raise ValueError("every target has weight 0; need at least one above 0")


def check_goals(
    targets: Mapping[str, TargetConfig], own: Collection[str], *, builtin: bool
) -> None:
    """Checks that each target has a clear direction.

    Args:
        targets: {name: target}, as the file states them.
        own: targets that are the validation split of a domain, and so are losses.
        builtin: whether the builtin trainer measures the targets.

    Raises:
        ValueError: the name of a target is that of an accuracy and no goal is given, or a goal
            is given for a loss of the builtin trainer.
    """
    for name, target in targets.items():
        if builtin and target.goal is not None:
            raise ValueError(
                f"targets.{name}.goal is {target.goal}; the builtin trainer measures losses, "
                "which are minimised, so leave it out or bring your own trainer"
            )
        if name in own or builtin or target.goal is not None:
            continue
        if named_accuracy(name):
            raise ValueError(
                f"targets.{name} is named like a metric of which more is better, and nothing "
                "says which way it counts; write goal: max and range: [0, 1], or goal: min if "
                "it is a loss"
            )


def check_groups(targets: Mapping[str, TargetConfig], objective: str) -> None:
    """Checks that groups of targets have a meaning for the objective.

    Raises:
        ValueError: a target has a group, and the objective is the worst of the targets.
    """
    for name, target in targets.items():
        if target.group is not None and objective == "worst":
            raise ValueError(
                f"targets.{name}.group is {shown(target.group)} and objective is worst, in which "
                "each target counts by itself and no weight is shared; leave the group out, or "
                "write objective: mean"
            )


def check_references(targets: Mapping[str, TargetConfig]) -> None:
    """Checks that all targets that count have a reference, or none has.

    Raises:
        ValueError: a target above weight 0 has no reference, and another target has one.
    """
    stated = [name for name, target in targets.items() if target.reference is not None]
    lacking = [
        name for name, target in targets.items() if target.reference is None and target.weight > 0
    ]
    if stated and lacking:
        raise ValueError(
            f"targets.{stated[0]} has a reference and targets.{lacking[0]} has none; weights are "
            "of relative improvement for all targets or for none, so state the reference of every "
            "target above weight 0"
        )

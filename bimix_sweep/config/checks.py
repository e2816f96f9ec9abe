"""Checks between the sections of sweep.yaml: what a trainer needs of domains and targets.

Each message begins with the path in the file, as the messages of `yaml_file` do.
"""

from collections.abc import Collection, Mapping

from bimix_sweep.config.sections import TargetConfig
from bimix_sweep.config.text_sections import DomainConfig
from bimix_sweep.mixture.goals import named_accuracy


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

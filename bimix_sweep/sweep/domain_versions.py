"""Old versions of domains: their names, and the configuration completed with them.

The text of a domain may be replaced if its `version` changes. The old text is then a domain of its
own, `web@OLD`, which a user need not name.
"""

from collections.abc import Mapping
from typing import Any

from bimix_sweep.config import DomainConfig, SweepConfig, TargetConfig


def renamed_domains(old: SweepConfig, given: SweepConfig) -> dict[str, str]:
    """{domain whose version changed: name of its old version}."""
    return {
        name: _old_name(name, domain, old)
        for name, domain in old.domains.items()
        if name in given.domains and given.domains[name].version != domain.version
    }


def completed(old: SweepConfig, given: SweepConfig, renamed: Mapping[str, str]) -> SweepConfig:
    """Completes the new configuration with the domains that it leaves out and the frozen targets.

    A user need not name old versions of domains. The targets are those with which the sweep began.

    Args:
        old: the sweep's configuration.
        given: the new configuration.
        renamed: {domain whose version changed: name of its old version}.
    """
    content = given.model_dump(mode="json")
    domains = {name: domain.model_dump(mode="json") for name, domain in old.domains.items()}
    for name in old.domains:
        if name not in content["domains"]:
            content["domains"][name] = domains[name]
    for name, other in renamed.items():
        content["domains"][other] = domains[name] | {"min": 0.0, "max": 0.0}

    def frozen(target: TargetConfig) -> dict[str, Any]:
        """A target of the old configuration, under the present name of its domain."""
        domain = target.domain and renamed.get(target.domain, target.domain)
        return target.model_copy(update={"domain": domain}).model_dump(mode="json")

    targets = {name: frozen(target) for name, target in old.resolved_targets().items()}
    if not given.targets:
        content["targets"] = targets
    for name, target in content["targets"].items():
        known = targets.get(name)
        if (
            known
            and known["domain"]
            and target["domain"]
            and known["domain"].startswith(f"{target['domain']}@")
        ):
            target["domain"] = known["domain"]
    return SweepConfig.parse(content, where="the changed configuration")


def is_old_version(name: str, config: SweepConfig) -> bool:
    """Whether a domain of the configuration is the old version of another one."""
    base, at, _ = name.partition("@")
    return bool(at) and base in config.domains and config.domains[name].max == 0


def _old_name(name: str, domain: DomainConfig, old: SweepConfig) -> str:
    label = domain.version or "first"
    for character in '/\\,"':
        label = label.replace(character, "-")
    label = label.strip()
    names = (
        f"{name}@{label}",
        *(f"{name}@{label}-{number}" for number in range(2, len(old.domains) + 3)),
    )
    return next(candidate for candidate in names if candidate not in old.domains)

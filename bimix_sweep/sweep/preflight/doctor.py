"""Checks whether a sweep can run here: each finding says what to do if something is wrong."""

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError
from bimix_sweep.sweep.preflight.cluster_checks import check_cluster
from bimix_sweep.sweep.preflight.finding import Finding, ok, problem
from bimix_sweep.sweep.preflight.machine_checks import (
    check_cores,
    check_gpus,
    check_memory,
    check_packages,
    check_python,
    check_shared_memory,
    check_token,
)
from bimix_sweep.sweep.preflight.sweep_checks import (
    check_out,
    check_refusals,
    check_stated_mixtures,
    check_targets,
    check_texts,
    check_tracking,
    check_trainer,
    check_trials,
    check_vocabulary,
)


def examine(config_path: str | None, address: str | None) -> list[Finding]:
    """Runs all checks and returns their findings.

    The checks change nothing, except that they write a small file where the sweep will lie, and
    remove it.

    Args:
        config_path: path of the configuration; None checks the machine only.
        address: address of the Ray cluster that will run the sweep; None for this machine.
    """
    findings = [check_python(), *check_packages(), check_token(address)]
    config = None
    if config_path is not None:
        try:
            config = SweepConfig.load(config_path)
            findings.append(
                ok(
                    "configuration",
                    (
                        f"{config_path} is whole: {len(config.domains)} domains, "
                        f"{config.budget.trials} trials"
                    ),
                )
            )
        except ConfigError as error:
            findings += [problem("configuration", line) for line in str(error).splitlines()]
    elsewhere = address is not None
    findings += [
        check_cores(config, elsewhere),
        check_memory(config, elsewhere),
        check_shared_memory(elsewhere),
        check_gpus(config, elsewhere),
    ]
    findings.append(check_out(config.out if config else "runs"))
    if config is not None:
        findings += [
            *check_tracking(config, elsewhere),
            *check_targets(config),
            *check_trials(config),
            *check_stated_mixtures(config),
            *check_vocabulary(config),
            *check_texts(config),
            *check_refusals(config),
            *check_trainer(config, elsewhere),
        ]
    if address is not None:
        findings += check_cluster(address, config)
    return findings

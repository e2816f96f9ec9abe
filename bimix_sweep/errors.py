"""The error tree: every error that a user can cause. Each message says what arrived, what was
needed and what to do.

```
BimixSweepError
├── MixtureError     proportions, bounds or domain names that do not fit together
├── TableError       a loss table, mixture file or loss curve that cannot be read or used
├── LawError         a law that cannot be fitted, loaded or evaluated
├── OptimumError     constraints that leave no mixture
├── ConfigError      a sweep configuration that cannot be used
├── DataError        text, tokens or a token store that cannot be used
├── TrainingError    a trial that failed
│   ├── DivergedError    a loss of the trial was not finite or not in its allowed range
│   └── TryAgainError    the trial was interrupted; another attempt may succeed
├── JournalError     a sweep's journal that cannot be read or written
├── SweepError       a sweep that cannot start or continue
└── ExportError      a recipe that cannot be written in a trainer's format
```
"""


class BimixSweepError(Exception):
    """Root of all errors that bad input or a failed trial can cause. The command line prints the
    message in one line and exits with 1."""


class MixtureError(BimixSweepError):
    """Proportions, bounds or domain names do not fit together: `mixture 3 sums to 0.97; need 1
    within 1e-6`."""


class TableError(BimixSweepError):
    """A loss table, mixture file or loss curve cannot be used: `runs.csv: row 4 has loss_web = nan;
    need a positive number or an empty field`."""


class LawError(BimixSweepError):
    """A law cannot be fitted, loaded or evaluated: `1 mixture; need at least 2 different ones to
    fit a law`."""


class OptimumError(BimixSweepError):
    """The constraints leave no mixture: `the upper bounds sum to 0.8; need at least 1`."""


class ConfigError(BimixSweepError):
    """A sweep configuration cannot be used: `sweep.yaml: proxy.stepz is not a known key; did you
    mean steps?`."""


class DataError(BimixSweepError):
    """Text, tokens or a token store cannot be used: `domain math has 800 tokens; need at least 4096
    for its validation split`."""


class TrainingError(BimixSweepError):
    """A trial failed: `trial 7: the command exited with 2; its last lines: ...`."""


class DivergedError(TrainingError):
    """A loss of a trial is not finite or not in its allowed range: `trial 7: loss of web is nan at
    step 200; lower the learning rate`."""


class TryAgainError(TrainingError):
    """A trial was interrupted and another attempt may succeed: `its node is about to go; the
    checkpoint is written`. A user's trainer may raise this error, too."""


class JournalError(BimixSweepError):
    """A sweep's journal cannot be read or written: `journal/000002.jsonl line 17: checksum does not
    match`."""


class SweepError(BimixSweepError):
    """A sweep cannot start or continue: `runs/a already holds a sweep; go on with: bimix-sweep
    resume runs/a`."""


class ExportError(BimixSweepError):
    """A recipe cannot be written in a trainer's format: `domain legal has proportion 0; olmo-core
    needs > 0`."""

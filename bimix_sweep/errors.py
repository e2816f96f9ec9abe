"""The error tree: everything a user can cause, each with what arrived, what was needed and what to do.

```
BimixSweepError
├── MixtureError     proportions, bounds or domain names that do not fit together
├── TableError       a loss table, mixture file or loss curve that cannot be read or used
├── LawError         a law that cannot be fitted, loaded or evaluated as asked
├── OptimumError     constraints that leave no mixture
├── ConfigError      a sweep configuration that cannot be used
├── DataError        text, tokens or a token store that cannot be used
├── TrainingError    a proxy training that failed
│   ├── DivergedError    its loss was not finite
│   └── TryAgainError    it was interrupted; another attempt may do better
├── JournalError     a sweep's record that cannot be read or written
├── SweepError       a sweep that cannot start or go on
└── ExportError      a recipe that cannot be written in a trainer's form
```
"""


class BimixSweepError(Exception):
    """Root of every error that bad input or a failed run can cause. The command line prints it in one line, exit 1."""


class MixtureError(BimixSweepError):
    """`mixture 3 sums to 0.97; need 1 within 1e-6`."""


class TableError(BimixSweepError):
    """`runs.csv: row 4 has loss_web = nan; need a positive number or an empty field`."""


class LawError(BimixSweepError):
    """`1 mixture; need at least 2 different ones to fit a law`."""


class OptimumError(BimixSweepError):
    """`the upper bounds sum to 0.8; need at least 1`."""


class ConfigError(BimixSweepError):
    """`sweep.yaml: proxy.stepz is not a known key; did you mean steps?`."""


class DataError(BimixSweepError):
    """`domain math has 800 tokens; need at least 4096 for its validation split`."""


class TrainingError(BimixSweepError):
    """`trial 7: the command exited with 2; its last lines: ...`."""


class DivergedError(TrainingError):
    """`trial 7: loss of web is nan at step 200; lower the learning rate`."""


class TryAgainError(TrainingError):
    """`its node is about to go; the checkpoint is written`. A trainer of yours may raise it too."""


class JournalError(BimixSweepError):
    """`journal/000002.jsonl line 17: checksum does not match`."""


class SweepError(BimixSweepError):
    """`runs/a already holds a sweep; go on with: bimix-sweep resume runs/a`."""


class ExportError(BimixSweepError):
    """`domain legal has proportion 0; olmo-core needs > 0`."""

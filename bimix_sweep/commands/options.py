"""Options that several commands share, and functions that parse the texts given to options."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bimix_sweep.errors import ConfigError
from bimix_sweep.parsing import parse_json, parse_number

if TYPE_CHECKING:
    from bimix_sweep.mixture.goals import Goals

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ConfigFile = Annotated[str, typer.Argument(metavar="CONFIG", help="The sweep's sweep.yaml.")]
SweepFolder = Annotated[str, typer.Argument(metavar="DIR", help="The sweep's folder or URI.")]
OutFolder = Annotated[
    str | None,
    typer.Option("--out", help="Folder or URI of the sweep, instead of the file's `out`."),
]
ChangedConfig = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Changed configuration to go on with; default: DIR/config.yaml, edited or not.",
    ),
]
VersionChange = Annotated[
    Literal["keep", "drop"],
    typer.Option(
        "--version-change",
        help="What to do with trials on a domain's old version: keep them as evidence about a "
        "domain of its own, or drop them.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster to run on (host:port or ray://host:port); default: embedded Ray on this "
        "machine."
    ),
]
Slots = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100_000,
        help="Number of trials at a time; default: the configuration's, or what this machine "
        "holds.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        max=2**63 - 1,
        help="Seed of everything random; the same seed gives the same result.",
    ),
]
GoalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--goal",
        metavar="TARGET=GOAL",
        help="Direction of a target: min (a loss, the default), or with its smallest and largest "
        "possible value max:LOW:HIGH or min:LOW:HIGH; --goal arc=max:0:1 for an accuracy. A * in "
        "TARGET stands for any text: '*/acc=max:0:1'. Values are given and shown in the target's "
        "own unit.",
    ),
]
MaxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--max", metavar="DOMAIN=X", help="Largest proportion of a domain; or a JSON file."
    ),
]
MinOption = Annotated[
    list[str] | None,
    typer.Option(
        "--min", metavar="DOMAIN=X", help="Smallest proportion of a domain; or a JSON file."
    ),
]
LawSource = Annotated[
    str,
    typer.Argument(
        metavar="LAW.json|DIR",
        help="A law that fit wrote (- for standard input), or the folder or URI of a sweep.",
    ),
]
RunsTable = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="Finished runs: CSV or Parquet with r_<domain>, loss_<target>, and trial and step "
        "where a run has several rows; - for standard input. bimix-sweep table makes one from the "
        "files that you have.",
    ),
]


def parse_retry_failed(text: str) -> int | Literal["all"]:
    """Value of the option `--retry-failed`: a number of trials, or "all".

    Raises:
        typer.BadParameter: the text is neither a number nor `all`.
    """
    if text == "all":
        return "all"
    if text.isascii() and text.isdigit() and len(text) < 7:
        return int(text)
    raise typer.BadParameter(f"{text} is neither a number of trials nor all")


RetryFailed = Annotated[
    Any,
    typer.Option(
        "--retry-failed",
        parser=parse_retry_failed,
        metavar="N|all",
        help="Try again at most N trials that failed for a cause outside their mixture, 0 for "
        "none; all: diverged ones too. Default: every trial of that kind, unless the sweep is "
        "complete.",
    ),
]


def pairs(options: list[str] | None) -> dict[str, str]:
    """{name: text} of options NAME=TEXT.

    Raises:
        ConfigError: an option is not NAME=TEXT.
    """
    texts = {}
    for option in options or []:
        name, equals, value = option.rpartition("=")
        if not equals or not name or not value:
            raise ConfigError(f"{option!r} is not NAME=VALUE")
        texts[name] = value
    return texts


def named_numbers(flag: str, options: list[str] | None) -> dict[str, float]:
    """{name: number} of options NAME=NUMBER or FILE.json.

    Args:
        flag: name of the option, for the message of an error.
        options: texts given to the option.

    Raises:
        ConfigError: an option is neither of them, or what stands for a number is none.
    """
    numbers: dict[str, float] = {}
    for option in options or []:
        if option.endswith(".json"):
            numbers |= numbers_in(Path(option))
            continue
        for name, text in pairs([option]).items():
            try:
                numbers[name] = parse_number(text)
            except ValueError as error:
                raise ConfigError(f"{flag} {name} {error}") from None
    return numbers


def number(text: str) -> float:
    """Value of an option that takes a number.

    Raises:
        typer.BadParameter: the text is no number.
    """
    try:
        return parse_number(str(text))  # a default comes as a number
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def number_option(meaning: str, *flags: str) -> Any:
    """Returns an option that takes a number with or without a unit.

    Args:
        meaning: help of the option.
        flags: names of the option; default: that of the parameter.
    """
    return typer.Option(*flags, parser=number, metavar="NUMBER", help=meaning)


def goals_of(options: list[str] | None) -> "Goals":
    """{target: goal} of options TARGET=GOAL.

    Raises:
        ConfigError: an option is not TARGET=GOAL, or its goal cannot be parsed.
    """
    from bimix_sweep.mixture.goals import Goal

    goals = {}
    for name, text in pairs(options).items():
        try:
            goals[name] = Goal.parse(text)
        except ConfigError as error:
            raise ConfigError(f"--goal {name}={text}: {error}") from None
    return goals


def numbers_in(path: Path) -> dict[str, float]:
    """{name: number} of a JSON file.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    from bimix_sweep import files

    try:
        content = parse_json(files.read_text(path))
    except OSError as error:
        raise ConfigError(
            f'{path} cannot be read ({error.strerror}); need JSON like {{"web": 1.5}}'
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} is {error}") from error
    try:
        return {name: _number_of(value) for name, value in content.items()}
    except (AttributeError, ValueError):
        raise ConfigError(
            f'{path} needs to hold JSON like {{"web": 1.5, "code": 2}}: names and numbers'
        ) from None


def _number_of(value: Any) -> float:
    """A number of a JSON file, written as a number or as text with a unit.

    Raises:
        ValueError: the value is no number, or a very large one.
    """
    parsed = parse_number(value) if isinstance(value, str) else value
    if isinstance(parsed, bool) or not isinstance(parsed, int | float) or not abs(parsed) < 1e300:
        raise ValueError("no number")
    return float(parsed)

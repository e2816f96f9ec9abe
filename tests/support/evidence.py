"""What happened to a sweep, told by others than the sweep: its trainings' own log, and its journal
read as plain JSON.

Nothing here uses the package's reader or replay, except where the law of the results is asked for.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.history.rebuilding import rebuild
from tests.support.planted_sweep import planted_losses


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A finished sweep beside its evidence; every count is 0 where all is well."""

    lost: int
    """Points that a training was told are safe, and that the journal does not hold with these
    losses.
    """
    duplicated: int
    """Points, proposals and ends that the journal holds more than once, and sequence numbers that
    do not count up by one.
    """
    rerun: int
    """Trainings that computed a step after the journal says they ended."""
    retrained: int
    """Steps computed again after they were acknowledged."""
    wrong: int
    """Points whose losses are not those of the planted law."""
    unfinished: int
    """Trainings without an end, or that miss a step; and 1 where the sweep does not say that it is
    complete.
    """
    other_law: int
    """1 where the final law is not the one of the same results recorded undisturbed."""
    points: int
    """In the journal."""
    trainings: int

    @property
    def faults(self) -> dict[str, int]:
        """What should not be, by name."""
        names = ("lost", "duplicated", "rerun", "retrained", "wrong", "unfinished", "other_law")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def lines(path: Path) -> list[dict[str, Any]]:
    """Whole JSON lines of a file; none where it is missing."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def events(folder: Path) -> list[dict[str, Any]]:
    """The events of a sweep's journal: each writer's up to where the next one says that it read,
    beginning with the newest that wrote.
    """
    headers: dict[str, dict[str, Any]] = {}
    written: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((folder / "journal").glob("*.jsonl")):
        header, *found = lines(path) or [None]
        if header is not None:
            headers.setdefault(header["writer"], header)
            events = [line for line in found if "seq" in line]
            written.setdefault(header["writer"], []).extend(events)
    record: list[dict[str, Any]] = []
    writer, last = max(headers, default=None), math.inf
    while writer is not None:
        record = [event for event in written[writer] if event["seq"] <= last] + record
        writer, last = headers[writer]["parent"], headers[writer]["after"]
    return record


def investigate(folder: Path, witness: Path, steps: tuple[int, ...]) -> Findings:
    """Compare a finished sweep's journal with what its trainings wrote down themselves."""
    happened, seen = events(folder), lines(witness)
    kinds: dict[str, list[dict[str, Any]]] = {}
    for event in happened:
        kinds.setdefault(event["kind"], []).append(event)
    points = kinds.get("point", [])
    recorded = {(point["trial"], point["step"]): point["losses"] for point in points}
    proposals = {proposal["trial"]: proposal for proposal in kinds.get("proposal", [])}
    ends = {end["trial"]: end["at"] for end in kinds.get("end", [])}
    safe: dict[tuple[str, int], float] = {}
    lost = 0
    for line in seen:
        if line["what"] == "acknowledged":
            safe.setdefault((line["trial"], line["step"]), line["at"])
            lost += recorded.get((line["trial"], line["step"])) != line["losses"]
    computed = [line for line in seen if line["what"] == "computed"]
    return Findings(
        lost=lost,
        duplicated=len(points)
        - len(recorded)
        + len(kinds.get("proposal", []))
        - len(proposals)
        + len(kinds.get("end", []))
        - len(ends)
        + sum(event["seq"] != number for number, event in enumerate(happened, start=1)),
        rerun=len(
            {line["trial"] for line in computed if line["at"] > ends.get(line["trial"], line["at"])}
        ),
        retrained=sum(
            line["at"] > safe.get((line["trial"], line["step"]), line["at"]) for line in computed
        ),
        wrong=sum(
            planted_losses(
                Mixture.from_mapping(proposals[trial]["mixture"]), proposals[trial]["seed"], step
            )
            != losses
            for (trial, step), losses in recorded.items()
        ),
        unfinished=sum(
            trial not in ends or any((trial, step) not in recorded for step in steps)
            for trial in proposals
        )
        + ("complete" not in kinds),
        other_law=int(
            "confirmation" not in kinds
            or kinds["confirmation"][-1]["law"] != undisturbed_law(happened, steps)
        ),
        points=len(points),
        trainings=len(proposals),
    )


def undisturbed_law(
    happened: list[dict[str, Any]], steps: tuple[int, ...]
) -> dict[str, Any] | None:
    """The law of the sweep's mixtures, their losses computed anew and recorded one after another in
    a state that nothing disturbed.
    """
    story: list[dict[str, Any]] = [event for event in happened if event["kind"] == "sweep"]
    for proposal in happened:
        if proposal["kind"] == "proposal" and proposal["role"] == "sweep":
            trial, mixture = proposal["trial"], Mixture.from_mapping(proposal["mixture"])
            story.append(proposal)
            story += [
                {
                    "kind": "point",
                    "trial": trial,
                    "step": step,
                    "losses": planted_losses(mixture, proposal["seed"], step),
                }
                for step in steps
            ]
            story.append({"kind": "end", "trial": trial, "state": "finished", "reason": ""})
    plain = [
        {key: value for key, value in event.items() if key not in ("seq", "epoch", "at", "check")}
        for event in story
    ]
    law = rebuild(plain, "undisturbed").state.refit(anew=True).law
    return None if law is None else json.loads(json.dumps(law.to_json()))


def decisions(folder: Path) -> list[Any]:
    """What a sweep of one slot decided, in order: the same for the same config and seed, whatever
    happened to it.

    Left out is how far the optimum moved since the fit before, which may have been one that only a
    watcher asked for.
    """
    kept = {
        "proposal": ("trial", "role", "mixture", "seed", "reason", "num_points", "fit"),
        "decision": ("decision",),
        "confirmation": ("law", "mixtures"),
    }
    found = [
        [event["kind"], *(event[key] for key in kept[event["kind"]])]
        for event in events(folder)
        if event["kind"] in kept
    ]
    for kind, *content in found:
        if kind == "decision":
            content[0].pop("movement_tv")
    return found

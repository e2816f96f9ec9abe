"""Status of a sweep: as one line, as JSON, on one screen, and in the terminal until its end."""

import time
from typing import Any

from rich.console import Console
from rich.text import Text

from bimix_sweep.sweep.history.snapshot import Snapshot, duration, trials_to_go
from bimix_sweep.sweep.jobs.job_file import JobState
from bimix_sweep.sweep.outcome import last_failure
from bimix_sweep.sweep.views.follower import Follower
from bimix_sweep.sweep.views.terminal import Progress, view
from bimix_sweep.sweep.workspace.driver_state import driver_state
from bimix_sweep.text import printable


def state_line(folder: str, follower: Follower, now: float | None = None) -> str:
    """Says in one line whether a driver works on the sweep, as far as the sweep's folder shows.

    For a stopped sweep the line begins with `stopped` and ends with the next command.
    """
    if follower.complete:
        return f"complete; its results are in {folder}"
    ago = (
        ""
        if follower.last_at is None
        else f"last event {duration(max(0.0, (now or time.time()) - follower.last_at))} ago"
    )
    history = follower.history
    if history is not None and history.elsewhere:
        worker = f"its trials run elsewhere; mixtures to run: bimix-sweep propose {folder}"
        return ", ".join(part for part in (ago, worker) if part)
    driver = driver_state(folder)
    if driver.works is None:
        return ago
    reasons = ", ".join(part for part in (driver.words, ago) if part)
    if driver.works:
        return reasons
    to_go = "" if history is None else f", at most {trials_to_go(history)} trials to go"
    return f"stopped{to_go} ({reasons}); go on with: bimix-sweep resume {folder}"


def as_json_value(
    folder: str, snapshot: Snapshot | None, job: JobState | None, follower: Follower
) -> dict[str, Any]:
    """Returns the status of a sweep as a JSON-able value."""
    value: dict[str, Any] = {
        "dir": folder,
        "complete": follower.complete,
        "events": follower.num_events,
        "last_event_at": follower.last_at,
        "state": state_line(folder, follower),
        "trials_to_go": None if follower.history is None else trials_to_go(follower.history),
    }
    value["job"] = (
        None
        if job is None
        else {
            "submission_id": job.job.submission_id,
            "address": job.job.address,
            "state": job.state,
            "message": job.message,
        }
    )
    if snapshot is None:
        return value
    return value | {
        "name": snapshot.name,
        "phase": snapshot.phase,
        "trials": {role: dict(states) for role, states in snapshot.counts.items()},
        "max_trials": snapshot.max_trials,
        "running": {row.trial: row.step for row in snapshot.trials if row.state == "running"},
        "steps": snapshot.steps,
        "running_fidelities": {
            row.trial: {"steps": row.steps, **({} if row.size is None else {"size": row.size})}
            for row in snapshot.trials
            if row.state == "running"
        },
        "optimum": None if snapshot.optimum is None else dict(snapshot.optimum),
        "region": {name: list(ends) for name, ends in snapshot.region.items()},
        "regret_expected": snapshot.regret_expected,
        "regret_upper95": snapshot.regret_upper95,
        "decision": snapshot.decision,
        "extrapolation": dict(snapshot.extrapolation),
        "not_tested": list(snapshot.not_tested),
        "elapsed_seconds": round(snapshot.elapsed_seconds, 3),
        "seconds_left": snapshot.seconds_left,
    }


def print_status(
    folder: str, snapshot: Snapshot | None, job: JobState | None, follower: Follower
) -> None:
    """Prints the status of a sweep on one screen."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # piped output is not cut
    if snapshot is None:
        console.print(Text(f"{folder}: the sweep has not begun"))
    else:
        console.print(view(snapshot, console.size if console.is_terminal else None))
        if follower.history is not None and (failure := last_failure(follower.history)):
            console.print(Text(failure), soft_wrap=True)
        console.print(Text(state_line(folder, follower)), soft_wrap=True)
    if job is not None:
        console.print(
            Text(
                printable(f"job {job.job.submission_id} at {job.job.address}: {job.state.lower()}")
            )
        )
        if job.message:
            console.print(Text(printable(f"  {job.message}")))


def watch_in_terminal(
    follower: Follower, folder: str, *, seconds: float, progress: Progress | None = None
) -> None:
    """Shows the sweep in the terminal until the sweep is complete.

    Args:
        followed: follower of the sweep's journal.
        folder: name of the sweep's folder in messages.
        seconds: time between two polls.
        progress: view to draw in; default: a new one.
    """
    waiting = False
    with progress or Progress() as shown:
        while True:
            snapshot = follower.poll()
            if snapshot is not None:
                shown.show(snapshot)
            elif not waiting:
                waiting = True
                shown.say(f"{folder}: the sweep has not begun; waiting for it")
            if follower.complete:
                break
            time.sleep(seconds)
        shown.end()
        shown.say(f"complete; its results are in {folder}")

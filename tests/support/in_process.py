"""A sweep in this process, without Ray: the LawActor driven as the driver of a cluster does it, on
a planted law.
"""

from dataclasses import dataclass, field

import numpy as np

from bimix_sweep.config import SweepConfig
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.sweep.config_staging import check_change, settle, stage, take_up
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.events import SweepEvent, read_event
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.spec import sweep_spec
from bimix_sweep.sweep.history.stored_spec import StoredSpec
from bimix_sweep.sweep.workspace.paths import CONFIG, begun

STEPS = (100, 200, 400)
NEEDS = {"web": 0.10, "code": 0.16, "books": 0.13, "exam": 0.2}
HELP = {
    "web": {"web": 1.0, "books": 0.3},
    "code": {"code": 1.0, "math": 0.4},
    "books": {"books": 1.0, "web": 0.2, "math": 0.1},
}


@dataclass
class Planted:
    """Stands for the `TrainerFacts` of a planted sweep; its sizes come as two fields."""

    data: dict = field(default_factory=lambda: {"planted": 1})
    domain_tokens: dict = field(default_factory=dict)
    unique_tokens: dict = field(default_factory=dict)
    entropy: object = None
    steps: int = 400
    eval_steps: tuple = STEPS
    size: float = 1e5
    smaller: tuple = ()

    @property
    def sizes(self):
        return (*self.smaller, self.size)


def config(trials=8, tolerance=1e-7, domains=("web", "code", "books"), **changes):
    content = {
        "domains": {name: {"path": f"/text/{name}"} for name in domains},
        "proxy": {"steps": 400},
        "budget": {"trials": trials},
        "stop": {"tolerance": tolerance},
    }
    for path, value in changes.items():
        *way, key = path.split("__")
        place = content
        for part in way:
            place = place.setdefault(part, {})
        place[key] = value
    return SweepConfig.parse(content)


def losses(mixture, seed, step, targets=("web", "code", "books"), noise=0.002):
    """What a training measures; `web@old` trains like `web`."""
    shares = {}
    for name, share in mixture.as_dict().items():
        shares[name.partition("@")[0]] = shares.get(name.partition("@")[0], 0) + round(
            share, 12
        )  # files keep all but the last bit
    draw = np.random.default_rng([seed % 2**31, step]).normal(size=len(targets))
    return {
        target: float(
            (0.03 + sum(shares.get(domain, 0) * part for domain, part in HELP[target].items()))
            ** -NEEDS[target]
            * (8 * step**-0.45 + 2)
            * np.exp(noise * e)
        )
        for target, e in zip(targets, draw, strict=True)
    }


def train(actor, proposal, steps=STEPS):
    """Up to the last of these steps, or to the training's own."""
    actor.start(proposal.trial, "here")
    last = proposal.steps or STEPS[-1]
    for step in (step for step in steps if step <= last):
        actor.record(proposal.trial, step, losses(proposal.mixture, proposal.seed, step))
    if steps[-1] >= last:
        actor.finish(proposal.trial)


def open_sweep(folder, given=None, versions="keep", trainer=None, crash=None):
    """The actor of a sweep in `folder`, begun or taken up again; `crash` ends it before or after
    the event of a change.
    """
    trainer = trainer or Planted()
    if not begun(folder):
        folder.mkdir(exist_ok=True)
        (folder / CONFIG).write_text(given.model_copy(update={"out": str(folder)}).to_yaml())
        actor = LawActor(str(folder), first(given, trainer), lock_seconds=0)
        actor.ready()
        return actor
    history = replay(folder)
    change = take_up(str(folder), history, given, versions)
    event = change.event(first(change.config, trainer))
    if change.what:
        check_change(history, change, sweep_spec(change.config, trainer), trainer.data)
        stage(str(folder), change)
        if crash == "before":
            return None
    actor = LawActor(str(folder), first(change.config, trainer), lock_seconds=0, change=event)
    actor.ready()
    if crash == "after":
        actor.close()
        return None
    if event is not None:
        settle(str(folder), event)
    return actor


def first(given, trainer):
    return SweepEvent(
        name=given.name,
        config_digest=given.digest,
        data=trainer.data,
        spec=StoredSpec.of(sweep_spec(given, trainer)),
        versions={},
        config=given.public(),
    )


def run(actor, most=1000):
    """Run the sweep's trainings, at most so many; returns their names."""
    ran = []
    for past in actor.past():
        if past.state == "running":
            train(actor, past.proposal)
            ran.append(past.proposal.trial)
    while len(ran) < most:
        started = [past.proposal.trial for past in actor.past()]
        proposal = actor.propose(f"t{len(started):04d}") or actor.final(started)
        if proposal is None:
            assert actor.over()
            actor.complete()
            break
        train(actor, proposal)
        ran.append(proposal.trial)
    return ran


def whole(folder, given=None, **options):
    """Begin or take up a sweep, run it to its end; returns what ran and the history."""
    actor = open_sweep(folder, given, **options)
    ran = run(actor)
    actor.close()
    return ran, replay(folder)


def measured_at(cheap, dear, **scales):
    """A history of three trainings, one cheap and two dear, with four times the seconds, of which
    the cheap one has the lowest loss.

    Args:
        cheap, dear: what their proposals say of their scale.
        scales: of the spec.
    """
    names = ("web", "code", "books")
    domains = DomainSet(names=names)
    spec = SweepSpec(
        domains=domains,
        targets=names,
        weights=dict.fromkeys(names, 1.0),
        own={},
        max_trials=20,
        core_hours=1.0,
        **scales,
    )
    history = SweepHistory.begin(
        SweepEvent(name="s", config_digest="", data={}, spec=StoredSpec.of(spec), versions={})
    )
    trainings = {
        "a": (cheap, [0.6, 0.2, 0.2], 1.0, 90),
        "b": (dear, [0.2, 0.6, 0.2], 2.0, 360),
        "c": (dear, [0.2, 0.2, 0.6], 3.0, 360),
    }
    for trial, (at, shares, loss, seconds) in trainings.items():
        mixture = dict(zip(names, shares, strict=True))
        for event in (
            {
                "kind": "proposal",
                "trial": trial,
                "role": "sweep",
                "mixture": mixture,
                "reason": "",
                "seed": 1,
                "num_points": 0,
                "fit": {},
                **at,
            },
            {
                "kind": "start",
                "trial": trial,
                "where": "here",
                "cores": 1.0,
                "gpus": 0.0,
                "at": 1000.0,
                "epoch": 1,
            },
            {
                "kind": "point",
                "trial": trial,
                "step": at.get("steps", spec.steps),
                "losses": dict.fromkeys(names, loss),
                "at": 1000.0 + seconds,
                "epoch": 1,
            },
            {
                "kind": "end",
                "trial": trial,
                "state": "finished",
                "reason": "",
                "at": 1000.0 + seconds,
                "epoch": 1,
            },
        ):
            history.apply(read_event(event))
    return history

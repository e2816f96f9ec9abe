"""Sweeps that go on from a journal must propose what they would have proposed undisturbed."""

from bimix_sweep.design.planner import SweepState


def check_from_the_middle(whole, train, stops):
    """Played back until each of the stops, a sweep makes the rest of the proposals of the whole
    one.
    """
    count = len(whole.proposals)
    for stop in stops:
        again = SweepState(whole.spec)
        for proposal in whole.proposals[:stop]:
            again.restore_proposal(proposal)
            train(again, proposal)
        for _ in range(count - stop):
            train(again, again.propose(f"t{len(again.trials)}"))
        assert again.proposals == whole.proposals


def check_in_a_batch(whole, train, batch, stop):
    """Played back until some of a batch were proposed, a sweep makes the rest of the batch."""
    again = SweepState(whole.spec)
    for proposal in whole.proposals[: -len(batch)]:
        again.restore_proposal(proposal)
        train(again, proposal)
    for proposal in batch[:stop]:
        again.restore_proposal(proposal)
    assert [again.propose(f"b{i}") for i in range(stop, len(batch))] == batch[stop:]

"""The log of one trial."""

from bimix_sweep.sweep.workspace.trial_log import MAX_BYTES, TrialLog


def test_a_log_is_bounded(tmp_path):
    log = TrialLog(str(tmp_path), "t0000")
    for number in range(700):
        log.say(f"{number} " + "x" * 3990)
    log.close()
    kept = list((tmp_path / "logs").iterdir())
    assert {path.name for path in kept} == {"t0000.log", "t0000.log.1"}
    assert sum(path.stat().st_size for path in kept) < 2.1 * MAX_BYTES
    assert (tmp_path / "logs" / "t0000.log").read_text().splitlines()[-1].startswith("699 ")

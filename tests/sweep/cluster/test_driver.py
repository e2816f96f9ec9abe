"""What a driver tells while it waits."""

from bimix_sweep.sweep.cluster import driver


def test_a_wait_is_told_once_after_a_while_and_again_when_it_returns(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("bimix_sweep.sweep.cluster.driver.time.monotonic", lambda: now[0])
    said = []
    wait = driver.Wait(said.append)

    def update(seconds, waits_for):
        now[0] += seconds
        wait.update(waits_for)
        return len(said)

    assert update(0, "it waits for a node") == 0
    assert update(driver.NOTE_SECONDS - 1, "it waits for a node") == 0
    assert update(2, "it waits for a node") == 1
    assert said == ["note: it waits for a node, for 61 s now"]
    assert update(500, "it waits for a node") == 1
    assert update(1, "") == 1
    assert update(0, "it waits for a node") == 1
    assert update(driver.NOTE_SECONDS, "it waits for a node") == 2

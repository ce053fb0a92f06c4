"""What must always hold, tried by breaking it: after each fault every sample has exactly one result, and it is the result that
an undisturbed run gives."""
import signal

import pytest
from cluster import Cluster, canonical, rows, wait_for

SAMPLES = 400
MODEL = "sim://?seconds=0.004"


@pytest.fixture
def cluster():
    c = Cluster(workers=2)
    yield c
    c.close()


@pytest.fixture(scope="module")
def undisturbed():
    c = Cluster(workers=2)
    id = c.submit(c.dataset(rows(SAMPLES)), "sim://")
    assert c.wait_done(id)["status"] == "succeeded"
    document = c.document(id)
    document["model"] = MODEL
    c.close()
    return canonical(document)


def start(cluster):
    """An experiment that is in the middle when this returns."""
    id = cluster.submit(cluster.dataset(rows(SAMPLES)), MODEL)
    wait_for("a third of the samples", lambda: cluster.done_samples(id) >= SAMPLES // 3)
    return id


def finish(cluster, id, undisturbed):
    experiment = cluster.wait_done(id)
    assert experiment["status"] == "succeeded", experiment
    assert canonical(cluster.document(id)) == undisturbed
    assert cluster.postgres.query(f"SELECT count(*), count(DISTINCT index) FROM result WHERE job_id = '{id}'") == f"{SAMPLES}|{SAMPLES}"


def test_kill_9_of_a_worker_in_the_middle_loses_and_repeats_nothing(cluster, undisturbed):
    id = start(cluster)
    cluster.workers[0].kill()
    finish(cluster, id, undisturbed)


def test_kill_9_of_the_coordinator_in_the_middle_loses_and_repeats_nothing(cluster, undisturbed):
    id = start(cluster)
    cluster.coordinator.kill()
    before = int(cluster.postgres.query(f"SELECT count(*) FROM result WHERE job_id = '{id}'"))
    cluster.start_coordinator()
    finish(cluster, id, undisturbed)
    assert before >= SAMPLES // 3


def test_kill_9_of_everything_at_once_and_a_cold_start_goes_on(cluster, undisturbed):
    id = start(cluster)
    for process in (cluster.coordinator, *cluster.workers):
        process.kill()
    cluster.postgres.kill()
    cluster.postgres.start()
    cluster.start_coordinator()
    cluster.start_worker()
    finish(cluster, id, undisturbed)


def test_kill_9_of_postgres_in_the_middle_is_ridden_out(cluster, undisturbed):
    id = start(cluster)
    cluster.postgres.kill()
    wait_for("the API to say so", lambda: cluster.session.get(cluster.url + "/readyz", timeout=10).status_code == 503)
    cluster.postgres.start()
    finish(cluster, id, undisturbed)


def test_a_worker_stopped_for_longer_than_its_lease_disturbs_nothing(cluster, undisturbed):
    id = start(cluster)
    cluster.workers[0].signal(signal.SIGSTOP)
    experiment = cluster.wait_done(id)
    assert experiment["status"] == "succeeded"
    cluster.workers[0].signal(signal.SIGCONT)
    cluster.wait_workers(2)
    finish(cluster, id, undisturbed)


def test_sigterm_drains_a_worker_and_the_others_finish(cluster, undisturbed):
    id = start(cluster)
    assert cluster.workers[0].terminate() == 0
    finish(cluster, id, undisturbed)


def test_sigterm_stops_the_coordinator_cleanly_and_a_new_one_goes_on(cluster, undisturbed):
    id = start(cluster)
    assert cluster.coordinator.terminate() == 0
    cluster.start_coordinator()
    finish(cluster, id, undisturbed)


def test_cancel_stops_an_experiment_and_keeps_its_results(cluster):
    id = cluster.submit(cluster.dataset(rows(SAMPLES)), "sim://?seconds=0.5")
    wait_for("the first results", lambda: cluster.done_samples(id) > 0)
    assert cluster.post(f"/experiments/{id}/cancel").status_code == 202
    experiment = cluster.wait_done(id, patience_s=10)
    assert experiment["status"] == "failed"
    assert "cancel" in experiment["message"].lower()
    assert int(cluster.postgres.query(f"SELECT count(*) FROM result WHERE job_id = '{id}'")) > 0
    wait_for("free slots", lambda: all(w["tasks"] == 0 for w in cluster.online()))


def test_a_sample_that_kills_its_worker_is_isolated_and_recorded(cluster):
    cluster.coordinator.terminate()
    cluster.start_coordinator("--lease-ms", "2000")  # a death is noticed when the lease ends, and this one dies often
    id = cluster.submit(cluster.dataset(rows(40)), "sim://?poison=17")

    def keep_workers():
        for worker in [w for w in cluster.workers if not w.alive()]:
            cluster.workers.remove(worker)
            cluster.start_worker()
        return cluster.experiment(id)["status"] == "succeeded"

    wait_for("the job to end without the poison sample", keep_workers)
    errors = cluster.postgres.query(f"SELECT index FROM result WHERE job_id = '{id}' AND error_code IS NOT NULL")
    assert errors == "17"
    assert cluster.postgres.query(f"SELECT count(*) FROM result WHERE job_id = '{id}'") == "40"

"""Workflows go on wherever the coordinator was killed: their state and their next step are in Postgres."""
import signal

import cluster as clusters
import pytest
import requests


@pytest.fixture
def cluster():
    made = clusters.Cluster(workers=1)
    yield made
    made.close()


def start_workflow(cluster, dataset, model):
    experiment = cluster.post("/experiments/", {"name": "e", "dataset": dataset}).json()["id"]
    answer = cluster.post("/workflows/", {"name": "w", "experiment_id": experiment, "model": model, "provider": "hf", "metrics": ["rouge"]})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def jobs(cluster, workflow):
    return cluster.postgres.query(f"SELECT kind || ' ' || status FROM job WHERE workflow_id = '{workflow}' ORDER BY created_at").split("\n")


def restart(cluster):
    cluster.coordinator.kill()
    cluster.start_coordinator()


def check_succeeds(cluster, workflow, count):
    def ended():
        shown = cluster.get(f"/workflows/{workflow}").json()
        return shown if shown["status"] in ("succeeded", "failed") else None
    shown = clusters.wait_for("the workflow", ended)
    assert shown["status"] == "succeeded", shown
    assert [j["job_type"] for j in shown["jobs"]] == ["inference", "evaluator"]
    document = requests.get(shown["artifacts_download_url"], timeout=60).json()
    assert document["artifacts"]["examples"] == [a for a, _ in clusters.rows(count)]
    assert document["artifacts"]["predictions"] == [" ".join(a.split()[:20]) for a, _ in clusters.rows(count)]
    assert len(document["metrics"]["rouge"]["rouge1"]) == count


def test_a_coordinator_killed_during_inference(cluster):
    workflow = start_workflow(cluster, cluster.dataset(clusters.rows(20)), "sim://?seconds=0.05")
    clusters.wait_for("inference", lambda: jobs(cluster, workflow) == ["inference running"])
    restart(cluster)
    check_succeeds(cluster, workflow, 20)


def test_a_coordinator_killed_between_inference_and_evaluation(cluster):
    """What scores is held still, so that the coordinator dies when inference is over and no score has come."""
    worker = cluster.workers[0]
    workflow = start_workflow(cluster, cluster.dataset(clusters.rows(5)), "sim://")
    clusters.wait_for("inference", lambda: jobs(cluster, workflow)[0] == "inference succeeded")
    worker.signal(signal.SIGSTOP)
    restart(cluster)
    worker.signal(signal.SIGCONT)
    check_succeeds(cluster, workflow, 5)


def test_the_next_job_is_in_the_transaction_that_ended_the_last(cluster):
    """No worker can take the evaluation: at the first moment at which inference is seen to be over, the evaluation is there."""
    workflow = start_workflow(cluster, cluster.dataset(clusters.rows(5)), "sim://")
    seen = clusters.wait_for("inference", lambda: [s for s in [jobs(cluster, workflow)] if s[0] == "inference succeeded"])
    assert len(seen[0]) == 2 and seen[0][1].startswith("evaluator ")
    cluster.coordinator.kill()
    assert len(jobs(cluster, workflow)) == 2
    cluster.start_coordinator()
    check_succeeds(cluster, workflow, 5)


def test_a_workflow_that_waits_for_a_worker_waits_through_restarts(cluster):
    cluster.workers.pop().kill()
    workflow = start_workflow(cluster, cluster.dataset(clusters.rows(5)), "sim://")
    for _ in range(2):
        restart(cluster)
        assert jobs(cluster, workflow) in (["inference created"], ["inference running"])
    cluster.start_worker()
    check_succeeds(cluster, workflow, 5)

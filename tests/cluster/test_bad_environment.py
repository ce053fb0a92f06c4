"""Mistakes of those who run a cluster: each ends in one clear line where they look, and nothing hangs."""
import signal
import subprocess

import pytest
import requests
from cluster import WORKER, Cluster, free_port, rows, wait_for


@pytest.fixture
def cluster():
    c = Cluster(workers=1)
    yield c
    c.close()


def test_a_worker_whose_key_is_not_admitted_is_told_so_in_both_logs(cluster, tmp_path):
    stranger = cluster.start_worker(key=tmp_path / "stranger.key")
    wait_for("the worker's log line", lambda: "does not admit this worker's key" in stranger.text())
    assert "connection refused" in cluster.coordinator.text()
    assert len(cluster.get("/cluster/workers").json()["items"]) == 1


def test_a_worker_with_a_wrong_coordinator_key_never_talks_to_it(cluster, tmp_path):
    other = cluster.run_cli("key", "generate", tmp_path / "other.key").stdout.strip()
    lost = cluster.start_worker(coordinator_key=other)
    wait_for("the worker's log line", lambda: "the coordinator's key is not the one given" in lost.text())
    assert len(cluster.get("/cluster/workers").json()["items"]) == 1


def test_a_worker_without_the_coordinators_key_is_refused_at_once():
    done = subprocess.run([WORKER], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "--coordinator-key is missing" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("taken", ["http", "tasks"])
def test_a_port_in_use_ends_the_coordinator_with_one_line(cluster, taken):
    from cluster import free_port
    ports = {"http_port": free_port(), "tasks_port": free_port()}
    ports[f"{taken}_port"] = getattr(cluster, f"{taken}_port")
    second = cluster.spawn("second", cluster.coordinator_argv(**ports))
    assert second.wait() == 1
    assert str(ports[f"{taken}_port"]) in second.text() and "in use" in second.text().lower()


def test_a_second_coordinator_waits_and_takes_over(cluster):
    id = cluster.submit(cluster.dataset(rows(300)), "sim://?seconds=0.01")
    first, http, tasks = cluster.coordinator, cluster.http_port, cluster.tasks_port
    from cluster import free_port
    second_http, second_tasks = free_port(), free_port()
    second = cluster.spawn("second", cluster.coordinator_argv(http_port=second_http, tasks_port=second_tasks))
    wait_for("the standby's log line", lambda: "standby" in second.text())
    assert requests.get(f"http://127.0.0.1:{second_http}/readyz", timeout=10).status_code == 503
    follower = cluster.spawn("worker", [WORKER, "--coordinator", f"tcp://127.0.0.1:{tasks}", "--coordinator", f"tcp://127.0.0.1:{second_tasks}",
                                        "--coordinator-key", cluster.keys / "coordinator.pub", "--key", cluster.keys / "worker.key", "--threads", "1"])
    cluster.workers.append(follower)
    cluster.wait_workers(2)
    first.kill()
    cluster.coordinator, cluster.url = second, f"http://127.0.0.1:{second_http}"
    cluster.api = cluster.url + "/api/v1"
    cluster.wait_ready()
    assert cluster.wait_done(id)["status"] == "succeeded"
    assert cluster.postgres.query(f"SELECT count(*) FROM result WHERE job_id = '{id}'") == "300"


def test_a_stopped_coordinator_is_replaced_within_its_lease_and_fenced_when_it_awakes(cluster):
    cluster.coordinator.terminate()
    cluster.start_coordinator("--lease-ms", "2000")
    cluster.wait_workers(1)
    id = cluster.submit(cluster.dataset(rows(300)), "sim://?seconds=0.01")
    first, tasks = cluster.coordinator, cluster.tasks_port
    ports = {"http_port": free_port(), "tasks_port": free_port()}
    second = cluster.spawn("second", cluster.coordinator_argv("--lease-ms", "2000", **ports))
    wait_for("the standby's log line", lambda: "standby" in second.text())
    cluster.workers.append(cluster.spawn("worker", [WORKER, "--coordinator", f"tcp://127.0.0.1:{tasks}", "--coordinator", f"tcp://127.0.0.1:{ports['tasks_port']}",
                                                    "--coordinator-key", cluster.keys / "coordinator.pub", "--key", cluster.keys / "worker.key", "--threads", "1"]))
    cluster.wait_workers(2)
    wait_for("some samples", lambda: cluster.done_samples(id) >= 20)
    first.signal(signal.SIGSTOP)
    cluster.coordinator, cluster.url = second, f"http://127.0.0.1:{ports['http_port']}"
    cluster.api = cluster.url + "/api/v1"
    cluster.wait_ready()
    assert "the active coordinator is silent" in second.text()
    assert cluster.wait_done(id)["status"] == "succeeded"
    first.signal(signal.SIGCONT)
    assert first.wait() == 1
    assert "another coordinator took over" in first.text()
    assert cluster.postgres.query(f"SELECT count(*), count(DISTINCT index) FROM result WHERE job_id = '{id}'") == "300|300"
    assert cluster.wait_done(cluster.submit(cluster.dataset(rows(3)), "sim://"))["status"] == "succeeded"


def test_a_standby_leaves_an_idle_active_coordinator_alone(cluster):
    cluster.coordinator.terminate()
    first = cluster.start_coordinator("--lease-ms", "500")
    session = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
    holder = cluster.postgres.query(session)
    second = cluster.spawn("second", cluster.coordinator_argv("--lease-ms", "500", http_port=free_port(), tasks_port=free_port()))
    wait_for("the standby's log line", lambda: "standby" in second.text())
    signs = "SELECT state_change FROM pg_stat_activity WHERE pid = " + holder
    seen = set()
    wait_for("signs of life of several leases", lambda: seen.add(cluster.postgres.query(signs)) or len(seen) > 15)
    assert cluster.postgres.query(session) == holder and first.alive()
    assert "is silent" not in second.text()


def test_a_second_coordinator_that_must_not_wait_ends_with_one_line(cluster):
    from cluster import free_port
    second = cluster.spawn("second", cluster.coordinator_argv("--no-standby", http_port=free_port(), tasks_port=free_port()))
    assert second.wait() == 1
    assert "another coordinator" in second.text()


def test_postgres_down_at_the_start_is_waited_for():
    c = Cluster(start=False)
    try:
        c.start_coordinator(ready=False)
        wait_for("the log line", lambda: "ostgres" in c.coordinator.text())
        answers = wait_for("an answer", lambda: _try(c.url + "/readyz"))
        answer = answers[0]
        assert answer.status_code == 503
        assert "detail" in answer.json() or "reason" in answer.json()
        c.postgres.start()
        c.wait_ready()
    finally:
        c.close()


def test_postgres_down_while_running_is_a_503_and_no_hang(cluster):
    dataset = cluster.dataset(rows(3))
    cluster.postgres.kill()
    answer = cluster.post("/experiments/", {"name": "n", "description": "", "model": "sim://", "dataset": dataset, "max_samples": -1})
    assert answer.status_code == 503 and "database" in answer.json()["detail"]
    cluster.postgres.start()
    wait_for("the coordinator to be back", lambda: cluster.session.get(cluster.url + "/readyz", timeout=10).status_code == 200)
    assert cluster.wait_done(cluster.submit(dataset, "sim://"))["status"] == "succeeded"


def test_a_missing_model_directory_fails_the_experiment_with_its_reason(cluster):
    id = cluster.submit(cluster.dataset(rows(5)), "file:///nowhere/at/all")
    experiment = cluster.wait_done(id)
    assert experiment["status"] == "failed" and "/nowhere/at/all" in experiment["message"]


def test_a_corrupt_model_file_fails_the_experiment_with_file_and_reason(cluster, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bart"}')
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 4096)
    id = cluster.submit(cluster.dataset(rows(5)), f"file://{tmp_path}")
    experiment = cluster.wait_done(id)
    assert experiment["status"] == "failed" and "model.safetensors" in experiment["message"]


def _try(url):
    try:
        return [requests.get(url, timeout=10)]  # in a list: an answer with an error status is falsy
    except requests.RequestException:
        return []

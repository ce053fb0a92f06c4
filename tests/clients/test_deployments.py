"""Deployments of the first API: a local model with a name, asked about single texts."""
import json
import pathlib

import cluster as clusters
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOY = f"file://{ROOT}/deploy/local/models/toy-bart"
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def small():
    c = clusters.Cluster(workers=1, coordinator_arguments=("--deployment-model", TOY))
    yield c
    c.close()


def ended(cluster, id):
    """Its status once its model was tried."""
    def status():
        [found] = [d["status"] for d in cluster.get("/ground-truth/deployments").json()["items"] if d["id"] == id]
        return None if found == "created" else found
    return clusters.wait_for("the model to be tried", status)


def test_the_default_model_is_loaded_asked_and_deleted(small):
    made = small.post("/ground-truth/deployments", {})
    assert made.status_code == 201, made.text
    deployment = made.json()
    assert deployment["status"] == "created" and deployment["model"] == TOY
    assert ended(small, deployment["id"]) == "running"
    assert list(small.get("/health/deployments/").json()) == [deployment["name"]]
    first, second = (small.post(f"/ground-truth/deployments/{deployment['id']}", {"text": "The cat sat on the mat."}) for _ in range(2))
    assert first.status_code == 200, first.text
    assert isinstance(first.json()["deployment_response"]["result"], str) and first.json() == second.json()  # greedy
    clusters.wait_for("jobs to be deleted", lambda: small.postgres.query("SELECT count(*) FROM job") == "0")
    assert small.session.delete(f"{small.api}/ground-truth/deployments/{deployment['id']}").status_code == 204
    assert small.get("/ground-truth/deployments").json() == {"total": 0, "items": []}
    assert small.get("/health/deployments/").json() == {}


def test_a_model_that_is_not_there_fails_and_says_so(small):
    id = small.post("/ground-truth/deployments", {"model": "file:///nowhere/at-all", "num_gpus": 1}).json()["id"]
    assert ended(small, id) == "failed"
    answer = small.post(f"/ground-truth/deployments/{id}", {"text": "a text"})
    assert answer.status_code == 502 and "/nowhere/at-all" in answer.json()["detail"]
    assert small.session.delete(f"{small.api}/ground-truth/deployments/{id}").status_code == 204


def test_an_unknown_deployment_is_404(small):
    assert small.post(f"/ground-truth/deployments/{NOWHERE}", {"text": "a text"}).status_code == 404
    assert small.session.delete(f"{small.api}/ground-truth/deployments/{NOWHERE}").status_code == 404


@pytest.mark.parametrize("body", [{"model": "no reference"}, {"model": ""}, {"num_replicas": 0}, {"num_gpus": -1}, {"num_cpus": "many"}, []])
def test_odd_values_are_refused(small, body):
    assert small.post("/ground-truth/deployments", body).status_code == 422


def test_the_notebooks_functions(small, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "clients/python/src")
    monkeypatch.setenv("LUMIGATOR_SERVICE_HOST", small.url)
    from lumigrid import lumigator_demo
    id = small.post("/ground-truth/deployments", {}).json()["id"]
    assert ended(small, id) == "running" and lumigator_demo.get_summarizer_deployment_id() == id
    assert "result" in lumigator_demo.get_bart_ground_truth(id, "The cat sat on the mat.").json()["deployment_response"]


def test_the_command_line_makes_asks_and_deletes_one(small):
    def listed():
        return [d["id"] for d in json.loads(small.run_cli("deployment", "list", "--json").stdout)]

    before = listed()  # what other tests left
    id = small.run_cli("deployment", "create").stdout.strip()
    assert ended(small, id) == "running"
    assert listed() == [id, *before]
    asked = small.post(f"/ground-truth/deployments/{id}", {"text": "The cat sat on the mat."}).json()["deployment_response"]["result"]
    assert small.run_cli("deployment", "query", id, "The cat sat on the mat.").stdout == asked + "\n"
    assert small.run_cli("deployment", "delete", id).returncode == 0
    assert listed() == before
    assert small.run_cli("deployment", "query", id, "x", check=False).returncode == 3

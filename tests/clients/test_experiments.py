"""Experiments of the first API: what a notebook does with `requests`, and what it is told when it is wrong."""
import json

import cluster as clusters
import pytest
import requests

NOBODY = "00000000-0000-4000-8000-000000000000"
GOOD = {"name": "n", "description": None, "model": "sim://", "max_samples": None, "model_url": None, "system_prompt": None, "config_template": None}


def problems(answer):
    assert answer.status_code == 422, answer.text
    return {tuple(p["loc"]): p["msg"] for p in answer.json()["detail"]}


def test_a_notebook_gets_its_result_document(cluster, dataset):
    body = {**GOOD, "dataset": dataset, "max_samples": 10}
    answer = requests.post(cluster.api + "/experiments/", data=json.dumps(body), timeout=60)  # no Content-Type, as notebooks do
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["name"] == "n" and made["status"] in ("created", "running") and made["created_at"].endswith("Z")
    assert cluster.wait_done(made["id"])["status"] == "succeeded"
    assert cluster.get(f"/experiments/{made['id']}/result").json() == {"id": made["id"], "experiment_id": made["id"]}
    document = cluster.document(made["id"])
    for key in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        values = document["rouge"][key]
        assert len(values) == 10 and document["rouge"][key + "_mean"] == pytest.approx(sum(values) / 10)
    rows = [(e, g) for e, g in zip(document["examples"], document["ground_truth"])]
    assert rows == clusters.rows(40)[:10]
    assert document["predictions"] == [" ".join(e.split()[:20]) for e, _ in rows]
    assert document["model"] == "sim://" and document["summarization_time"] >= 0


def test_samples_that_failed_are_null_and_in_their_place(cluster, dataset):
    id = cluster.submit(dataset, "sim://?fail=7")
    assert cluster.wait_done(id)["progress"]["failed"] > 0
    text = requests.get(cluster.get(f"/experiments/{id}/result/download").json()["download_url"], timeout=60).text
    document = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert len(document["predictions"]) == len(document["rouge"]["rouge1"]) == 40
    assert [p is None for p in document["predictions"]] == [v is None for v in document["rouge"]["rouge1"]]
    assert any(p is None for p in document["predictions"])


def test_there_is_no_result_before_the_end(cluster, dataset):
    id = cluster.submit(dataset, "sim://?seconds=5")
    for path in ("result", "result/download"):
        assert cluster.get(f"/experiments/{id}/{path}").status_code == 404
    assert cluster.post(f"/experiments/{id}/cancel").status_code == 202
    ended = cluster.wait_done(id)
    assert ended["status"] == "failed" and "cancelled" in ended["message"]
    assert cluster.post(f"/experiments/{id}/cancel").status_code in (202, 409)
    assert cluster.session.delete(f"{cluster.api}/experiments/{id}").status_code == 204
    assert cluster.get(f"/experiments/{id}").status_code == 404


def test_a_running_experiment_can_be_deleted(cluster, dataset):
    id = cluster.submit(dataset, "sim://?seconds=5")
    assert cluster.session.delete(f"{cluster.api}/experiments/{id}/").status_code == 204
    assert cluster.get(f"/experiments/{id}").status_code == 404


def test_every_bad_field_is_named(cluster):
    answer = cluster.post("/experiments/", {"model": 5, "max_samples": "many", "dataset": "no-id"})
    assert set(problems(answer)) == {("body", "name"), ("body", "model"), ("body", "max_samples"), ("body", "dataset")}
    assert set(problems(cluster.session.post(cluster.api + "/experiments/", data="", timeout=60))) == {("body",)}
    assert set(problems(cluster.session.post(cluster.api + "/experiments/", data="[1]", timeout=60))) == {("body",)}


def test_broken_json_is_said_to_be_broken(cluster):
    answer = cluster.session.post(cluster.api + "/experiments/", data='{"name": ', timeout=60)
    assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "json_invalid"
    deep = cluster.session.post(cluster.api + "/experiments/", data="[" * 100000, timeout=60)
    assert deep.status_code == 422 and deep.json()["detail"][0]["type"] == "json_invalid"


def test_an_unknown_dataset_is_404(cluster):
    assert cluster.post("/experiments/", {**GOOD, "dataset": NOBODY}).status_code == 404


@pytest.mark.parametrize("model,words", [
    ("s3://bucket/model", "scheme"),
    ("facebook/bart-large-cnn", "begins with its scheme"),
    ("hf://../../etc", "hf://org/name"),
    ("file:///models/../etc/passwd", ".."),
    ("http://169.254.169.254/latest", "may be called"),
])
def test_a_model_that_cannot_run_is_refused_with_the_reason(cluster, dataset, model, words):
    assert words in problems(cluster.post("/experiments/", {**GOOD, "dataset": dataset, "model": model}))[("body", "model")]


def test_a_model_url_obeys_the_allow_list(cluster, dataset):
    answer = cluster.post("/experiments/", {**GOOD, "dataset": dataset, "model_url": "http://evil.example/v1"})
    assert "may be called" in problems(answer)[("body", "model_url")]


def test_unknown_metrics_are_answered_with_the_known_ones(cluster, dataset):
    message = problems(cluster.post("/experiments/", {**GOOD, "dataset": dataset, "metrics": ["rogue"]}))[("body", "metrics")]
    assert "rogue" in message and "rouge" in message


def test_metrics_that_need_ground_truth_are_refused_without_it(cluster):
    bare = cluster.upload("examples\na b c\n").json()["id"]
    assert "ground_truth" in problems(cluster.post("/experiments/", {**GOOD, "dataset": bare}))[("body", "dataset")]
    id = cluster.submit(bare, "sim://", metrics=[])
    assert cluster.wait_done(id)["status"] == "succeeded"
    assert cluster.document(id)["predictions"] == ["a b c"]


def test_a_model_that_is_not_there_fails_with_a_message(cluster, dataset):
    id = cluster.submit(dataset, "file:///nonexistent/model")
    ended = cluster.wait_done(id)
    assert ended["status"] == "failed" and "/nonexistent/model" in ended["message"]


def test_experiments_are_compared(cluster, dataset, finished):
    other = cluster.submit(dataset, "sim://?fail=5")
    cluster.wait_done(other)
    answer = cluster.get(f"/experiments/compare?ids={finished},{other}")
    assert answer.status_code == 200, answer.text
    compared = answer.json()
    assert [e["id"] for e in compared["experiments"]] == [finished, other]
    summary = compared["experiments"][0]["metrics"]["rouge1"]
    assert summary["n"] == 40 and summary["ci95"][0] <= summary["mean"] <= summary["ci95"][1]
    pair = next(p for p in compared["pairs"] if p["metric"] == "rouge1")
    assert pair["wins"] + pair["ties"] + pair["losses"] == pair["n"] < 40
    assert pair["p"] == 1 and pair["p_holm"] == 1  # the same predictions where both have one
    assert cluster.get(f"/experiments/compare?ids={finished}&ids={other}").json() == compared
    assert compared["best_worst"][finished]["rouge1"]["best"][0]["value"] >= compared["best_worst"][finished]["rouge1"]["worst"][0]["value"]


def test_comparisons_that_make_no_sense_are_refused(cluster, finished):
    assert cluster.get("/experiments/compare").status_code == 422
    assert cluster.get("/experiments/compare?ids=x,y").status_code == 422
    assert cluster.get(f"/experiments/compare?ids={finished},{finished}").status_code == 422
    assert cluster.get(f"/experiments/compare?ids={NOBODY}").status_code == 404


def test_events_tell_of_progress_until_the_end(cluster, dataset):
    id = cluster.submit(dataset, "sim://?seconds=0.02")
    events, kind = [], None
    with requests.get(f"{cluster.api}/experiments/{id}/events", stream=True, timeout=60) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        for line in stream.iter_lines(decode_unicode=True):
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                events.append((kind, json.loads(line[6:])))
    assert [k for k, _ in events[:-1]] == ["progress"] * (len(events) - 1) and events[-1][0] == "end"
    assert events[-1][1]["status"] == "succeeded" and events[-1][1]["progress"]["done"] == 40
    done = [e["progress"]["done"] for _, e in events]
    assert done == sorted(done)


def test_jobs_of_the_second_api_run(cluster, dataset):
    config = {"model": "sim://", "provider": "hf"}
    answer = cluster.post("/jobs/inference/", {"name": "i", "dataset": dataset, "job_config": config})
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["Location"].endswith(job["id"]) and job["job_type"] == "inference"
    clusters.wait_for("the job", lambda: cluster.get(f"/jobs/{job['id']}").json()["status"] == "succeeded")
    assert cluster.get("/jobs/?job_types=inference").json()["items"][0]["id"] == job["id"]
    assert cluster.get("/jobs/?job_types=nonsense").status_code == 422
    assert cluster.get(f"/health/jobs/{job['id']}").json()["status"] == "SUCCEEDED"
    assert cluster.get(f"/jobs/{job['id']}/result").json() == {"id": job["id"], "job_id": job["id"]}
    document = requests.get(cluster.get(f"/jobs/{job['id']}/result/download").json()["download_url"], timeout=60).json()
    assert set(document) == {"metrics", "parameters", "artifacts"} and len(document["artifacts"]["predictions"]) == 40
    assert isinstance(cluster.get(f"/jobs/{job['id']}/logs").json()["logs"], str)
    refused = cluster.post("/jobs/inference/", {"name": "i", "dataset": dataset, "job_config": {**config, "trust_remote_code": True}})
    assert problems(refused).keys() == {("body", "job_config", "trust_remote_code")}


def test_an_evaluator_scores_predictions_of_a_dataset(cluster):
    data = cluster.upload("examples,ground_truth,predictions\na,the cat sat,the cat sat\nb,one two,three\n").json()["id"]
    answer = cluster.post("/jobs/evaluator/", {"name": "e", "dataset": data, "job_config": {"metrics": ["rouge"]}})
    assert answer.status_code == 201, answer.text
    id = answer.json()["id"]
    clusters.wait_for("the job", lambda: cluster.get(f"/jobs/{id}").json()["status"] == "succeeded")
    document = requests.get(cluster.get(f"/jobs/{id}/result/download").json()["download_url"], timeout=60).json()
    assert document["metrics"]["rouge"]["rouge1"] == [1.0, 0.0]

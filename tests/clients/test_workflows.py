"""The second API: experiments without a model, workflows, and the datasets that jobs write."""
import csv
import io
import json

import cluster as clusters
import pytest
import requests

NOBODY = "00000000-0000-4000-8000-000000000000"


def make_experiment(cluster, dataset, **more):
    answer = cluster.post("/experiments/", {"name": "e", "dataset": dataset, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def submit(cluster, experiment, model="sim://", **more):
    return cluster.post("/workflows/", {"name": "w", "experiment_id": experiment, "model": model, "provider": "hf", "metrics": ["rouge"], **more})


def wait_workflow(cluster, id):
    def ended():
        workflow = cluster.get(f"/workflows/{id}").json()
        return workflow if workflow["status"] in ("succeeded", "failed") else None
    return clusters.wait_for(f"workflow {id}", ended)


def wait_job(cluster, id):
    def ended():
        job = cluster.get(f"/jobs/{id}").json()
        return job if job["status"] in ("succeeded", "failed", "stopped") else None
    return clusters.wait_for(f"job {id}", ended)


def content(cluster, dataset):
    url = cluster.get(f"/datasets/{dataset}/download").json()["download_url"]
    return list(csv.DictReader(io.StringIO(requests.get(url, timeout=60).content.decode(), newline="")))


def problems(answer):
    assert answer.status_code == 422, answer.text
    return {tuple(p["loc"]) for p in answer.json()["detail"]}


@pytest.fixture(scope="module")
def succeeded(cluster, dataset):
    experiment = make_experiment(cluster, dataset, max_samples=10)
    answer = submit(cluster, experiment["id"], description="d", system_prompt="p", batch_size=2)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["status"] in ("created", "running", "succeeded") and made["experiment_id"] == experiment["id"] and made["model"] == "sim://"
    assert answer.headers["Location"].endswith(made["id"])
    return experiment, made, wait_workflow(cluster, made["id"])


def test_a_workflow_infers_and_then_scores(cluster, succeeded):
    experiment, made, workflow = succeeded
    assert workflow["status"] == "succeeded"
    assert {k: workflow[k] for k in made if k not in ("status", "updated_at")} == {k: made[k] for k in made if k not in ("status", "updated_at")}
    assert [(j["job_type"], j["status"]) for j in workflow["jobs"]] == [("inference", "succeeded"), ("evaluator", "succeeded")]
    document = requests.get(workflow["artifacts_download_url"], timeout=60).json()
    assert set(document) == {"metrics", "parameters", "artifacts"}
    rows = clusters.rows(40)[:10]
    assert document["artifacts"]["examples"] == [a for a, _ in rows]
    assert document["artifacts"]["ground_truth"] == [b for _, b in rows]
    assert document["artifacts"]["predictions"] == [" ".join(a.split()[:20]) for a, _ in rows]
    assert document["artifacts"]["model"] == "sim://"
    values = document["metrics"]["rouge"]["rouge1"]
    assert len(values) == 10 and workflow["metrics"]["rouge1_mean"] == pytest.approx(sum(values) / 10)
    assert {"name": "rouge1_mean", "value": workflow["metrics"]["rouge1_mean"]} in workflow["jobs"][1]["metrics"]
    assert workflow["parameters"]["model"] == "sim://" and workflow["parameters"]["dataset"] == experiment["dataset"]
    assert requests.get(workflow["jobs"][0]["artifact_url"], timeout=60).json()["artifacts"]["predictions"] == document["artifacts"]["predictions"]
    download = cluster.get(f"/workflows/{made['id']}/result/download").json()
    assert download["id"] == made["id"] and requests.get(download["download_url"], timeout=60).json() == document


def test_the_scores_are_those_of_an_experiment_of_the_first_api(cluster, dataset, succeeded):
    id = cluster.submit(dataset, "sim://", max_samples=10)
    cluster.wait_done(id)
    workflow = succeeded[2]
    assert cluster.document(id)["rouge"] == requests.get(workflow["artifacts_download_url"], timeout=60).json()["metrics"]["rouge"]


def test_an_experiment_shows_its_workflows(cluster, succeeded):
    experiment, made, workflow = succeeded
    shown = cluster.get(f"/experiments/{experiment['id']}").json()
    assert shown["status"] == "succeeded" and shown["task_definition"] == {"task": "summarization"} and shown["max_samples"] == 10
    assert [w["id"] for w in shown["workflows"]] == [made["id"]]
    assert shown["workflows"][0]["metrics"] == workflow["metrics"]
    for path in ("/experiments/", "/experiments/all"):
        listed = cluster.get(path).json()
        assert listed["total"] == len(listed["items"])
        mine = [e for e in listed["items"] if e["id"] == experiment["id"]]
        assert len(mine) == 1 and [w["id"] for w in mine[0]["workflows"]] == [made["id"]]
        assert [e["created_at"] for e in listed["items"]] == sorted((e["created_at"] for e in listed["items"]), reverse=True)


def test_listings_of_both_generations_are_paged(cluster, succeeded, finished):
    everything = [e["id"] for e in cluster.get("/experiments/").json()["items"]]
    assert finished in everything and succeeded[0]["id"] in everything
    paged = [cluster.get("/experiments/", params={"skip": i, "limit": 1}).json()["items"][0]["id"] for i in range(len(everything))]
    assert paged == everything
    beyond = cluster.get("/experiments/", params={"skip": len(everything)}).json()
    assert beyond == {"total": len(everything), "items": []}


def test_logs_of_both_jobs(cluster, succeeded):
    logs = cluster.get(f"/workflows/{succeeded[1]['id']}/logs").json()["logs"]
    assert logs.count("the first samples were leased") == 2 and logs.count("succeeded") == 2


def test_an_experiment_without_workflows(cluster, dataset):
    experiment = make_experiment(cluster, dataset, task_definition={"task": "translation", "source_language": "English", "target_language": "de"})
    assert experiment["status"] == "created" and experiment["workflows"] == []
    assert experiment["task_definition"]["source_language"] == "English"
    assert cluster.get(f"/experiments/{experiment['id']}").json() == experiment
    assert cluster.session.delete(f"{cluster.api}/experiments/{experiment['id']}").status_code == 204
    assert cluster.get(f"/experiments/{experiment['id']}").status_code == 404


def test_languages_by_name_and_code(cluster, dataset):
    for language in ("German", "german", "de", "deu", "deu_Latn"):
        make_experiment(cluster, dataset, task_definition={"task": "translation", "source_language": "en", "target_language": language})
    bad = cluster.post("/experiments/", {"name": "e", "dataset": dataset, "task_definition": {"task": "translation", "source_language": "en", "target_language": "Klingon"}})
    assert problems(bad) == {("body", "task_definition")} and "Klingon" in bad.text


def test_text_generation_needs_a_system_prompt(cluster, dataset):
    experiment = make_experiment(cluster, dataset, task_definition={"task": "text-generation"})
    assert problems(submit(cluster, experiment["id"])) == {("body", "system_prompt")}
    assert submit(cluster, experiment["id"], system_prompt="Say it again.").status_code == 201


def test_a_workflow_whose_inference_fails_says_so_and_stops(cluster, dataset):
    experiment = make_experiment(cluster, dataset)
    made = submit(cluster, experiment["id"], "sim://?fail=1").json()
    workflow = wait_workflow(cluster, made["id"])
    assert workflow["status"] == "failed" and "inference job failed: every sample failed" in workflow["message"]
    assert [j["status"] for j in workflow["jobs"]] == ["failed"]
    assert workflow["metrics"] == {} and workflow["artifacts_download_url"] is None
    assert cluster.get(f"/workflows/{made['id']}/result/download").status_code == 404
    assert cluster.get(f"/experiments/{experiment['id']}").json()["status"] == "failed"


def test_samples_without_a_prediction_stay_in_their_place(cluster, dataset):
    experiment = make_experiment(cluster, dataset)
    workflow = wait_workflow(cluster, submit(cluster, experiment["id"], "sim://?fail=7").json()["id"])
    assert workflow["status"] == "succeeded"
    document = requests.get(workflow["artifacts_download_url"], timeout=60).json()
    assert document["artifacts"]["examples"] == [a for a, _ in clusters.rows(40)]
    assert any(v is None for v in document["metrics"]["rouge"]["rouge1"])
    assert any(v is not None for v in document["metrics"]["rouge"]["rouge1"])


def test_a_job_that_takes_too_long_fails_its_workflow(cluster, dataset):
    experiment = make_experiment(cluster, dataset)
    workflow = wait_workflow(cluster, submit(cluster, experiment["id"], "sim://?seconds=30", job_timeout_sec=1).json()["id"])
    assert workflow["status"] == "failed" and "did not finish" in workflow["message"]


def test_without_metrics_there_is_no_evaluation(cluster, dataset):
    experiment = make_experiment(cluster, dataset, max_samples=3)
    workflow = wait_workflow(cluster, submit(cluster, experiment["id"], metrics=[]).json()["id"])
    assert workflow["status"] == "succeeded" and [j["job_type"] for j in workflow["jobs"]] == ["inference"]
    assert len(requests.get(workflow["artifacts_download_url"], timeout=60).json()["artifacts"]["predictions"]) == 3


def test_a_running_workflow_is_deleted_only_by_force(cluster, dataset):
    experiment = make_experiment(cluster, dataset)
    id = submit(cluster, experiment["id"], "sim://?seconds=30").json()["id"]
    refused = cluster.session.delete(f"{cluster.api}/workflows/{id}")
    assert refused.status_code == 409 and "force" in refused.text
    assert cluster.session.delete(f"{cluster.api}/workflows/{id}", params={"force": "true"}).status_code == 204
    assert cluster.get(f"/workflows/{id}").status_code == 404
    assert cluster.get(f"/experiments/{experiment['id']}").json()["workflows"] == []


def test_deleting_an_experiment_stops_and_deletes_its_workflows(cluster, dataset):
    experiment = make_experiment(cluster, dataset)["id"]
    workflow = submit(cluster, experiment, "sim://?seconds=30").json()["id"]
    job = cluster.get(f"/workflows/{workflow}").json()["jobs"][0]["id"]
    assert cluster.session.delete(f"{cluster.api}/experiments/{experiment}").status_code == 204
    for path in (f"/experiments/{experiment}", f"/workflows/{workflow}", f"/jobs/{job}"):
        assert cluster.get(path).status_code == 404


def test_cancelling_an_experiment_stops_its_workflows(cluster, dataset):
    experiment = make_experiment(cluster, dataset)["id"]
    workflow = submit(cluster, experiment, "sim://?seconds=30").json()["id"]
    assert cluster.post(f"/experiments/{experiment}/cancel").status_code == 202
    ended = wait_workflow(cluster, workflow)
    assert ended["status"] == "failed" and "cancelled" in ended["message"]


def test_what_is_refused(cluster, dataset, finished):
    experiment = make_experiment(cluster, dataset)["id"]
    assert problems(cluster.post("/workflows/", {})) == {("body", f) for f in ("name", "experiment_id", "model", "provider")}
    assert submit(cluster, NOBODY).status_code == 404
    assert submit(cluster, finished).status_code == 404  # of the first API
    assert problems(submit(cluster, experiment, provider="nobody")) == {("body", "provider")}
    assert problems(submit(cluster, experiment, job_timeout_sec=0)) == {("body", "job_timeout_sec")}
    assert problems(submit(cluster, experiment, metrics=["beauty"])) == {("body", "metrics")}
    assert problems(submit(cluster, experiment, inference_output_field="examples")) == {("body", "inference_output_field")}
    assert problems(submit(cluster, experiment, model="m", provider="hosted_vllm", base_url="http://169.254.169.254/v1")) <= {("body", "base_url"), ("body", "model")}
    judge = {"model_name": "m", "model_base_url": "http://169.254.169.254/v1"}
    assert problems(submit(cluster, experiment, llm_as_judge=judge)) == {("body", "llm_as_judge")}
    for path in ("", "/logs", "/result/download"):
        assert cluster.get(f"/workflows/{NOBODY}{path}").status_code == 404
    assert cluster.session.delete(f"{cluster.api}/workflows/{NOBODY}").status_code == 404


def test_no_ground_truth_no_scores(cluster):
    bare = cluster.upload("examples\nhello there\n", format="job").json()["id"]
    experiment = make_experiment(cluster, bare)["id"]
    assert problems(submit(cluster, experiment)) == {("body", "metrics")}
    assert wait_workflow(cluster, submit(cluster, experiment, metrics=[]).json()["id"])["status"] == "succeeded"


def job(cluster, type, dataset, **config):
    answer = cluster.post(f"/jobs/{type}/", {"name": "j", "dataset": dataset, "job_config": {"provider": "hf", "model": "sim://", **config}})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_annotating_writes_a_dataset_with_ground_truth(cluster):
    texts = ['plain', 'with "quotes", commas', "two\nlines", "  spaces kept ", "ünï→漢字", ""]
    source = cluster.upload("examples\n" + "".join('"' + t.replace('"', '""') + '"\n' for t in texts), filename="mails.csv", format="job").json()["id"]
    id = job(cluster, "annotate", source)
    assert wait_job(cluster, id)["status"] == "succeeded"
    made = cluster.get(f"/jobs/{id}/dataset").json()
    assert made["ground_truth"] and made["generated"] and made["run_id"] == id and made["generated_by"] == "sim://"
    assert made["filename"] == "mails-annotate.csv" and made["format"] == "job"
    rows = content(cluster, made["id"])
    assert [r["examples"] for r in rows] == texts
    assert [" ".join(r["ground_truth"].split()) for r in rows] == [" ".join(t.split()) for t in texts]
    assert rows[2]["ground_truth"] == "two\nlines"
    assert made["size"] == len(requests.get(cluster.get(f"/datasets/{made['id']}/download").json()["download_url"], timeout=60).content)
    again = cluster.submit(made["id"], "sim://")
    assert cluster.wait_done(again)["means"]["rouge1"] == pytest.approx(5 / 6)  # nothing scores nothing


def test_inference_writes_a_dataset_when_asked(cluster, dataset):
    id = job(cluster, "inference", dataset, store_to_dataset=True)
    assert cluster.get(f"/jobs/{id}/dataset").status_code == 200
    wait_job(cluster, id)
    made = cluster.get(f"/jobs/{id}/dataset").json()
    rows = content(cluster, made["id"])
    assert [(r["examples"], r["ground_truth"]) for r in rows] == clusters.rows(40)
    assert [r["predictions"] for r in rows] == [" ".join(a.split()[:20]) for a, _ in clusters.rows(40)]
    scored = cluster.post("/jobs/evaluator/", {"name": "s", "dataset": made["id"], "job_config": {"metrics": ["rouge"]}}).json()["id"]
    assert wait_job(cluster, scored)["status"] == "succeeded"
    named = job(cluster, "inference", dataset, store_to_dataset=True, output_field="mine")
    wait_job(cluster, named)
    assert set(content(cluster, cluster.get(f"/jobs/{named}/dataset").json()["id"])[0]) == {"examples", "ground_truth", "mine"}


def test_a_job_that_writes_no_dataset_has_none(cluster, dataset):
    id = job(cluster, "inference", dataset)
    wait_job(cluster, id)
    answer = cluster.get(f"/jobs/{id}/dataset")
    assert answer.status_code == 200 and answer.json() is None
    assert cluster.get(f"/jobs/{NOBODY}/dataset").status_code == 404


def test_a_large_dataset_is_written_in_pieces(cluster):
    rows = clusters.rows(3000, words_each=40)
    id = job(cluster, "annotate", cluster.dataset(rows))
    wait_job(cluster, id)
    made = cluster.get(f"/jobs/{id}/dataset").json()
    assert made["size"] > 3 * 262144
    got = content(cluster, made["id"])
    assert [r["examples"] for r in got] == [a for a, _ in rows]
    assert [r["ground_truth"] for r in got] == [" ".join(a.split()[:20]) for a, _ in rows]


def test_the_command_line(cluster, dataset):
    made = cluster.run_cli("workflow", "submit", "--dataset", dataset, "--model", "sim://", "--metrics", "rouge", "--max-samples", "3", "--json")
    workflow = json.loads(made.stdout)
    assert wait_workflow(cluster, workflow["id"])["status"] == "succeeded"
    shown = json.loads(cluster.run_cli("workflow", "show", workflow["id"], "--json").stdout)
    assert shown["metrics"]["rouge1_mean"] > 0 and len(shown["jobs"]) == 2
    assert workflow["id"] in cluster.run_cli("workflow", "show", workflow["id"]).stdout
    listed = json.loads(cluster.run_cli("workflow", "list", "--experiment", workflow["experiment_id"], "--json").stdout)
    assert [w["id"] for w in listed] == [workflow["id"]]
    assert workflow["id"] in cluster.run_cli("workflow", "list").stdout
    assert "succeeded" in cluster.run_cli("workflow", "logs", workflow["id"]).stdout
    second = cluster.run_cli("workflow", "submit", "--experiment", workflow["experiment_id"], "--model", "sim://?seconds=30", "--metrics", "rouge").stdout.strip()
    refused = cluster.run_cli("workflow", "delete", second, check=False)
    assert refused.returncode == 1 and "force" in refused.stderr
    assert cluster.run_cli("workflow", "delete", second, "--force").returncode == 0
    assert cluster.run_cli("workflow", "show", second, check=False).returncode == 3
    assert cluster.run_cli("workflow", "submit", "--model", "sim://", check=False).returncode == 2

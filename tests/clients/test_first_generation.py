"""What a notebook of the first generation does, with requests and pandas: upload, look, run several models, compare."""
import io
import json

import cluster as clusters
import pandas as pd
import pytest
import requests


@pytest.fixture(scope="module")
def api(cluster):
    return cluster.api


@pytest.fixture(scope="module")
def threads():
    return pd.DataFrame(clusters.rows(12), columns=["examples", "ground_truth"])


@pytest.fixture(scope="module")
def uploaded(api, threads):
    files = {"dataset": ("threads.csv", threads.to_csv(index=False).encode())}
    answer = requests.post(f"{api}/datasets/", files=files, data={"format": "experiment"}, timeout=60)
    assert answer.status_code == 201
    return answer.json()


@pytest.fixture(scope="module")
def results(api, uploaded):
    """Two models, submitted as notebooks do: JSON as text, no Content-Type."""
    submitted = []
    for model in ("sim://", "sim://?fail=5"):
        body = {"name": model, "description": "", "model": model, "dataset": uploaded["id"], "max_samples": 10, "model_url": None, "system_prompt": None,
                "config_template": None}
        answer = requests.post(f"{api}/experiments/", data=json.dumps(body), timeout=60)
        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] in ("created", "running", "succeeded")
        submitted.append(answer.json()["id"])

    def statuses():
        seen = [requests.get(f"{api}/experiments/{id}", timeout=60).json()["status"] for id in submitted]
        return seen if set(seen) <= {"succeeded", "failed"} else None
    assert clusters.wait_for("the experiments", statuses) == ["succeeded", "succeeded"]
    documents = []
    for id in submitted:
        assert requests.get(f"{api}/experiments/{id}/result", timeout=60).json() == {"id": id, "experiment_id": id}
        download = requests.get(f"{api}/experiments/{id}/result/download", timeout=60).json()
        documents.append(requests.get(download["download_url"], timeout=60).json())
    return documents


def test_dataset_info(api, uploaded):
    info = requests.get(f"{api}/datasets/{uploaded['id']}", timeout=60).json()
    assert info == uploaded and info["format"] == "experiment" and info["ground_truth"] is True and info["filename"] == "threads.csv"


def test_the_dataset_comes_back_as_it_was(api, uploaded, threads):
    download = requests.get(f"{api}/datasets/{uploaded['id']}/download", timeout=60).json()
    assert download["id"] == uploaded["id"]
    answer = requests.get(download["download_url"], timeout=60)
    assert answer.content == threads.to_csv(index=False).encode() and len(answer.content) == uploaded["size"]
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(answer.content)), threads)


def test_datasets_are_listed(api, uploaded):
    assert uploaded in requests.get(f"{api}/datasets/", timeout=60).json()["items"]


def test_jobs_are_polled_in_the_style_of_ray(api, results):
    for job in requests.get(f"{api}/health/jobs/", timeout=60).json():
        assert job["status"] in ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED")
        assert requests.get(f"{api}/health/jobs/{job['submission_id']}", timeout=60).status_code == 200


def test_results_make_a_table(results):
    table = pd.DataFrame([{"model": r["model"], "rouge1": r["rouge"]["rouge1_mean"], "meteor": r["meteor"]["meteor_mean"], "seconds": r["summarization_time"]} for r in results])
    assert list(table["model"]) == ["sim://", "sim://?fail=5"]
    assert table[["rouge1", "meteor"]].notna().all().all() and (table["seconds"] >= 0).all()


def test_a_result_has_the_samples_in_order(results, threads):
    for result in results:
        assert result["examples"] == list(threads["examples"][:10]) and result["ground_truth"] == list(threads["ground_truth"][:10])
        assert len(result["predictions"]) == len(result["rouge"]["rougeL"]) == len(result["meteor"]["meteor"]) == 10
    good = pd.Series(results[0]["rouge"]["rouge1"])
    assert good.mean() == pytest.approx(results[0]["rouge"]["rouge1_mean"])
    assert pd.Series(results[1]["rouge"]["rouge1"], dtype=float).isna().sum() == sum(p is None for p in results[1]["predictions"]) > 0


def test_best_and_worst(results):
    frame = pd.DataFrame({"example": results[0]["examples"], "prediction": results[0]["predictions"], "rouge1": results[0]["rouge"]["rouge1"]})
    ordered = frame.sort_values("rouge1")
    assert ordered["rouge1"].iloc[-1] >= ordered["rouge1"].iloc[0] and ordered["example"].iloc[0] in results[0]["examples"]

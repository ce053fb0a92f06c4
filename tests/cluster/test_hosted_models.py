"""Models that others host, against a provider that is slow, limits, drops, sends rubbish and refuses."""
import pytest
from cluster import Cluster, rows, wait_for
from fake_provider import FakeProvider

PROMPT = ("You are a helpful assistant, expert in text summarization. For every prompt you receive, provide a summary of its contents in at most two "
          "sentences.")


@pytest.fixture
def provider():
    p = FakeProvider()
    yield p
    p.close()


@pytest.fixture(scope="module")
def cluster():
    """Its workers have no keys of their own."""
    c = Cluster()
    assert c.session.put(c.api + "/settings/secrets/provider", json={"value": "good-key", "description": ""}).status_code == 201
    assert c.session.put(c.api + "/settings/secrets/wrong", json={"value": "wr0ng-s3cret", "description": ""}).status_code == 201
    yield c
    logs = "".join(p.text() for p in c.processes)
    c.close()
    assert "good-key" not in logs and "wr0ng-s3cret" not in logs


def infer(cluster, texts, base_url, secret="provider", **more):
    """Runs an inference job; returns its id."""
    dataset = cluster.dataset([(text, "truth") for text in texts])
    config = {"model": "toy", "provider": "hosted_vllm", "base_url": base_url, "secret_key_name": secret, "task_definition": {"task": "summarization"}, **more}
    answer = cluster.post("/jobs/inference/", {"name": "hosted", "dataset": dataset, "job_config": config})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def ended(cluster, id):
    return wait_for(f"job {id}", lambda: (lambda job: job if job["status"] in ("succeeded", "failed") else None)(cluster.get(f"/jobs/{id}").json()))


def results(cluster, id):
    lines = cluster.postgres.query(f"SELECT index, coalesce(convert_from(prediction, 'UTF8'), ''), coalesce(error_message, '') FROM result WHERE job_id = '{id}' ORDER BY index")
    return [line.split("|") for line in lines.splitlines()]


def test_every_prompt_is_asked_and_answers_keep_the_datasets_order(cluster, provider):
    texts = [f"sample {i} of the dataset has some words" for i in range(60)]
    id = infer(cluster, texts, provider.url, generation_config={"max_new_tokens": 64, "temperature": 0.5, "top_p": 0.9, "frequency_penalty": 0})
    assert ended(cluster, id)["status"] == "succeeded"
    assert [r[1] for r in results(cluster, id)] == [" ".join(t.split()[:5]) for t in texts]
    assert len(provider.requests) == 60
    one = provider.requests[0]
    assert one["path"] == "/v1/chat/completions" and one["key"] == "good-key" and one["model"] == "toy"
    assert one["messages"][0] == {"role": "system", "content": PROMPT}
    assert (one["max_tokens"], one["temperature"], one["top_p"]) == (64, 0.5, 0.9)


def test_many_requests_fly_at_once_and_leave_the_slots_for_models_to_others(cluster, provider):
    id = infer(cluster, [f"[slow] number {i}" for i in range(64)], provider.url)
    wait_for("requests in flight", lambda: provider.flying >= 8)
    local = cluster.submit(cluster.dataset(rows(20)), "sim://")
    assert cluster.wait_done(local)["status"] == "succeeded"
    assert cluster.get(f"/jobs/{id}").json()["status"] == "running"
    provider.release.set()
    assert ended(cluster, id)["status"] == "succeeded"


def test_one_bad_sample_is_recorded_and_the_rest_succeed(cluster, provider):
    texts = ["plain text", "[drop] once", "[malformed] once", "[refuse] it", "[always-malformed] text", "another plain text"]
    id = infer(cluster, texts, provider.url)
    assert ended(cluster, id)["status"] == "succeeded"
    found = results(cluster, id)
    assert [bool(r[2]) for r in found] == [False, False, False, True, True, False]
    assert "this prompt is too long" in found[3][2] and "JSON" in found[4][2]
    assert provider.seen["[drop] once"] == 2 and provider.seen["[malformed] once"] == 2
    assert provider.seen["[refuse] it"] == 1 and provider.seen["[always-malformed] text"] == 4  # and max_retries is 3


def test_a_rate_limit_slows_down_and_loses_nothing(cluster):
    provider = FakeProvider(per_second=20)
    id = infer(cluster, [f"limited {i}" for i in range(50)], provider.url)
    assert ended(cluster, id)["status"] == "succeeded"
    assert not [r for r in results(cluster, id) if r[2]]
    assert 0 < provider.refused < 50
    provider.close()


def test_a_refused_key_fails_the_job_and_is_not_repeated_in_the_message(cluster, provider):
    job = ended(cluster, infer(cluster, ["a text"], provider.url, secret="wrong"))
    assert job["status"] == "failed"
    details = cluster.get(f"/health/jobs/{job['id']}").json()["message"]
    assert "refuses the key" in details and "wr0ng" not in details
    assert len(provider.requests) == 1


def test_a_cancelled_job_lets_its_requests_go(cluster, provider):
    id = infer(cluster, [f"[slow] {i}" for i in range(8)], provider.url)
    wait_for("requests in flight", lambda: provider.flying > 0)
    assert cluster.post(f"/jobs/{id}/cancel").status_code == 202
    wait_for("free slots", lambda: all(w["tasks"] == 0 for w in cluster.online()))


def test_a_model_url_that_is_not_allowed_is_refused_at_submission(cluster):
    dataset = cluster.dataset(rows(1))
    answer = cluster.post("/experiments/", {"name": "x", "description": "", "model": "oai://toy", "dataset": dataset, "max_samples": -1,
                                            "model_url": "http://169.254.169.254/latest"})
    assert answer.status_code == 422 and "not among those" in answer.text


def test_an_unknown_setting_fails_the_job_with_the_ones_that_are_known(cluster, provider):
    dataset = cluster.dataset(rows(1))
    id = cluster.submit(dataset, "oai://toy", model_url=provider.url, generation_config={"num_beams": 4})
    experiment = cluster.wait_done(id)
    assert experiment["status"] == "failed" and "num_beams" in experiment["message"]


def test_references_and_the_workers_environment_say_where_and_with_which_key(monkeypatch, provider):
    monkeypatch.setenv("OPENAI_API_BASE", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", "good-key")
    monkeypatch.setenv("MISTRAL_API_BASE", provider.url)
    monkeypatch.setenv("MISTRAL_API_KEY", "good-key")
    c = Cluster(coordinator_arguments=("--outbound-hosts", "*,127.0.0.1"), worker_arguments=("--outbound-hosts", "*"))
    try:
        dataset = c.dataset(rows(3))
        for model in ("oai://gpt-4o-mini", "mistral://open-mistral-7b"):
            id = c.submit(dataset, model)
            assert c.wait_done(id)["status"] == "succeeded"
            document = c.document(id)
            assert document["model"] == model and len(document["predictions"]) == 3 and document["rouge"]["rouge1"]
            # Dollars per million tokens are 0.15 and 0.60, 0.25 and 0.25; the prompts have 30 words, the answers 5.
            cost = (30 * 0.15 + 5 * 0.60) / 1e6 if "gpt" in model else 35 * 0.25 / 1e6
            assert document["cost"]["usd"] == pytest.approx([cost] * 3) and document["cost"]["usd_mean"] == pytest.approx(cost)
            assert c.postgres.query(f"SELECT DISTINCT prompt_tokens, new_tokens, seconds > 0 FROM result WHERE job_id = '{id}'") == "30|5|t"
        assert {r["model"] for r in provider.requests} == {"gpt-4o-mini", "open-mistral-7b"}
        # This worker may call public addresses only, whatever the coordinator let through.
        asked = len(provider.requests)
        for refused in (c.submit(dataset, provider.url + "#toy"), c.submit(dataset, "oai://toy", model_url=provider.url + "/other")):
            experiment = c.wait_done(refused)
            assert experiment["status"] == "failed" and "not among those" in experiment["message"]
        assert len(provider.requests) == asked
    finally:
        c.close()

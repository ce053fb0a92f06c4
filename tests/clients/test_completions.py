"""Completions of the first API: a text in, a summary out, by a provider whose key and address the workers have in their environment."""
import pathlib
import threading

import cluster as clusters
import pytest
import requests
from fake_provider import FakeProvider

TEXT = "A summary of this text has its first five words"


@pytest.fixture(scope="module")
def provider():
    p = FakeProvider()
    yield p
    p.close()


@pytest.fixture(scope="module")
def hosted(provider):
    with pytest.MonkeyPatch.context() as environment:
        for name in ("OPENAI", "MISTRAL"):
            environment.setenv(f"{name}_API_BASE", provider.url)
            environment.setenv(f"{name}_API_KEY", "good-key")
        c = clusters.Cluster(workers=1, coordinator_arguments=("--query-timeout-s", "15", "--mistral-model", "mistral-tiny"))
        yield c
        c.close()


def ask(cluster, vendor, text):
    return cluster.post(f"/completions/{vendor}", {"text": text})


def leftovers(cluster):
    return cluster.postgres.query("SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM dataset WHERE deleted_at IS NULL), (SELECT count(*) FROM sample)")


def nothing_stays(cluster):
    clusters.wait_for("the query's job and dataset to be deleted", lambda: leftovers(cluster) == "0|0|0")


def test_the_vendors_are_named(hosted):
    assert hosted.get("/completions/").json() == ["openai", "mistral"]


@pytest.mark.parametrize(("vendor", "model"), [("openai", "gpt-4o-mini"), ("mistral", "mistral-tiny")])
def test_a_completion_is_the_models_answer_and_leaves_nothing(hosted, provider, vendor, model):
    answer = ask(hosted, vendor, TEXT)
    assert (answer.status_code, answer.json()) == (200, {"text": "A summary of this text"})
    asked = provider.requests[-1]
    assert asked["model"] == model and asked["messages"][1]["content"] == TEXT
    assert asked["messages"][0]["content"].startswith("You are a helpful assistant, expert in text summarization.")
    nothing_stays(hosted)


def test_many_at_once_each_get_their_own_answer(hosted):
    answers = {}
    threads = [threading.Thread(target=lambda i=i: answers.update({i: requests.post(hosted.api + "/completions/openai", json={"text": f"{i} b c d e f"}, timeout=60).json()}))
               for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: {"text": f"{i} b c d e"} for i in range(12)}
    nothing_stays(hosted)


def test_what_the_provider_says_is_told_as_502(hosted):
    answer = ask(hosted, "mistral", "[refuse] this")
    assert answer.status_code == 502 and "this prompt is too long" in answer.json()["detail"]
    nothing_stays(hosted)


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": None}, {"text": 3}, []])
def test_a_malformed_body_is_refused(hosted, body):
    assert hosted.post("/completions/openai", body).status_code == 422


def test_a_silent_provider_ends_in_504_and_a_client_that_left_leaves_nothing(hosted, provider):
    with pytest.raises(requests.Timeout):
        requests.post(hosted.api + "/completions/openai", json={"text": "[slow] and unheard"}, timeout=1)
    answer = ask(hosted, "openai", "[slow] text")
    assert answer.status_code == 504 and "within 15 s" in answer.json()["detail"]
    provider.release.set()
    nothing_stays(hosted)


def test_the_notebooks_function(hosted, monkeypatch):
    monkeypatch.syspath_prepend(pathlib.Path(__file__).resolve().parents[2] / "clients/python/src")
    monkeypatch.setenv("LUMIGATOR_SERVICE_HOST", hosted.url)
    from lumigrid import lumigator_demo
    assert lumigator_demo.get_mistral_ground_truth(TEXT).json() == {"text": "A summary of this text"}


def test_without_a_worker_the_answer_is_503_at_once():
    alone = clusters.Cluster(workers=0)
    try:
        answer = ask(alone, "openai", TEXT)
        assert answer.status_code == 503 and "no connected worker can run oai://gpt-4o-mini" in answer.json()["detail"]
        assert leftovers(alone) == "0|0|0"
    finally:
        alone.close()


def test_a_stopping_coordinator_answers_503(monkeypatch):
    provider = FakeProvider()
    monkeypatch.setenv("OPENAI_API_BASE", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", "good-key")
    cluster = clusters.Cluster(workers=1)
    answers = []
    try:
        asking = threading.Thread(target=lambda: answers.append(requests.post(cluster.api + "/completions/openai", json={"text": "[slow] text"}, timeout=60)))
        asking.start()
        clusters.wait_for("the provider to be asked", lambda: provider.seen["[slow] text"])
        cluster.coordinator.terminate()
        asking.join()
        assert answers[0].status_code == 503 and "stopping" in answers[0].json()["detail"]
    finally:
        cluster.close()
        provider.close()

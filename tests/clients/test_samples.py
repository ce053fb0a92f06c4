"""Pages of samples: what a person looks at."""
import pytest


def test_a_dataset_is_shown_page_by_page(cluster, dataset):
    first = cluster.get(f"/datasets/{dataset}/samples?limit=15").json()
    assert first["total"] == 40 and [s["index"] for s in first["items"]] == list(range(15))
    last = cluster.get(f"/datasets/{dataset}/samples?skip=35&limit=15").json()
    assert [s["index"] for s in last["items"]] == list(range(35, 40))
    assert all(s["examples"] and s["ground_truth"] and s["predictions"] is None for s in last["items"])


def test_lengths_of_a_dataset(cluster):
    id = cluster.dataset([("a" * n, "b") for n in (10, 20, 30, 210)])
    lengths = cluster.get(f"/datasets/{id}/statistics").json()
    examples = lengths["examples"]
    assert (examples["count"], examples["min"], examples["max"], examples["mean"]) == (4, 10, 210, 67.5)
    assert sum(examples["histogram"]) == 4 and examples["histogram"][:2] == [2, 1] and examples["histogram"][19] == 1
    assert lengths["ground_truth"]["histogram"][0] == 4


def test_results_are_ordered_by_a_score(cluster, finished):
    page = cluster.get(f"/jobs/{finished}/samples?order_by=rouge1&limit=40").json()
    scores = [s["scores"]["rouge1"] for s in page["items"]]
    assert page["total"] == 40 and scores == sorted(scores)
    down = cluster.get(f"/jobs/{finished}/samples?order_by=rouge1&descending=true&limit=5").json()["items"]
    assert [s["scores"]["rouge1"] for s in down] == sorted(scores, reverse=True)[:5]


def test_results_are_searched_and_texts_left_out(cluster, finished):
    some = cluster.get(f"/jobs/{finished}/samples?limit=1&skip=7").json()["items"][0]
    word = some["examples"].split()[0]
    found = cluster.get(f"/jobs/{finished}/samples", params={"search": word, "limit": 40}).json()
    assert some["index"] in [s["index"] for s in found["items"]] and found["total"] == len(found["items"]) < 40
    bare = cluster.get(f"/jobs/{finished}/samples?texts=false&limit=1").json()["items"][0]
    assert bare["examples"] is None and bare["prediction"] is None and bare["scores"] == cluster.get(f"/jobs/{finished}/samples?limit=1").json()["items"][0]["scores"]


@pytest.mark.parametrize("query,where", [("order_by=nonsense", "order_by"), ("limit=1001", "limit"), ("skip=-1", "skip"), ("descending=maybe", "descending")])
def test_wrong_questions_are_refused(cluster, finished, query, where):
    answer = cluster.get(f"/jobs/{finished}/samples?{query}")
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["query", where]


def test_unknown_ids(cluster):
    nothing = "00000000-0000-4000-8000-000000000000"
    for path in (f"/datasets/{nothing}/samples", f"/datasets/{nothing}/statistics", f"/jobs/{nothing}/samples"):
        assert cluster.get(path).status_code == 404

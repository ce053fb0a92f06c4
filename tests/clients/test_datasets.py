"""Datasets over HTTP: what is taken, what is refused and with which words, and that the bytes come back."""
import http.client
import os
import pathlib
import re
import uuid

import cluster as clusters
import pytest
import requests

NOBODY = "00000000-0000-4000-8000-000000000000"


def detail(answer):
    return answer.json()["detail"]


def total(cluster):
    return cluster.get("/datasets/").json()["total"]


def test_an_upload_is_described_listed_and_comes_back_exactly(cluster):
    data = '\ufeffid,examples,ground_truth\r\n1,"two\nlines, ""quoted""",ünï\r\n2,b,c\r\n'.encode()
    answer = cluster.upload(data, "mail threads.csv")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert set(made) == {"id", "filename", "format", "size", "ground_truth", "run_id", "generated", "generated_by", "created_at"}
    assert (made["filename"], made["format"], made["size"], made["ground_truth"]) == ("mail threads.csv", "experiment", len(data), True)
    assert cluster.get(f"/datasets/{made['id']}").json() == made
    assert cluster.get("/datasets/?limit=1").json()["items"][0] == made
    link = cluster.get(f"/datasets/{made['id']}/download").json()
    assert link["id"] == made["id"] and link["download_urls"] == [link["download_url"]]
    file = requests.get(link["download_url"], timeout=60)
    assert file.content == data
    assert "mail_threads.csv" in file.headers["Content-Disposition"]


def test_form_fields_may_follow_the_file(cluster):
    answer = requests.post(cluster.api + "/datasets", timeout=60, files={
        "dataset": ("d.csv", "examples\na\n"), "format": (None, "job"), "generated": (None, "true"), "generated_by": (None, "bart")})
    assert answer.status_code == 201, answer.text
    assert answer.json()["format"] == "job" and answer.json()["generated"] is True and answer.json()["generated_by"] == "bart"


def test_json_lines_are_taken(cluster):
    answer = cluster.upload('{"examples":"a","ground_truth":"b"}\n', "d.jsonl", "job")
    assert answer.status_code == 201 and answer.json()["ground_truth"] is True


def test_ground_truth_without_content_does_not_count(cluster):
    assert cluster.upload("examples,ground_truth\na,\nb,\n").json()["ground_truth"] is False


@pytest.mark.parametrize("data,status,words", [
    (b"", 422, "empty"),
    (b"examples\n", 422, "no rows"),
    (b"text,ground_truth\na,b\n", 403, "examples"),
    (b"examples\nok\nbad \xff byte\n", 422, "row 3: the file is not UTF-8"),
    (b"examples\n\"never closed\n", 422, "never closed"),
    (b"examples\na,b\n", 422, "row 2: more fields"),
    (b"\x89PNG\r\n\x1a\n\x00\x00", 422, "not UTF-8"),
])
def test_what_is_no_dataset_is_refused_and_leaves_nothing(cluster, data, status, words):
    before = total(cluster)
    answer = cluster.upload(data)
    assert answer.status_code == status and words in detail(answer), answer.text
    assert total(cluster) == before


def test_a_row_of_one_megabyte_is_fine(cluster):
    answer = cluster.upload("examples\n" + "x" * (1 << 20) + "\n")
    assert answer.status_code == 201, answer.text


def test_an_upload_over_the_limit_is_413_however_it_is_sent(cluster):
    before = total(cluster)
    line = b"some text of a mail that goes on,truth\n"
    data = b"examples,ground_truth\n" + line * (60 * 1000 * 1000 // len(line))
    answer = cluster.upload(data)
    assert answer.status_code == 413 and "larger than" in detail(answer)

    head = b'--XX\r\nContent-Disposition: form-data; name="dataset"; filename="d.csv"\r\n\r\n'
    chunks = (piece for piece in [head] + [data[i:i + 1000000] for i in range(0, len(data), 1000000)] + [b"\r\n--XX--"])
    answer = requests.post(cluster.api + "/datasets/", data=chunks, headers={"Content-Type": "multipart/form-data; boundary=XX"}, timeout=120)
    assert answer.status_code == 413
    assert total(cluster) == before


def test_a_form_without_its_fields_names_them(cluster):
    answer = requests.post(cluster.api + "/datasets", files={"other": ("x", "y")}, timeout=60)
    assert answer.status_code == 422
    assert [p["loc"] for p in detail(answer)] == [["body", "dataset"], ["body", "format"]]
    answer = requests.post(cluster.api + "/datasets", files={"dataset": ("x", "examples\na\n")}, timeout=60,
                           data={"format": "table", "run_id": "no-id", "generated": "perhaps"})
    assert [p["loc"][1] for p in detail(answer)] == ["format", "run_id", "generated"]


@pytest.mark.parametrize("kind,body", [
    ("multipart/form-data", b"x"),
    ("application/json", b"{}"),
    ("multipart/form-data; boundary=XX", b"no boundary"),
    ("multipart/form-data; boundary=XX", b'--XX\r\nContent-Disposition: form-data; name="dataset"; filename="a"\r\n\r\nexamples\nunfinished'),
    ("multipart/form-data; boundary=XX", b"--XX\r\n" + b"A: b\r\n" * 5000),
    ("multipart/form-data; boundary=" + "x" * 500, b"--"),
])
def test_a_malformed_form_is_422(cluster, kind, body):
    before = total(cluster)
    answer = requests.post(cluster.api + "/datasets", data=body, headers={"Content-Type": kind}, timeout=60)
    assert answer.status_code == 422 and isinstance(detail(answer), str), answer.text
    assert total(cluster) == before


def test_a_filename_cannot_lead_out(cluster):
    body = b'--XX\r\nContent-Disposition: form-data; name="dataset"; filename="../../etc/pass\x01wd"\r\n\r\nexamples\na\n\r\n' \
           b'--XX\r\nContent-Disposition: form-data; name="format"\r\n\r\njob\r\n--XX--'
    answer = requests.post(cluster.api + "/datasets", data=body, headers={"Content-Type": "multipart/form-data; boundary=XX"}, timeout=60)
    assert answer.status_code == 201 and answer.json()["filename"] == "pass_wd"


def test_an_aborted_upload_leaves_nothing(cluster):
    before = total(cluster)
    connection = http.client.HTTPConnection("127.0.0.1", cluster.http_port)
    connection.putrequest("POST", "/api/v1/datasets/")
    connection.putheader("Content-Type", "multipart/form-data; boundary=XX")
    connection.putheader("Content-Length", "10000000")
    connection.endheaders()
    connection.send(b'--XX\r\nContent-Disposition: form-data; name="dataset"; filename="a.csv"\r\n\r\nexamples\n' + b"row\n" * 100000)
    connection.close()
    assert cluster.get("/health/").status_code == 200
    assert total(cluster) == before


def test_a_deleted_dataset_is_gone(cluster):
    id = cluster.upload("examples\na\n").json()["id"]
    url = cluster.get(f"/datasets/{id}/download").json()["download_url"]
    assert cluster.session.delete(f"{cluster.api}/datasets/{id}").status_code == 204
    for answer in (cluster.get(f"/datasets/{id}"), cluster.session.delete(f"{cluster.api}/datasets/{id}/"), requests.get(url, timeout=60)):
        assert answer.status_code == 404


def test_ids_are_checked(cluster):
    answer = cluster.get("/datasets/not-an-id")
    assert answer.status_code == 422
    assert detail(answer) == [{"type": "uuid_parsing", "loc": ["path", "dataset_id"], "msg": "Input should be a valid UUID", "input": "not-an-id"}]
    assert cluster.get(f"/datasets/{NOBODY}").status_code == 404
    id = cluster.upload("examples\na\n").json()["id"]
    assert cluster.get(f"/datasets/{uuid.UUID(id).hex.upper()}").json()["id"] == id


def test_forged_and_expired_downloads_are_refused(cluster, dataset):
    url = cluster.get(f"/datasets/{dataset}/download").json()["download_url"]
    assert requests.get(url, timeout=60).status_code == 200
    for forged in (url[:-1] + ("A" if url[-1] != "A" else "B"), url.replace("expires=", "expires=9"), url.replace(dataset, NOBODY)):
        answer = requests.get(forged, timeout=60)
        assert answer.status_code == 403 and "signature" in detail(answer)
    assert requests.get(url.split("?")[0], timeout=60).status_code == 422


def peak_bytes(process):
    status = pathlib.Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) * 1024


def test_a_large_upload_takes_constant_memory(monkeypatch):
    """48 MB through a coordinator whose peak grows by much less. (With 1 GB: build/bench/api --upload-mb 1024.)"""
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1")  # else what is freed stays
    own = clusters.Cluster(workers=0, coordinator_arguments=("--upload-max", "100MiB"))
    try:
        assert own.upload(b"examples\n" + b"warm\n" * 100000).status_code == 201
        before, row = peak_bytes(own.coordinator), b"x" * 999 + b"\n"

        def form():
            yield b'--b\r\nContent-Disposition: form-data; name="format"\r\n\r\njob\r\n--b\r\nContent-Disposition: form-data; name="dataset"; filename="d.csv"\r\n\r\nexamples\n'
            for _ in range(48):
                yield row * 1000
            yield b"\r\n--b--\r\n"
        answer = requests.post(own.api + "/datasets/", data=form(), headers={"Content-Type": "multipart/form-data; boundary=b"}, timeout=600)
        assert answer.status_code == 201, answer.text
        assert answer.json()["size"] == 9 + 48 * 1000 * 1000
        assert peak_bytes(own.coordinator) - before < 16 << 20
    finally:
        own.close()

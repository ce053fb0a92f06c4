"""HTTP itself: methods, headers, limits, pages, health, administration, tokens."""
import http.client
import socket

import cluster as clusters
import pytest
import requests

NOBODY = "00000000-0000-4000-8000-000000000000"


def test_health_says_where_it_runs(cluster):
    for path in ("/health", "/health/"):
        answer = cluster.get(path, allow_redirects=False)
        assert answer.status_code == 200 and answer.json() == {"status": "OK", "deployment_type": "local"}
    assert cluster.get("/health/deployments/").json() == {}
    assert requests.get(cluster.url + "/livez", timeout=60).status_code == 200
    assert requests.get(cluster.url + "/readyz", timeout=60).json() == {"ready": True}


def test_methods_that_a_path_does_not_have_are_named(cluster):
    answer = cluster.session.put(cluster.api + "/datasets/")
    assert answer.status_code == 405 and answer.headers["Allow"] == "POST, GET, HEAD, OPTIONS"
    answer = cluster.session.options(cluster.api + "/datasets/")
    assert answer.status_code == 204 and "GET" in answer.headers["Allow"]
    head = cluster.session.head(cluster.api + "/health/")
    assert head.status_code == 200 and head.content == b"" and int(head.headers["Content-Length"]) > 0
    assert cluster.get("/nothing").status_code == 404 and cluster.get("/nothing").json() == {"detail": "Not Found"}


def test_request_ids_are_echoed_and_logged(cluster):
    answer = cluster.get("/nothing", headers={"X-Request-ID": "my-own.id:1"})
    assert answer.headers["X-Request-ID"] == "my-own.id:1"
    clusters.wait_for("the log line", lambda: "my-own.id:1" in cluster.coordinator.text())
    made = cluster.get("/health").headers["X-Request-ID"]
    assert made and cluster.get("/health").headers["X-Request-ID"] != made
    assert cluster.get("/health", headers={"X-Request-ID": "x" * 500}).headers["X-Request-ID"] != "x" * 500


def test_one_connection_serves_many_requests(cluster):
    connection = http.client.HTTPConnection("127.0.0.1", cluster.http_port, timeout=60)
    for path in ("/api/v1/health", "/api/v1/nothing", "/api/v1/datasets/x", "/readyz") * 25:
        connection.request("GET", path)
        connection.getresponse().read()
        assert connection.sock is not None  # kept alive
    connection.close()


def raw(cluster, data):
    """Sends bytes and returns all that comes back until the server closes.

    A server that has seen enough answers and closes while bytes still come; then sending, and even reading its answer, ends
    with a reset.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", cluster.http_port), timeout=60) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:
            pass
        try:
            while piece := sock.recv(65536):
                answer += piece
        except ConnectionError:
            pass
    return answer


@pytest.mark.parametrize("data", [
    b"GARBAGE\r\n\r\n",
    b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /%00%00/../api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/datasets/%zz%2e%2e%2f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /api/v1/experiments HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0" * 1000,
], ids=lambda data: repr(data[:24]))
def test_hostile_bytes_never_stop_the_server(cluster, data):
    answer = raw(cluster, data)
    assert answer == b"" or answer.split()[1][:1] == b"4"
    assert cluster.get("/health").status_code == 200


def test_a_flood_of_headers_is_refused(cluster):
    flood = b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 100) for i in range(2000)) + b"\r\n"
    answer = raw(cluster, flood)
    assert answer == b"" or answer.split()[1] in (b"413", b"431")
    assert cluster.get("/health").status_code == 200


def test_a_body_without_length_is_411_and_one_too_long_413(cluster):
    answer = raw(cluster, b"POST /api/v1/experiments HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.split()[1] == b"411"
    answer = cluster.session.post(cluster.api + "/experiments", data=b" " * (2 << 20), timeout=60)
    assert answer.status_code == 413


def test_chunked_bodies_are_read(cluster):
    answer = cluster.session.post(cluster.api + "/experiments", data=iter([b'{"na', b'me": 1}']), timeout=60)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "name"]


def test_query_parameters_are_checked(cluster):
    answer = cluster.get("/datasets?skip=-1&limit=many")
    assert answer.status_code == 422
    assert [p["loc"] for p in answer.json()["detail"]] == [["query", "skip"], ["query", "limit"]]
    assert cluster.get("/models?tasks=juggling").status_code == 400
    assert cluster.get("/models?tasks=summarization").json()["total"] > 0


def test_the_description_is_complete_and_the_pages_need_no_one_else(cluster):
    api = requests.get(cluster.url + "/openapi.json", timeout=60).json()
    assert api["openapi"] == "3.1.0"

    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            for member in value.values():
                yield from references(member)
        elif isinstance(value, list):
            for member in value:
                yield from references(member)
    for reference in references(api):
        assert reference.rsplit("/", 1)[1] in api["components"]["schemas"]
    for path in ("/", "/docs", "/docs/", "/static/app.js", "/static/docs.js", "/static/style.css"):
        answer = requests.get(cluster.url + path, timeout=60)
        assert answer.status_code == 200 and "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "https://" not in answer.text and "http://" not in answer.text


def test_metrics_are_in_prometheus_format(cluster):
    lines = requests.get(cluster.url + "/metrics", timeout=60).text.splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
    assert values["lumigrid_workers"] == 2 and values["lumigrid_http_requests_total"] > 0


def test_secrets_never_come_back(cluster):
    name, path = "API_KEY-1", "/settings/secrets/API_KEY-1"
    put = lambda value: cluster.session.put(cluster.api + path, json={"value": value, "description": "a key"}, timeout=60)
    assert put("first-secret").status_code == 201
    assert put("second-secret").status_code == 204
    listing = cluster.get("/settings/secrets/")
    assert listing.json()["items"] == [{"name": name, "description": "a key"}] and "secret" not in listing.text
    stored = cluster.postgres.query("SELECT encode(sealed, 'escape') FROM secret")
    assert stored and "second-secret" not in stored
    assert put("x" * 1025).status_code == 422 and put("").status_code == 422
    assert cluster.session.put(cluster.api + "/settings/secrets/a%20b", json={"value": "v", "description": ""}, timeout=60).status_code == 422
    assert cluster.session.delete(cluster.api + path).status_code == 204
    assert cluster.session.delete(cluster.api + path).status_code == 404
    assert "second-secret" not in cluster.coordinator.text()


def test_workers_are_drained_and_resumed(cluster):
    worker = cluster.online()[0]
    assert {"id", "host", "pid", "devices", "slots", "tasks", "metrics", "schemes", "seen_at"} <= set(worker)
    assert cluster.post(f"/cluster/workers/{worker['id']}/drain").status_code == 200
    assert cluster.get(f"/cluster/workers/{worker['id']}").json()["state"] == "draining"
    assert cluster.post(f"/cluster/workers/{worker['id']}/resume").status_code == 200
    assert cluster.get(f"/cluster/workers/{worker['id']}").json()["state"] == "online"
    for action in ("drain", "resume", "evict"):
        assert cluster.post(f"/cluster/workers/{NOBODY}/{action}").status_code == 404
    status = cluster.get("/cluster/status").json()
    assert status["workers"] == 2 and status["database"] == "active"


def test_tokens_guard_by_role():
    guarded = clusters.Cluster(start=False)
    try:
        guarded.postgres.start()
        guarded.start_coordinator("--auth", "on", "--cors-origins", "https://page.example")
        admin = (guarded.folder / "data/admin.token").read_text().strip()
        as_ = lambda token: {"Authorization": f"Bearer {token}"}
        assert guarded.get("/health").status_code == 200
        answer = guarded.get("/datasets")
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert guarded.get("/datasets", headers=as_("lg_wrong")).status_code == 401
        made = {}
        for role in ("viewer", "user", "admin"):
            answer = guarded.post("/auth/tokens", {"name": f"a {role}", "role": role}, headers=as_(admin))
            assert answer.status_code == 201, answer.text
            made[role] = answer.json()
        assert made["viewer"]["token"] not in guarded.get("/auth/tokens", headers=as_(admin)).text
        assert made["viewer"]["token"] not in guarded.postgres.query("SELECT t::text FROM token t")
        assert guarded.get("/datasets", headers=as_(made["viewer"]["token"])).status_code == 200
        form = {"files": {"dataset": ("d.csv", "examples\na\n"), "format": (None, "job")}, "timeout": 60}
        assert requests.post(guarded.api + "/datasets", headers=as_(made["viewer"]["token"]), **form).status_code == 403
        uploaded = requests.post(guarded.api + "/datasets", headers=as_(made["user"]["token"]), **form)
        assert uploaded.status_code == 201
        url = guarded.get(f"/datasets/{uploaded.json()['id']}/download", headers=as_(made["viewer"]["token"])).json()["download_url"]
        assert requests.get(url, timeout=60).text == "examples\na\n"  # signed: no token needed
        assert guarded.get("/auth/tokens", headers=as_(made["user"]["token"])).status_code == 403
        assert guarded.session.delete(f"{guarded.api}/auth/tokens/{made['user']['id']}", headers=as_(made["admin"]["token"])).status_code == 204
        assert guarded.get("/datasets", headers=as_(made["user"]["token"])).status_code == 401
        assert made["user"]["token"] not in guarded.coordinator.text() and admin not in guarded.coordinator.text()

        answer = guarded.get("/health", headers={"Origin": "https://page.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"
        assert "Access-Control-Allow-Origin" not in guarded.get("/health", headers={"Origin": "https://evil.example"}).headers
    finally:
        guarded.close()


def test_while_postgres_is_away_readiness_says_so_and_requests_end_clearly():
    lonely = clusters.Cluster(workers=0)
    try:
        lonely.postgres.kill()
        def not_ready():
            answer = requests.get(lonely.url + "/readyz", timeout=60)
            return answer.json() if answer.status_code == 503 else None
        assert "Postgres" in clusters.wait_for("readiness to end", not_ready)["reason"]
        assert lonely.get("/health").status_code == 200
        answer = lonely.upload("examples\na\n")
        assert answer.status_code == 503 and "Postgres" in answer.json()["detail"]
        assert lonely.get("/datasets").status_code == 503
        lonely.postgres.start()
        clusters.wait_for("readiness", lambda: requests.get(lonely.url + "/readyz", timeout=60).status_code == 200)
        assert lonely.get("/datasets").status_code == 200
    finally:
        lonely.close()

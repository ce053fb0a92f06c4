"""Keys, TLS, the audit log, other origins, other hosts, slow and oversized requests."""
import contextlib
import json
import socket
import ssl
import subprocess

import cluster as clusters
import pytest
import requests

NOBODY = "00000000-0000-4000-8000-000000000000"


@contextlib.contextmanager
def alone(*arguments, workers=0, start=True):
    """A cluster of its own, with these coordinator options."""
    made = clusters.Cluster(start=False)
    try:
        made.postgres.start()
        if start:
            made.start_coordinator(*arguments)
        for _ in range(workers):
            made.start_worker()
        if workers:
            made.wait_workers(workers)
        yield made
    finally:
        made.close()


# -- the master key --

def put_secret(cluster, name, value):
    return cluster.session.put(f"{cluster.api}/settings/secrets/{name}", json={"value": value, "description": ""}, timeout=60).status_code


def sealed(cluster):
    return dict(line.split("|") for line in cluster.postgres.query("SELECT name, encode(sealed, 'hex') FROM secret").split("\n"))


def rotate(cluster, check=True):
    return subprocess.run([clusters.COORDINATOR, "key", "rotate", "--data", cluster.folder / "data"], capture_output=True, text=True, check=check)


def test_the_master_key_is_rotated():
    with alone() as cluster:
        previous = cluster.folder / "data/master.key.previous"
        for name in ("a", "b"):
            assert put_secret(cluster, name, "value of " + name) == 201
        dataset = cluster.upload("examples\nx\n").json()["id"]
        url = cluster.get(f"/datasets/{dataset}/download").json()["download_url"]
        before, key = sealed(cluster), (cluster.folder / "data/master.key").read_bytes()
        cluster.coordinator.terminate()
        rotate(cluster)
        assert previous.read_bytes() == key != (cluster.folder / "data/master.key").read_bytes()
        assert previous.stat().st_mode & 0o777 == 0o600
        refused = rotate(cluster, check=False)
        assert refused.returncode == 1 and "not over" in refused.stderr and previous.read_bytes() == key
        cluster.start_coordinator()
        clusters.wait_for("the end of the rotation", lambda: not previous.exists())
        after = sealed(cluster)
        assert set(after) == set(before) and not set(after.values()) & set(before.values())
        assert requests.get(url, timeout=60).status_code == 403  # what the old key signed is over
        # A job that names a secret gets it opened: nothing was lost.
        cluster.start_worker()
        cluster.wait_workers(1)
        job = cluster.post("/jobs/inference/", {"name": "j", "dataset": dataset, "job_config": {"provider": "hf", "model": "sim://", "secret_key_name": "a"}}).json()["id"]
        clusters.wait_for("the job", lambda: cluster.get(f"/jobs/{job}").json()["status"] in ("succeeded", "failed"))
        assert cluster.get(f"/jobs/{job}").json()["status"] == "succeeded"
        rotate(cluster)  # and once more


def test_a_rotation_that_was_cut_off_is_ended_by_the_next_start():
    """One secret is sealed with the new key already, one still with the old: as a kill in the middle leaves them."""
    with alone() as cluster:
        put_secret(cluster, "old", "v")
        cluster.coordinator.terminate()
        rotate(cluster)
        half = sealed(cluster)["old"]
        cluster.start_coordinator()
        put_secret(cluster, "new", "v")
        clusters.wait_for("the end of the rotation", lambda: not (cluster.folder / "data/master.key.previous").exists())
        assert sealed(cluster)["old"] != half and set(sealed(cluster)) == {"old", "new"}


def test_a_secret_that_no_key_opens_keeps_the_previous_key():
    with alone() as cluster:
        put_secret(cluster, "good", "v")
        cluster.postgres.query("INSERT INTO secret (name, sealed) VALUES ('broken', '\\x00112233')")
        before = sealed(cluster)["good"]
        cluster.coordinator.terminate()
        rotate(cluster)
        cluster.start_coordinator()
        clusters.wait_for("the secret", lambda: sealed(cluster)["good"] != before)
        clusters.wait_for("the warning", lambda: "previous master key is kept" in cluster.coordinator.text())
        assert (cluster.folder / "data/master.key.previous").exists()


# -- TLS --

@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    return folder


def test_https(certificate):
    with alone(start=False) as cluster:
        cluster.start_coordinator("--tls-cert", certificate / "cert.pem", "--tls-key", certificate / "key.pem", ready=False)
        cluster.session.verify, cluster.session.trust_env = str(certificate / "cert.pem"), False  # else the environment's bundle wins
        api = cluster.api = cluster.api.replace("http://", "https://")

        def ready():
            with contextlib.suppress(requests.ConnectionError):
                return cluster.session.get(api.replace("/api/v1", "/readyz"), timeout=60).status_code == 200
        clusters.wait_for("the coordinator", ready)
        text = "examples\n" + "".join(f"line {i} {'x' * 200}\n" for i in range(20000))
        dataset = cluster.upload(text).json()["id"]
        url = cluster.get(f"/datasets/{dataset}/download").json()["download_url"]
        assert url.startswith("https://127.0.0.1:")
        assert cluster.session.get(url, timeout=60).text == text
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{cluster.http_port}/api/v1/health", timeout=60)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with contextlib.suppress(ValueError, ssl.SSLError):
            old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", cluster.http_port)) as raw, pytest.raises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(raw)


@pytest.mark.parametrize("arguments, words", [(["--tls-cert", "{folder}/cert.pem"], "--tls-key"), (["--tls-cert", "/nowhere.pem", "--tls-key", "{folder}/key.pem"], "/nowhere.pem"),
                                              (["--tls-cert", "{folder}/key.pem", "--tls-key", "{folder}/cert.pem"], "key.pem")])
def test_a_certificate_that_cannot_be_used_is_said(certificate, arguments, words):
    with alone(start=False) as cluster:
        coordinator = cluster.start_coordinator(*[a.format(folder=certificate) for a in arguments], ready=False)
        assert coordinator.wait() == 2 and words in coordinator.text()


# -- who did what --

def test_changes_and_refusals_are_in_the_audit_log():
    with alone("--auth", "on") as cluster:
        admin = {"Authorization": "Bearer " + (cluster.folder / "data/admin.token").read_text().strip()}
        token = cluster.post("/auth/tokens", {"name": "carla", "role": "viewer"}, headers=admin).json()["token"]
        carla = {"Authorization": f"Bearer {token}", "X-Request-ID": "try-1"}
        assert cluster.session.delete(f"{cluster.api}/datasets/{NOBODY}", headers=carla, timeout=60).status_code == 403
        assert cluster.get("/datasets", headers=carla).status_code == 200
        assert cluster.get("/datasets").status_code == 401
        assert cluster.get("/auth/audit", headers=carla).status_code == 403

        def entries():
            listed = cluster.get("/auth/audit", headers=admin).json()["items"]
            return listed if len(listed) >= 4 else None
        seen = [(e["actor"], e["role"], e["method"], e["path"].rstrip("/"), e["status"]) for e in clusters.wait_for("the log", entries)]
        assert seen == [("carla", "viewer", "GET", "/api/v1/auth/audit", 403), ("-", "nobody", "GET", "/api/v1/datasets", 401),
                        ("carla", "viewer", "DELETE", f"/api/v1/datasets/{NOBODY}", 403), ("admin", "admin", "POST", "/api/v1/auth/tokens", 201)]
        first = cluster.get("/auth/audit", params={"limit": 1, "skip": 2}, headers=admin).json()
        assert first["total"] == 4 and first["items"][0]["request_id"] == "try-1" and first["items"][0]["address"] == "127.0.0.1"
        assert token not in cluster.postgres.query("SELECT string_agg(a::text, ' ') FROM audit a")


# -- other origins --

def test_a_page_of_another_origin_asks_first():
    with alone("--cors-origins", "https://page.example") as cluster:
        ask = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
        answer = requests.options(cluster.api + "/datasets/", headers=ask, timeout=60)
        assert answer.status_code == 204 and answer.headers["Access-Control-Allow-Origin"] == "https://page.example"
        assert "POST" in answer.headers["Access-Control-Allow-Methods"] and "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        evil = requests.options(cluster.api + "/datasets/", headers={**ask, "Origin": "https://evil.example"}, timeout=60)
        assert "Access-Control-Allow-Origin" not in evil.headers


# -- other hosts --

INSIDE = ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/v1", "http://localhost.evil.example/v1", "http://127.0.0.1@evil.example/v1", "http://evil.example#@127.0.0.1/",
          "http://[::ffff:10.0.0.1]/v1", "file:///etc/passwd", "gopher://127.0.0.1/", "http://evil.example\\@127.0.0.1/v1", "http:///v1"]


@pytest.mark.parametrize("url", INSIDE)
def test_users_urls_name_allowed_hosts_only(cluster, dataset, url):
    bodies = [("/experiments/", {"name": "n", "dataset": dataset, "model": "oai://m", "model_url": url}),
              ("/jobs/inference/", {"name": "n", "dataset": dataset, "job_config": {"model": "m", "provider": "hosted_vllm", "base_url": url}}),
              ("/jobs/evaluator/", {"name": "n", "dataset": dataset, "job_config": {"llm_as_judge": {"model_name": "m", "model_base_url": url}}})]
    for path, body in bodies:
        answer = cluster.post(path, body)
        assert answer.status_code == 422, (path, answer.text)
        assert any(p["loc"][-1] in ("model_url", "base_url", "llm_as_judge") for p in answer.json()["detail"]), answer.text


# -- too slow, too much, out of its folder --

def test_a_body_that_stops_coming_is_cut_off_and_leaves_nothing():
    with alone("--request-timeout-s", "1") as cluster:
        head = ("POST /api/v1/datasets/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n"
                '--b\r\nContent-Disposition: form-data; name="dataset"; filename="d.csv"\r\n\r\nexamples\nfirst\n')
        with socket.create_connection(("127.0.0.1", cluster.http_port)) as slow:
            slow.settimeout(clusters.PATIENCE_S)
            slow.sendall(head.encode())
            with contextlib.suppress(ConnectionError):
                while slow.recv(4096):
                    pass  # until it is cut off
        with socket.create_connection(("127.0.0.1", cluster.http_port)) as slow:  # headers that stop coming
            slow.settimeout(clusters.PATIENCE_S)
            slow.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            with contextlib.suppress(ConnectionError):
                while slow.recv(4096):
                    pass
        assert cluster.get("/datasets/").json()["total"] == 0
        assert cluster.postgres.query("SELECT count(*) FROM sample") == "0"


@pytest.mark.parametrize("path", ["/static/../../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/api/v1/datasets/..%2f..%2fetc%2fpasswd", "/static/..%00/app.js", "//etc/passwd"])
def test_paths_lead_nowhere_else(cluster, path):
    with socket.create_connection(("127.0.0.1", cluster.http_port)) as raw:
        raw.settimeout(clusters.PATIENCE_S)
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := raw.recv(65536):
            answer += piece
    assert answer.split(b" ", 2)[1] in (b"400", b"404", b"422") and b"root:" not in answer


def test_json_that_is_too_large_or_too_deep(cluster):
    large = cluster.session.post(cluster.api + "/experiments/", data=json.dumps({"name": "x" * (2 << 20)}), timeout=60)
    assert large.status_code == 413
    deep = cluster.session.post(cluster.api + "/experiments/", data='{"a":' * 50000 + "1" + "}" * 50000, timeout=60)
    assert deep.status_code == 422

"""deploy/helm and deploy/kustomize without a cluster: linted, rendered, validated against Kubernetes' own schemas, held to policies."""
import base64
import http.server
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="PyPI's helm-python-sdk has no wheel for this platform")
import kubernetes_validate  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LUMIGRID_BUILD", ROOT / "build"))
CHART = ROOT / "deploy/helm/lumigrid"
KUSTOMIZE = ROOT / "deploy/kustomize"
GOLDEN = ROOT / "tests/golden/kubernetes"
VERSIONS = ("1.29", "1.33", "1.37")
KUBECTL = shutil.which("kubectl", path=f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load("make", GOLDEN / "make.py")
OVERLAYS = ("cpu", "gpu", "dev")


def rendered(case):
    if case in OVERLAYS:
        text = subprocess.run([KUBECTL, "kustomize", KUSTOMIZE / "overlays" / case], check=True, capture_output=True, text=True).stdout
        return [d for d in yaml.safe_load_all(text) if d]
    return [d for name, text in make.render(make.CASES[case]).items() if name.endswith(".yaml") for d in yaml.safe_load_all(text) if d]


@pytest.fixture(scope="module", params=[*make.CASES, *OVERLAYS])
def documents(request):
    if request.param in OVERLAYS and not KUBECTL:
        pytest.skip("kubectl is not installed")
    return rendered(request.param)


def pods(documents):
    """(name, kind, pod spec) of everything that runs."""
    for document in documents:
        if document["kind"] == "Pod":
            yield document["metadata"]["name"], "Pod", document["spec"]
        elif "template" in document.get("spec", {}):
            yield document["metadata"]["name"], document["kind"], document["spec"]["template"]["spec"]


def containers(documents):
    for name, kind, pod in pods(documents):
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            yield f"{name}/{container['name']}", container


def test_lint():
    report = helm.lint(str(CHART), strict=True, namespace="lumigrid")
    assert not report["errors"] and not [m for m in report["messages"] if m["severity"] > 1], report
    version = re.search(r"project\(lumigrid VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == version


@pytest.mark.parametrize("case", make.CASES)
def test_golden(case):
    assert make.text(make.CASES[case]) == (GOLDEN / f"{case}.yaml").read_text(), "after a change that is meant: tests/golden/kubernetes/make.py"


def test_kustomize_base_is_what_the_chart_says():
    render = load("render", KUSTOMIZE / "render.py")
    for path, text in render.render().items():
        assert (KUSTOMIZE / path).read_text() == text, "run deploy/kustomize/render.py"


@pytest.mark.parametrize("values,words", [
    ({"coordinator": {"replicas": 0}}, "replicas"),
    ({"coordinator": {"colour": "red"}}, "colour"),
    ({"coordinator": {"image": {"tag": "latest"}}}, "tag"),
    ({"coordinator": {"admittedWorkers": {"node": "short"}}}, "node"),
    ({"workers": {"gpu": {"kind": "Deployment"}}}, "kind"),
    ({"workerDefaults": {"resources": {"limits": {"memory": None}}}}, "memory"),
    ({"workers": {"cpu": {"kind": "DaemonSet", "autoscaling": {"enabled": True}}}}, "only a StatefulSet"),
    ({"workers": {"cpu": {"cache": {"type": "shared"}}}}, "existingClaim"),
    ({"workers": {"cpu": {"autoscaling": {"enabled": True}}}}, "metricsToken.name is missing"),
    ({"serviceMonitor": {"enabled": True}}, "metricsToken.name is missing"),
    ({"postgres": {"bundled": False}}, "postgres.external"),
    ({"secrets": {"create": False}}, "secrets.coordinator"),
])
def test_bad_values_are_refused_with_what_is_wrong(values, words):
    with pytest.raises(helm.HelmError, match=words):
        with helm.Chart.load(str(CHART)) as chart:
            chart.validate_schema(chart.merge_values(values))
            chart.render(values, name="eval", namespace="lumigrid")


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(documents, version):
    known = [d for d in documents if d["apiVersion"].split("/")[0] not in ("keda.sh", "monitoring.coreos.com")]
    assert known
    for document in known:
        kubernetes_validate.validate(document, version, strict=True)


def test_every_pod_is_restricted(documents):
    """The restricted Pod Security Standard, and: no rights, pinned images, limits, nothing writable but volumes."""
    for name, kind, pod in pods(documents):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] > 0 and security["seccompProfile"]["type"] == "RuntimeDefault", name
        assert pod["enableServiceLinks"] is False, f"{name}: a service called lumigrid would set LUMIGRID_PORT"
        assert pod["automountServiceAccountToken"] is (kind == "Job"), name
        assert not any(pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC"))
        for volume in pod.get("volumes", ()):
            assert set(volume) - {"name"} <= {"configMap", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}, volume
    for name, container in containers(documents):
        security = container["securityContext"]
        assert security == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}, name
        assert re.search(r":(\d[\w.-]*|dev)$", container["image"]), f"{name}: {container['image']}"
        assert {"cpu", "memory"} <= set(container["resources"]["limits"]) and {"cpu", "memory"} <= set(container["resources"]["requests"]), name


def test_what_runs_for_long_is_probed(documents):
    for name, kind, pod in pods(documents):
        if kind not in ("Job", "Pod"):
            assert all("readinessProbe" in c for c in pod["containers"]), name


def test_only_the_secrets_job_has_rights(documents):
    for binding in (d for d in documents if "Binding" in d["kind"]):
        assert [s["name"] for s in binding["subjects"]] == [binding["metadata"]["name"]] and binding["metadata"]["name"].endswith("make-secrets")
    for role in (d for d in documents if d["kind"] in ("Role", "ClusterRole")):
        assert role["kind"] == "Role" and all(rule["resources"] == ["secrets"] and set(rule["verbs"]) <= {"create", "get"} for rule in role["rules"])


def test_first_generation_clients_find_the_service(documents):
    """They read LUMIGATOR_SERVICE_HOST, which Kubernetes sets for a service called lumigator, and speak to port 80."""
    service = next(d for d in documents if d["kind"] == "Service" and d["metadata"]["name"] == "lumigator")
    assert service["spec"]["ports"][0]["port"] == 80


def test_selectors_and_names_meet(documents):
    """Every service, policy and budget selects a pod; every claim, secret, config map and account that a pod names is there or is made."""
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in documents if "template" in d.get("spec", {})]
    for document in documents:
        spec = document.get("spec", {})
        chosen = spec.get("selector") if document["kind"] == "Service" else (spec.get("podSelector") or spec.get("selector") or {}).get("matchLabels")
        if document["kind"] in ("Service", "NetworkPolicy", "PodDisruptionBudget"):
            assert any(chosen.items() <= l.items() for l in labels), document["metadata"]["name"]
    names = {(d["kind"], d["metadata"]["name"]) for d in documents}
    for name, kind, pod in pods(documents):
        assert ("ServiceAccount", pod["serviceAccountName"]) in names, name
        mounted = {m["name"] for c in [*pod.get("initContainers", ()), *pod["containers"]] for m in c.get("volumeMounts", ())}
        volumes = {v["name"] for v in pod.get("volumes", ())}
        claims = {c["metadata"]["name"] for d in documents if d["metadata"]["name"] == name for c in d.get("spec", {}).get("volumeClaimTemplates", ())}
        assert mounted == volumes | claims, name


def test_settings_are_options_of_the_programs(documents):
    options = {p: subprocess.run([BUILD / f"{p}/lumigrid-{p}", "--help"], check=True, capture_output=True, text=True).stdout for p in ("coordinator", "worker")}
    for name, container in containers(documents):
        for variable in container.get("env", ()) if container["name"] in options else ():
            if variable["name"].startswith("LUMIGRID_"):
                option = "--" + variable["name"].removeprefix("LUMIGRID_").lower().replace("_", "-")
                assert f"{option} " in options[container["name"]], f"{name}: {option}"


# ---- the job that makes the secrets ----

class FakeApi(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self):
        self.server.seen.append(self.headers["Authorization"])
        name = self.path.rsplit("/", 1)[1]
        self.answer(*((403, {"message": "forbidden"}) if self.server.forbidden else (200, {}) if name in self.server.secrets else (404, {})))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/api/v1/namespaces/team/secrets"
        self.server.secrets[body["metadata"]["name"]] = body["data"]
        self.answer(201, body)

    def log_message(self, *_):
        pass


@pytest.fixture
def api(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeApi)
    server.secrets, server.seen, server.forbidden = {}, [], False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    account = tmp_path / "account"
    account.mkdir()
    (account / "namespace").write_text("team")
    (account / "token").write_text("the-token")
    (account / "ca.crt").write_text("")
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "lumigrid").symlink_to(BUILD / "coordinator/lumigrid")

    def run(*names):
        return subprocess.run(["bash", ROOT / "deploy/docker/make-secrets.sh", *names], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "PATH": f"{bin}:{os.environ['PATH']}", "SERVICE_ACCOUNT_DIR": str(account),
                                   "KUBERNETES_API": f"http://127.0.0.1:{server.server_address[1]}", "no_proxy": "127.0.0.1"})
    server.run = run
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_secrets_are_made_once_and_fit_what_mounts_them(api, tmp_path):
    done = api.run("coord", "work", "pg")
    assert done.returncode == 0, done.stderr
    assert set(api.seen) == {"Bearer the-token"}
    first = {name: {k: base64.b64decode(v) for k, v in data.items()} for name, data in api.secrets.items()}
    assert {n: set(d) for n, d in first.items()} == {"coord": {"coordinator.key", "worker.pub", "master.key", "admin.token"},
                                                    "work": {"worker.key", "coordinator.pub"}, "pg": {"password"}}
    assert len(first["coord"]["master.key"]) == 32 and re.fullmatch(rb"lg_[\w-]{43}\n", first["coord"]["admin.token"])
    assert first["work"]["coordinator.pub"].strip() in first["coord"]["coordinator.key"] and first["coord"]["worker.pub"].strip() in first["work"]["worker.key"]
    before = dict(api.secrets)
    assert api.run("coord", "work", "pg").returncode == 0 and api.secrets == before
    wanted = {item for d in rendered("default") if d["kind"] == "Deployment" for c in d["spec"]["template"]["spec"]["initContainers"]
              for item in re.findall(r"[a-z]+\.(?:key|token|pub)", " ".join(c["command"]))}
    assert wanted <= set(first["coord"])


@pytest.mark.parametrize("there,words", [(["coord"], "they belong together"), (["work"], "they belong together")])
def test_half_of_the_secrets_is_an_error_that_says_what_to_do(api, there, words):
    api.secrets.update({name: {} for name in there})
    done = api.run("coord", "work")
    assert done.returncode == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_missing_rights_are_an_error_that_names_them(api):
    api.forbidden = True
    done = api.run("coord", "work")
    assert done.returncode == 1 and "HTTP 403" in done.stderr and "forbidden" in done.stderr


def test_the_gpu_pool_asks_for_gpus_and_stays_on_their_nodes():
    gpu = next(d for d in rendered("full") if d["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert gpu["nodeSelector"] == {"nvidia.com/gpu.present": "true"} and gpu["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "worker-cuda:" in gpu["containers"][0]["image"]

"""deploy/monitoring: every expression is one, and every series in it is among those of a running coordinator's /metrics."""
import importlib.util
import json
import pathlib
import re
import shutil
import subprocess

import pytest
import requests
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
RULES = [rule for group in yaml.safe_load((MONITORING / "lumigrid.rules.yaml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expressions():
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*")
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"].replace("$job", ".*")


@pytest.fixture(scope="module")
def metrics():
    """{name: type} of a real coordinator."""
    cluster = load("cluster_for_monitoring", ROOT / "tests/cluster/cluster.py").Cluster(workers=0)
    try:
        text = requests.get(cluster.url + "/metrics", timeout=10).text
    finally:
        cluster.close()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


def test_expressions_are_promql_over_real_series(metrics):
    promql_parser = pytest.importorskip("promql_parser", reason="PyPI's promql-parser has no wheel for this platform")
    for where, text in expressions():
        names = set(re.findall(r"\blumigrid_\w+", promql_parser.parse(text).prettify()))
        assert names and names <= set(metrics), f"{where}: {names - set(metrics)}"
        for name in names:  # a counter only means something inside rate, increase or resets, and a gauge never does
            within = re.search(r"\b(rate|increase)\(" + name + r"(\{[^}]*\})?\[", text) is not None
            assert within == (metrics[name] == "counter"), f"{where}: {name} is a {metrics[name]}"


def test_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    ids = [p["id"] for p in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_every_alert_is_explained():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    for rule in RULES:
        assert rule["annotations"]["summary"] and rule["annotations"]["description"] and rule["labels"]["severity"]
        assert rule["alert"] in page, f"docs/troubleshooting.md does not say what to do about {rule['alert']}"


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian's package prometheus) is not installed")
def test_alerts_fire_when_they_should():
    done = subprocess.run(["promtool", "test", "rules", "lumigrid.rules.test.yaml"], cwd=MONITORING, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

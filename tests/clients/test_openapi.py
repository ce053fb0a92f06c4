"""The API's description: committed, so that a change shows in review, and true, which schemathesis tries to refute."""
import json
import os
import pathlib
import subprocess
import sys

import cluster as clusters
from fake_provider import FakeProvider

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "docs/openapi.json"
EXAMPLES_MAX = 25  # of each operation and phase


def test_the_committed_description_is_the_one_served(cluster):
    """After a change: curl -s localhost:8000/openapi.json > docs/openapi.json, and read the difference."""
    assert cluster.session.get(cluster.url + "/openapi.json", timeout=60).json() == json.loads(COMMITTED.read_text())


def test_schemathesis_finds_nothing(tmp_path, monkeypatch):
    provider = FakeProvider()  # completions are answered by it
    for name in ("OPENAI", "MISTRAL"):
        monkeypatch.setenv(f"{name}_API_BASE", provider.url)
        monkeypatch.setenv(f"{name}_API_KEY", "good-key")
    fuzzed = clusters.Cluster(workers=1, coordinator_arguments=("--deployment-model", f"file://{ROOT}/deploy/local/models/toy-t5"))
    try:
        report = tmp_path / "report.txt"
        with open(report, "wb") as output:
            status = subprocess.run(
                [pathlib.Path(sys.executable).with_name("schemathesis"), "run", fuzzed.url + "/openapi.json", "--checks", "all", "--phases", "examples,coverage,fuzzing",
                 "--max-examples", str(EXAMPLES_MAX), "--workers", "1", "--seed", "1", "--generation-deterministic", "--request-timeout", "30",
                 # Events stream until a job's end; without its worker nothing answers; a model reference has more rules than a pattern.
                 "--exclude-path-regex", "/events$|/(drain|evict)$|/ground-truth/deployments$",
                 "--suppress-health-check", "all", "--warnings", "off", "--no-color"],
                stdout=output, stderr=output, cwd=tmp_path, timeout=900,
                env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent), "SCHEMATHESIS_HOOKS": "schemathesis_hooks"}).returncode
        assert status == 0, report.read_text()[-20000:]
        assert fuzzed.coordinator.alive() and fuzzed.session.get(fuzzed.url + "/readyz", timeout=60).status_code == 200
    finally:
        fuzzed.close()
        provider.close()

"""Writes the manifests below this folder from the Helm chart, so that there is one source for both.

usage: python3 render.py     (with PyPI's helm-python-sdk and PyYAML; tests/packaging/test_kubernetes.py sees that it was run)
"""
import pathlib

import yaml

HERE = pathlib.Path(__file__).resolve().parent
CHART = HERE.parent / "helm/lumigrid"
POOLS = {"workers-cpu/worker.yaml": "cpu", "workers-gpu/worker.yaml": "gpu"}
HEADER = "# Written by ../render.py from the Helm chart; change that.\n"


def without_helm(document):
    """Takes out what only Helm reads. Hooks become ordinary objects: the job that makes secrets finds them there and ends."""
    meta = [document["metadata"], document["spec"]["template"]["metadata"]] if "template" in document.get("spec", {}) else [document["metadata"]]
    for part in meta:
        for kind in ("labels", "annotations"):
            kept = {k: v for k, v in part.get(kind, {}).items() if not k.startswith("helm.sh/") and k not in ("app.kubernetes.io/managed-by", "app.kubernetes.io/version")}
            part.pop(kind, None)
            if kept:
                part[kind] = kept
    return document


def render():
    """{path below this folder: text}"""
    import helm_python as helm

    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render({"workers": {"gpu": {"enabled": True}}}, name="lumigrid", namespace="lumigrid")
    documents = [d for name, text in sorted(texts.items()) if name.endswith(".yaml") and "/tests/" not in name for d in yaml.safe_load_all(text) if d]
    pool = lambda d: d.get("metadata", {}).get("name", "").removeprefix("lumigrid-worker-") if d["metadata"]["name"].startswith("lumigrid-worker-") else None
    out = {path: [d for d in documents if pool(d) == name] for path, name in POOLS.items()}
    out["base/cluster.yaml"] = [d for d in documents if pool(d) is None]
    for document in documents:
        if document["kind"] == "RoleBinding":  # the namespace is the overlay's
            for subject in document["subjects"]:
                del subject["namespace"]
    return {path: HEADER + yaml.safe_dump_all([without_helm(d) for d in ds], sort_keys=False, width=160) for path, ds in out.items()}


if __name__ == "__main__":
    for path, text in render().items():
        (HERE / path).write_text(text)

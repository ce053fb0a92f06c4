"""Renders the Helm chart for each of the cases below into NAME.yaml, beside this file. Run it after a change that is meant, and
read the difference.

usage: python3 make.py     (with PyPI's helm-python-sdk)
"""
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
CHART = HERE.parents[2] / "deploy/helm/lumigrid"

CASES = {
    "default": {},
    # GPUs, scaling by KEDA, monitoring, an ingress with TLS, workers outside the cluster
    "full": {
        "image": {"registry": "registry.example.org/ml", "pullSecrets": [{"name": "pull"}]},
        "coordinator": {"admittedWorkers": {"node7": "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"}, "settings": {"upload-max": "200MiB", "public-url": "https://lumigrid.example.org"}},
        "tasksService": {"type": "LoadBalancer"},
        "workers": {
            "cpu": {"autoscaling": {"enabled": True, "maxReplicas": 20}, "environmentFrom": ["model-keys"], "cache": {"type": "shared", "existingClaim": "hub"}, "modelsClaim": "models"},
            "gpu": {"enabled": True, "gpus": 2, "runtimeClassName": "nvidia", "cache": {"storageClass": "local-nvme", "size": "500Gi"}},
        },
        "metricsToken": {"name": "lumigrid-metrics-token"},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "lumigrid-tls", "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "200m"}},
        "networkPolicy": {"apiFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}], "workerEgress": [{"ports": [{"port": 8080}]}]},
        "podAnnotations": {"example.org/team": "evaluation"},
    },
    # a Postgres elsewhere, secrets made elsewhere, scaling by an HPA, no tokens
    "external": {
        "coordinator": {"replicas": 1, "auth": "off", "settings": {}},
        "postgres": {"bundled": False, "external": {"host": "db.example.org", "passwordSecret": {"name": "database"}}},
        "secrets": {"create": False, "coordinator": "our-coordinator", "worker": "our-worker"},
        "workers": {"cpu": {"autoscaling": {"enabled": True, "with": "HPA"}, "cache": {"type": "ephemeral"}}},
        "networkPolicy": {"enabled": False},
    },
}


def render(values, name="eval", namespace="lumigrid"):
    """{template: text}"""
    import helm_python as helm

    with helm.Chart.load(str(CHART)) as chart:
        return chart.render(values, name=name, namespace=namespace, is_install=True)


def text(values):
    return "".join(f"---\n# Source: {name}\n{body.strip()}\n" for name, body in sorted(render(values).items()) if body.strip())


if __name__ == "__main__":
    for case, values in CASES.items():
        (HERE / f"{case}.yaml").write_text(text(values))

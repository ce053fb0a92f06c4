"""The worker's health check: a connection to the coordinator's port, and nothing else, counts."""
import os
import pathlib
import socket
import subprocess

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "deploy/docker/worker-health.sh"


def well(port):
    return subprocess.run(["bash", SCRIPT], env={**os.environ, "LUMIGRID_COORDINATOR": f"tcp://coordinator:{port}"}).returncode == 0


def test_only_a_connection_to_the_coordinators_port_counts():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not well(port)
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            assert well(port)

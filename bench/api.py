#!/usr/bin/env python3
"""How many requests the API answers, beside the same two routes on FastAPI, uvicorn and asyncpg over the same Postgres.

usage: build/bench/api [--seconds 5] [--rounds 3] [--connections 64] [--no-peer] [--upload-mb 0]

Starts a cluster in a temporary folder (lumigrid up), finds or makes a virtual environment for the peer, measures with wrk
in alternating rounds, and prints one JSON line last. Everything shares this machine's cores: Postgres, wrk, both servers.
  health_per_s, dataset_per_s              ours: the median of the rounds
  peer_health_per_s, peer_dataset_per_s    the peer's
  health_ratio, dataset_ratio              ours over the peer's
  health_ms_p99, dataset_ms_p99            ours, as wrk saw it, of the last round
  upload_mb_per_s, resident_bytes, resident_growth_bytes   with --upload-mb N: one file of N MB; the coordinator's peak and its growth
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv

SOURCE = pathlib.Path("@CMAKE_CURRENT_SOURCE_DIR@")
PEER_PACKAGES = ["fastapi==0.121.2", "uvicorn==0.38.0", "uvloop==0.22.1", "httptools==0.7.1", "asyncpg==0.30.0"]
SCRIPT = """done = function(summary, latency, requests)
  io.write(string.format("RESULT %d %d %f %f\\n", summary.requests, summary.errors.status + summary.errors.read + summary.errors.timeout + summary.errors.connect,
           summary.duration / 1e6, latency:percentile(99) / 1000))
end
"""


def free_port():
    """Of three neighbouring free ports the first: lumigrid up takes two, the peer the third."""
    while True:
        try:
            with socket.socket() as a, socket.socket() as b, socket.socket() as c:
                a.bind(("127.0.0.1", 0))
                port = a.getsockname()[1]
                b.bind(("127.0.0.1", port + 1))
                c.bind(("127.0.0.1", port + 2))
                return port
        except OSError:
            continue


def upload(url, data, port, megabytes=None):
    """Posts a form by hand, so that a large file is never held: returns the answer and the seconds it took."""
    boundary = "lumigrid-bench"
    head = (f'--{boundary}\r\nContent-Disposition: form-data; name="format"\r\n\r\njob\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="dataset"; filename="bench.csv"\r\n\r\n').encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    size = len(data) if megabytes is None else len(b"examples\n") + megabytes * len(data)
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"POST /api/v1/datasets/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n"
                           f"Content-Length: {len(head) + size + len(tail)}\r\nConnection: close\r\n\r\n".encode() + head)
        if megabytes is None:
            connection.sendall(data)
        else:
            connection.sendall(b"examples\n")
            for _ in range(megabytes):
                connection.sendall(data)
        connection.sendall(tail)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    if b" 201 " not in answer[:20]:
        sys.exit(f"the upload failed: {answer[:500]!r}")
    return json.loads(answer[answer.index(b"{"):answer.rindex(b"}") + 1]), time.monotonic() - started


def memory(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {key: int(re.search(rf"{key}:\s+(\d+)", status).group(1)) * 1024 for key in ("VmHWM", "VmRSS")}


class Cluster:
    def __init__(self, build, folder, upload_max):
        self.lumigrid, self.data, self.port = build / "coordinator/lumigrid", folder / "data", free_port()
        environment = {**os.environ, "LUMIGRID_UPLOAD_MAX": upload_max}
        subprocess.run([self.lumigrid, "up", "--data", self.data, "--port", str(self.port), "--workers", "1"], check=True, stdout=subprocess.DEVNULL, env=environment)
        self.pid = int((self.data / "run/coordinator.pid").read_text().split()[0])
        os.kill(int((self.data / "run/worker-1.pid").read_text().split()[0]), signal.SIGTERM)  # it has nothing to do here
        arguments = pathlib.Path(f"/proc/{self.pid}/cmdline").read_bytes().decode().split("\0")
        self.database = arguments[arguments.index("--database") + 1]

    def down(self):
        subprocess.run([self.lumigrid, "down", "--data", self.data], stdout=subprocess.DEVNULL)


def peer_python(folder):
    """One that has the peer's packages, or a new environment with them."""
    for python in (sys.executable, str(folder / "peer/bin/python")):
        if pathlib.Path(python).exists() and subprocess.run([python, "-c", "import fastapi, uvicorn, uvloop, httptools, asyncpg"], capture_output=True).returncode == 0:
            return python
    venv.create(folder / "peer", with_pip=True)
    subprocess.run([folder / "peer/bin/pip", "install", "-q", "--disable-pip-version-check", *PEER_PACKAGES], check=True, stdout=sys.stderr)
    return str(folder / "peer/bin/python")


class Peer:
    """uvicorn as its own advice has it for speed: uvloop, httptools, no access log."""

    def __init__(self, python, database, port):
        url = database
        pairs = dict(re.findall(r"(\w+)=('[^']*'|\S+)", database))
        if pairs:
            pairs = {key: value.strip("'") for key, value in pairs.items()}
            url = f"postgresql://{pairs.get('user', '')}@/{pairs.get('dbname', 'postgres')}?host={pairs.get('host', '')}" + (f"&port={pairs['port']}" if "port" in pairs else "")
        self.child = subprocess.Popen([python, "-m", "uvicorn", "api_peer:app", "--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"],
                                      cwd=SOURCE, env={**os.environ, "PEER_DATABASE": url, "PYTHONWARNINGS": "ignore"})
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/health/", timeout=5)
                return
            except OSError:
                if self.child.poll() is not None:
                    sys.exit("the peer does not start")
                time.sleep(0.1)

    def stop(self):
        self.child.terminate()
        self.child.wait()


def wrk(url, seconds, connections, script):
    """Requests a second, and the 99th percentile in ms."""
    done = subprocess.run(["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", "-s", script, url], capture_output=True, text=True, check=True)
    requests, errors, duration, p99 = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+)", done.stdout).groups()
    if int(errors):
        sys.exit(f"{errors} of {requests} requests to {url} failed")
    return int(requests) / float(duration), float(p99)


def measure(options, cluster, peer_port, dataset, script):
    servers = {"": cluster.port, **({"peer_": peer_port} if peer_port else {})}
    routes = {"health": "/api/v1/health/", "dataset": f"/api/v1/datasets/{dataset}/"}
    rates = {f"{server}{route}": [] for server in servers for route in routes}
    p99 = {}
    for turn in range(options.rounds):
        for route, path in routes.items():
            for server, port in servers.items():
                rate, p99[f"{server}{route}"] = wrk(f"http://127.0.0.1:{port}{path}", options.seconds, options.connections, script)
                rates[f"{server}{route}"].append(rate)
                print(f"round {turn + 1}: {server}{route} {rate:.0f}/s", file=sys.stderr)
    result = {f"{name}_per_s": round_to(statistics.median(values)) for name, values in rates.items()}
    for route in routes:
        result[f"{route}_ms_p99"] = p99[route]
        if peer_port:
            result[f"{route}_ratio"] = round(result[f"{route}_per_s"] / result[f"peer_{route}_per_s"], 2)
    return result


def round_to(value):
    return float(f"{value:.4g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("@PROJECT_BINARY_DIR@"))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--upload-mb", type=int, default=0)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is needed: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="lumigrid-bench-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        (folder / "result.lua").write_text(SCRIPT)
        cluster, peer = Cluster(options.build, folder, f"{max(options.upload_mb + 1, 50)}MiB"), None
        try:
            dataset = upload(None, b"examples,ground_truth\nhello there,hello\n", cluster.port)[0]["id"]
            result = {}
            if options.upload_mb:
                before = memory(cluster.pid)
                line = b"x" * 999 + b"\n"
                seconds = upload(None, line * 1048, cluster.port, options.upload_mb)[1]
                after = memory(cluster.pid)
                result = {"upload_mb_per_s": round_to(options.upload_mb / seconds), "resident_bytes": after["VmHWM"], "resident_growth_bytes": after["VmHWM"] - before["VmRSS"]}
            peer_port = None if options.no_peer else cluster.port + 2
            if peer_port:
                peer = Peer(peer_python(options.build / "bench"), cluster.database, peer_port)
            result = {**measure(options, cluster, peer_port, dataset, str(folder / "result.lua")), **result}
        finally:
            if peer:
                peer.stop()
            cluster.down()
    print(json.dumps(result))


if __name__ == "__main__":
    main()

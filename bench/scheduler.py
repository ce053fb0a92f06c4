#!/usr/bin/env python3
"""How fast the cluster schedules: no-op tasks through a live one on loopback, results durable in Postgres.

usage: build/bench/scheduler [--build build] [--workers 2] [--samples 200000] [--jobs 1] [--ray]

Starts a private Postgres, a coordinator and workers in a temporary folder, and prints one JSON line last:
  ready_s                    from starting the coordinator (Postgres running) until /readyz answers 200
  samples_per_s              a sim:// job of --samples samples, from POST until it has succeeded (--jobs of them at once)
  tasks_per_s                the same with one sample a task
  rtt_ms_p50, rtt_ms_p99     one worker with one slot, one sample a task: from one task's arrival at the worker to the next
                             one's, so sending, commit, scheduling and reading the next text are all in it
  submit_to_done_ms_p50      POST of an experiment of one sample until it has succeeded
  coordinator_resident_bytes its peak over all of this
  ray_tasks_per_s, tasks_ratio   with --ray, where Ray is installed: its no-op tasks on as many workers, in the same run
"""
import argparse
import datetime
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid


def free_ports():
    """Two neighbouring free ports, as lumigrid up takes them."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                return port
            except OSError:
                continue


class Cluster:
    def __init__(self, build, workers):
        self.build, self.workers = build, workers
        self.folder = tempfile.TemporaryDirectory(prefix="lumigrid-bench-")
        pathlib.Path(self.folder.name).chmod(0o755)
        self.data = pathlib.Path(self.folder.name) / "data"
        self.port = free_ports()
        self.children = []
        self.connection = None
        subprocess.run([build / "coordinator/lumigrid", "up", "--data", self.data, "--port", str(self.port)], check=True, stdout=subprocess.DEVNULL)
        self.command = {name: self.argv(name) for name in ("coordinator", "worker-1")}
        for name in ("worker-1", "coordinator"):
            os.kill(self.pid(name), signal.SIGTERM)
            self.wait_gone(self.pid(name))

    def pid(self, name):
        return int((self.data / f"run/{name}.pid").read_text().split()[0])

    def argv(self, name):
        return pathlib.Path(f"/proc/{self.pid(name)}/cmdline").read_bytes().split(b"\0")[:-1]

    @staticmethod
    def wait_gone(pid):
        while True:
            try:
                if pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    return
            except OSError:
                return
            time.sleep(0.01)

    def start(self, name, *more):
        with open(pathlib.Path(self.folder.name) / f"{name}-{len(self.children)}.log", "wb") as log:
            child = subprocess.Popen([*self.command[name], *more], stdout=log, stderr=log)
        child.log = log.name
        self.children.append(child)
        return child

    def start_all(self, workers, coordinator_options=(), worker_options=()):
        started = time.perf_counter()
        self.coordinator = self.start("coordinator", *coordinator_options)
        while self.status("/readyz") != 200:
            time.sleep(0.001)
        ready_s = time.perf_counter() - started
        self.running = [self.start("worker-1", *worker_options) for _ in range(workers)]
        while len([w for w in self.call("GET", "/cluster/workers")["items"] if w["state"] == "online"]) < workers:
            time.sleep(0.01)
        return ready_s

    def stop_all(self):
        peak = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{self.coordinator.pid}/status").read_text())[1]) * 1024
        for child in (*self.running, self.coordinator):
            child.terminate()
            child.wait()
        self.connection = None
        return peak

    def status(self, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0

    def call(self, method, path, body=None, headers=None):
        if not self.connection:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            self.connection.request(method, "/api/v1" + path, body, headers or {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection = None
            raise
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text) if text else None

    def upload(self, samples):
        boundary = uuid.uuid4().hex
        csv = "examples,ground_truth\n" + "".join(f"text {i},truth {i}\n" for i in range(samples))
        form = (f'--{boundary}\r\nContent-Disposition: form-data; name="format"\r\n\r\nexperiment\r\n--{boundary}\r\n'
                f'Content-Disposition: form-data; name="dataset"; filename="bench.csv"\r\nContent-Type: text/csv\r\n\r\n{csv}\r\n--{boundary}--\r\n')
        return self.call("POST", "/datasets/", form.encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"})["id"]

    def submit(self, dataset):
        body = {"name": "bench", "description": "", "model": "sim://", "dataset": dataset, "max_samples": -1, "metrics": ["exact_match"]}
        return self.call("POST", "/experiments/", json.dumps(body))["id"]

    def wait(self, id, poll_s):
        while True:
            experiment = self.call("GET", f"/experiments/{id}")
            if experiment["status"] not in ("created", "running"):
                if experiment["status"] != "succeeded":
                    raise SystemExit(f"experiment {id} {experiment['status']}: {experiment['message']}")
                return
            time.sleep(poll_s)

    def run(self, datasets, poll_s=0.01):
        """Seconds from the first POST until all have succeeded."""
        started = time.perf_counter()
        for id in [self.submit(dataset) for dataset in datasets]:
            self.wait(id, poll_s)
        return time.perf_counter() - started

    def close(self):
        for child in self.children:
            child.kill()
            child.wait()
        subprocess.run([self.build / "coordinator/lumigrid", "down", "--data", self.data], stdout=subprocess.DEVNULL)
        self.folder.cleanup()


def arrivals_ms(log):
    """Milliseconds between tasks as they came to a worker."""
    times = [datetime.datetime.fromisoformat(m[1]).timestamp() for m in re.finditer(r'time=(\S+)Z .*msg="task taken"', pathlib.Path(log).read_text())]
    return [1000 * (b - a) for a, b in zip(times, times[1:])]


def ray_tasks_per_s(workers, tasks):
    import ray
    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    noop = ray.remote(lambda: None)
    ray.get([noop.remote() for _ in range(100)])
    started = time.perf_counter()
    ray.get([noop.remote() for _ in range(tasks)])
    rate = tasks / (time.perf_counter() - started)
    ray.shutdown()
    return rate


def measure(cluster, a):
    starts = []
    for _ in range(5):
        starts.append(cluster.start_all(0))
        cluster.stop_all()
    out = {"ready_s": statistics.median(starts)}
    cluster.start_all(a.workers)
    seconds = cluster.run([cluster.upload(a.samples // a.jobs) for _ in range(a.jobs)])
    out["samples_per_s"] = a.samples // a.jobs * a.jobs / seconds
    one = cluster.upload(1)
    cluster.run([one])
    out["submit_to_done_ms_p50"] = 1000 * statistics.median(cluster.run([one], poll_s=0.0005) for _ in range(200))
    peak = cluster.stop_all()
    cluster.start_all(a.workers, ["--task-samples", "1"])
    tasks = cluster.upload(a.tasks)
    out["tasks_per_s"] = a.tasks / cluster.run([tasks])
    peak = max(peak, cluster.stop_all())
    cluster.start_all(1, ["--task-samples", "1"], ["--slots", "1", "--log-level", "debug"])
    cluster.run([cluster.upload(3000)])
    round_trips = sorted(arrivals_ms(cluster.running[0].log))
    out["rtt_ms_p50"], out["rtt_ms_p99"] = round_trips[len(round_trips) // 2], round_trips[len(round_trips) * 99 // 100]
    out["coordinator_resident_bytes"] = max(peak, cluster.stop_all())
    if a.ray:
        out["ray_tasks_per_s"] = ray_tasks_per_s(a.workers, a.tasks)
        out["tasks_ratio"] = out["tasks_per_s"] / out["ray_tasks_per_s"]
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path, default=pathlib.Path("@PROJECT_BINARY_DIR@"))
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--samples", type=int, default=200000)
    p.add_argument("--tasks", type=int, default=20000)
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--ray", action="store_true")
    a = p.parse_args()
    if not (a.build / "worker/lumigrid-worker").exists():
        sys.exit(f"{a.build} has no build; run: cmake --preset release && cmake --build build")
    cluster = Cluster(a.build.resolve(), a.workers)
    try:
        print(json.dumps(measure(cluster, a)))
    finally:
        cluster.close()


if __name__ == "__main__":
    main()

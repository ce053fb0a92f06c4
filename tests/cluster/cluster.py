"""A cluster of real processes for tests: a private Postgres, coordinators and workers, each of which a test can kill.

Everything lives in one temporary folder and on free loopback ports. The build is the one in LUMIGRID_BUILD. When a cluster is
closed, a sanitizer's finding in any process's log fails the test.
"""
import contextlib
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LUMIGRID_BUILD", ROOT / "build"))
LUMIGRID = BUILD / "coordinator/lumigrid"
COORDINATOR = BUILD / "coordinator/lumigrid-coordinator"
WORKER = BUILD / "worker/lumigrid-worker"
PATIENCE_S = 120  # a bound that only a failure reaches
FINDINGS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer", "Assertion")


def wait_for(what, condition, patience_s=PATIENCE_S):
    """Polls until condition() is truthy and returns its value."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain for {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_postgres():
    """Postgres refuses to run as root: then it runs as the user of Debian's package."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Process:
    def __init__(self, name, argv, log, **how):
        self.name, self.argv, self.log = name, [str(a) for a in argv], pathlib.Path(log)
        with open(self.log, "ab") as output:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **how)

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        """kill -9, and gone when this returns."""
        if self.alive():
            self.popen.kill()
        self.popen.wait()

    def terminate(self, patience_s=PATIENCE_S):
        """SIGTERM; returns the exit status."""
        if self.alive():
            self.popen.terminate()
        return self.popen.wait(patience_s)

    def wait(self, patience_s=PATIENCE_S):
        return self.popen.wait(patience_s)

    def text(self):
        return self.log.read_text(errors="replace")


class Postgres:
    """One private server; its data is kept across stop() and kill()."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.bin = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        self.data, self.socket = self.folder / "postgres", self.folder / "socket"
        self.process = None
        self.socket.mkdir(parents=True)
        self.data.mkdir()
        for path in (self.data, self.socket):
            path.chmod(0o700)
            if os.geteuid() == 0:
                os.chown(path, as_postgres()["user"], as_postgres()["group"])
        subprocess.run([self.bin / "initdb", "-D", self.data, "-U", "lumigrid", "--auth=trust", "--no-locale", "-E", "UTF8", "--no-sync"],
                       check=True, capture_output=True, cwd="/", **as_postgres())
        with open(self.data / "postgresql.conf", "a") as settings:
            settings.write(f"listen_addresses=''\nunix_socket_directories='{self.socket}'\nmax_connections=50\n")

    @property
    def conninfo(self):
        return f"host={self.socket} user=lumigrid dbname=postgres"

    def start(self):
        self.process = Process("postgres", [self.bin / "postgres", "-D", self.data], self.folder / "postgres.log", cwd="/", **as_postgres())
        wait_for("Postgres", lambda: self.query("SELECT 1", check=False) == "1")

    def stop(self):
        if self.process and self.process.alive():
            self.process.signal(signal.SIGINT)
            self.process.wait()

    def kill(self):
        """Every process of the server at once, as a power cut would."""
        if self.process and self.process.alive():
            with contextlib.suppress(ProcessLookupError):
                children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.popen.pid)], capture_output=True, text=True).stdout.split()
                self.process.popen.kill()
                for child in children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(child), signal.SIGKILL)
            self.process.wait()

    def query(self, sql, check=True):
        done = subprocess.run([self.bin / "psql", "-h", self.socket, "-U", "lumigrid", "-d", "postgres", "-XAtqc", sql], capture_output=True, text=True)
        if check and done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout.strip()


class Cluster:
    def __init__(self, start=True, workers=1, worker_arguments=(), coordinator_arguments=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lumigrid-test-"))
        self.folder.chmod(0o755)
        self.http_port, self.tasks_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.api = self.url + "/api/v1"
        self.session = requests.Session()
        self.processes = []
        self.keys = self.folder / "keys"
        self.make_keys()
        self.postgres = Postgres(self.folder)
        self.coordinator = None
        self.workers = []
        if start:
            self.postgres.start()
            self.start_coordinator(*coordinator_arguments)
            for _ in range(workers):
                self.start_worker(*worker_arguments)
            self.wait_workers(workers)

    # -- parts --

    def make_keys(self):
        (self.keys / "workers").mkdir(parents=True)
        self.keys.chmod(0o700)
        for name in ("coordinator", "worker"):
            public = self.run_cli("key", "generate", self.keys / f"{name}.key").stdout.strip()
            (self.keys / ("coordinator.pub" if name == "coordinator" else "workers/test.pub")).write_text(f"public {public}\n")

    def spawn(self, name, argv):
        process = Process(name, argv, self.folder / f"{name}-{len(self.processes)}.log")
        self.processes.append(process)
        return process

    def coordinator_argv(self, *more, http_port=None, tasks_port=None):
        return [COORDINATOR, "--http", f"127.0.0.1:{http_port or self.http_port}", "--tasks", f"tcp://127.0.0.1:{tasks_port or self.tasks_port}",
                "--database", self.postgres.conninfo, "--data", self.folder / "data", "--keys", self.keys, *more]

    def start_coordinator(self, *more, ready=True):
        self.coordinator = self.spawn("coordinator", self.coordinator_argv(*more))
        if ready:
            self.wait_ready()
        return self.coordinator

    def start_worker(self, *more, key=None, coordinator_key=None):
        worker = self.spawn("worker", [WORKER, "--coordinator", f"tcp://127.0.0.1:{self.tasks_port}", "--coordinator-key",
                                       coordinator_key or self.keys / "coordinator.pub", "--key", key or self.keys / "worker.key", "--threads", "1", "--drain-timeout-s", "10", *more])
        self.workers.append(worker)
        return worker

    def wait_ready(self):
        def ready():
            assert self.coordinator.alive(), self.coordinator.text()
            with contextlib.suppress(requests.RequestException):
                return requests.get(self.url + "/readyz", timeout=5).status_code == 200
        wait_for("the coordinator", ready)

    def wait_workers(self, count):
        wait_for(f"{count} workers", lambda: len(self.online()) >= count)

    def online(self):
        return [w for w in self.get("/cluster/workers").json()["items"] if w["state"] == "online"]

    # -- the API --

    def get(self, path, **how):
        return self.session.get(self.api + path, timeout=60, **how)

    def post(self, path, body=None, **how):
        return self.session.post(self.api + path, json=body, timeout=60, **how)

    def upload(self, data, filename="data.csv", format="experiment"):
        return self.session.post(self.api + "/datasets/", files={"dataset": (filename, data, "text/csv")}, data={"format": format}, timeout=120)

    def dataset(self, rows):
        """Uploads rows of (text, ground truth) and returns the id."""
        quoted = lambda text: '"' + text.replace('"', '""') + '"'
        answer = self.upload("examples,ground_truth\n" + "".join(f"{quoted(a)},{quoted(b)}\n" for a, b in rows))
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def submit(self, dataset, model, **more):
        answer = self.post("/experiments/", {"name": "test", "description": "", "model": model, "dataset": dataset, "max_samples": -1, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def experiment(self, id):
        return self.get(f"/experiments/{id}").json()

    def wait_done(self, id, patience_s=PATIENCE_S):
        def ended():
            with contextlib.suppress(requests.RequestException, KeyError, ValueError):
                experiment = self.experiment(id)
                return experiment if experiment["status"] in ("succeeded", "failed") else None
        return wait_for(f"experiment {id}", ended, patience_s)

    def done_samples(self, id):
        return self.experiment(id).get("progress", {}).get("done", 0)

    def document(self, id):
        answer = self.get(f"/experiments/{id}/result/download")
        assert answer.status_code == 200, answer.text
        return requests.get(answer.json()["download_url"], timeout=60).json()

    def run_cli(self, *arguments, check=True, **how):
        done = subprocess.run([str(LUMIGRID), *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S,
                              env={**os.environ, "LUMIGRID_SERVER": self.url}, **how)
        assert not check or done.returncode == 0, done.stderr
        return done

    # -- the end --

    def close(self, keep=False):
        statuses = []
        for process in self.workers:
            if process.alive():
                process.signal(signal.SIGCONT)
                statuses.append((process, process.terminate()))
        for process in self.processes:
            if process.alive():
                process.signal(signal.SIGCONT)
                statuses.append((process, process.terminate()))
        self.postgres.kill()
        findings = [f"{p.name}: {line}" for p in self.processes for line in p.text().splitlines() if any(f in line for f in FINDINGS)]
        logs = "".join(f"--- {p.log}\n{p.text()[-4000:]}\n" for p in self.processes) if findings else ""
        if not keep and not findings:
            shutil.rmtree(self.folder, ignore_errors=True)
        assert not findings, "\n".join(findings) + "\n" + logs
        return statuses


def words(count, seed):
    """A text of `count` words that no other seed gives."""
    return " ".join(f"word{(seed * 7919 + i * 104729) % 99991}" for i in range(count))


def rows(count, words_each=30):
    return [(words(words_each, i), words(8, i)) for i in range(count)]


def canonical(document):
    """A result document without what may differ between two runs of the same work."""
    return json.dumps({k: v for k, v in document.items() if k != "summarization_time"}, sort_keys=True)

"""Carries out a Dockerfile's stages in Debian roots: enough of the language for this project's files, and an error for the rest."""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

SCRIPT = pathlib.Path(__file__).parent / "root.sh"


def parse(path):
    """[(instruction, text)] with continued lines joined."""
    text = re.sub(r"\\\n\s*", "", pathlib.Path(path).read_text())
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def stages(path):
    """{name: (base, [(instruction, text)])}"""
    found, current, arguments = {}, None, {}
    for word, text in parse(path):
        if word == "ARG":
            arguments.update([text.split("=", 1)])
        elif word == "FROM":
            text = re.sub(r"\$\{(\w+)\}", lambda m: arguments[m[1]], text)
            base, _, name = re.fullmatch(r"(\S+)( AS (\S+))?", text).groups()
            current = []
            found[name] = (base, current)
        elif current is not None:
            current.append((word, text))
    return found


class Stage:
    """A root in which a stage's instructions were carried out, and how its program is to be run."""

    def __init__(self, root, instructions, context, stages_built):
        self.root, self.env, self.user, self.workdir, self.entrypoint, self.health = root, {}, "0:0", "/", None, None
        for word, text in instructions:
            getattr(self, "do_" + word.lower())(text, context, stages_built)

    def do_copy(self, text, context, _):
        *sources, target = text.split()
        for source in sources:
            there = self.root / target.lstrip("/")
            if source == ".":
                shutil.copytree(context, there, dirs_exist_ok=True)
            else:
                there.mkdir(parents=True, exist_ok=True)
                shutil.copy(context / source, there)

    def do_run(self, text, _, stages_built):
        mount = re.match(r"--mount=type=bind,from=(\w+),source=(\S+),target=(\S+) ", text)
        if mount:
            text, target = text[mount.end():], self.root / mount[3].lstrip("/")
            shutil.copytree(stages_built[mount[1]].root / mount[2].lstrip("/"), target)
        run(self.root, "/bin/sh", "-c", text)
        if mount:
            shutil.rmtree(target)

    def do_env(self, text, *_):
        self.env.update(word.split("=", 1) for word in shlex.split(text))

    def do_user(self, text, *_):
        self.user = text

    def do_workdir(self, text, *_):
        self.workdir = text

    def do_volume(self, text, *_):
        for folder in text.split():
            assert (self.root / folder.lstrip("/")).is_dir(), f"{folder} is not in the image, so its volume would be root's"

    def do_expose(self, text, *_):
        assert re.fullmatch(r"[\d ]+", text)

    def do_healthcheck(self, text, *_):
        self.health = re.search(r"CMD (.*)", text)[1]

    def do_entrypoint(self, text, *_):
        self.entrypoint = json.loads(text)

    def command(self, *arguments, env=()):
        """What a shell in the root runs to start the container's program with these arguments."""
        uid, gid = self.user.split(":")
        settings = {**self.env, **dict(env)}
        return shlex.join(["env", "-C", self.workdir, *(f"{k}={v}" for k, v in settings.items()), "setpriv", f"--reuid={uid}", f"--regid={gid}",
                           "--clear-groups", "--no-new-privs", "--bounding-set=-all", *self.entrypoint, *arguments])


def run(root, *command):
    done = subprocess.run(["bash", SCRIPT, "run", root, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", env=os.environ)
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout

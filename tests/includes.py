"""Holds the rule of the rooms: includes point one way, and into another room only through its door.

Reads the quoted includes of every source; prints one line a violation.
"""
import pathlib
import re
import subprocess

# A room's headers that other rooms may include; by default the header that is named like the room.
DOORS = {
    "worker/model": {"model.h", "gguf.h"},
    "worker/model/tokenizer": {"tokenizer.h"},
    "worker/engine": {"engine.h", "prompt.h"},
    "worker/metrics": {"metric.h", "bertscore.h", "score_tool.h"},
    "worker/task": {"task.h", "bertscore_encoder.h"},
}
# What each room may include besides itself and common/. Nothing else.
ALLOWED = {
    "common": set(),
    "proto": set(),
    "coordinator/scheduler": set(),
    "coordinator/store": set(),
    "coordinator/cluster": {"coordinator/scheduler", "coordinator/store", "proto"},
    "coordinator/report": {"coordinator/store"},
    "coordinator/web": set(),
    "coordinator/api": {"coordinator/scheduler", "coordinator/store", "coordinator/report", "coordinator/web"},
    "coordinator/cli": set(),
    "worker/model/tokenizer": {"worker/model"},
    "worker/model": {"worker/model/tokenizer"},
    "worker/backend": {"worker/model"},
    "worker/engine": {"worker/backend", "worker/model", "worker/model/tokenizer"},
    "worker/hosted": set(),
    "worker/metrics": {"worker/hosted", "worker/engine", "worker/model", "worker/model/tokenizer", "worker/backend"},
    "worker/task": {"worker/hosted", "worker/engine", "worker/backend", "worker/model", "worker/model/tokenizer", "worker/metrics", "proto"},
    "worker/session": {"worker/hosted", "worker/task", "worker/metrics", "proto"},
    "worker/tools": {"worker/task", "worker/engine", "worker/backend", "worker/model", "worker/model/tokenizer", "worker/metrics"},
}
ROOMS = sorted(ALLOWED, key=len, reverse=True)


def room_of(path):
    return next((room for room in ROOMS if path.startswith(room + "/")), None)


def doors_of(room):
    return DOORS.get(room, {pathlib.PurePosixPath(room).name + ".h"})


def violations():
    files = subprocess.run(["git", "ls-files", "*.c", "*.h"], capture_output=True, text=True, check=True).stdout.split()
    for file in files:
        room = room_of(file)
        if room is None or file in ("coordinator/main.c", "worker/main.c"):
            continue  # the mains know every part; tests may look inside
        for target in re.findall(r'^\s*#include "([^"]+)"', pathlib.Path(file).read_text(), re.M):
            other = room_of(target)
            if other is None or other == room:
                continue
            if other != "common" and other not in ALLOWED[room]:
                yield f"{file}: {room} may not include {target}"
            elif other not in ("common", "proto") and target[len(other) + 1:] not in doors_of(other):
                yield f"{file}: {target} is not a door of {other}"


if __name__ == "__main__":
    for line in violations():
        print(line)

#!/bin/bash
# A private Postgres for tests: Unix socket only, in a folder of its own; started as root it runs as postgres.
#   postgres.sh start DIR   makes and starts it (or starts it again), prints its connection string
#   postgres.sh stop DIR    stops it; DIR stays        postgres.sh kill DIR   SIGKILL to all of it, no goodbye
#   postgres.sh freeze DIR | thaw DIR                  SIGSTOP, SIGCONT
set -euo pipefail
command=$1 dir=$(realpath -m "$2")
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || { echo "no Postgres in /usr/lib/postgresql" >&2; exit 1; }

as_owner() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}
# Every process of this Postgres: the postmaster and its children.
processes() {
    local master
    master=$(head -1 "$dir/data/postmaster.pid")
    echo "$master"
    ps -o pid= --ppid "$master" || true
}

case $command in
start)
    mkdir -p "$dir"
    [ "$(id -u)" = 0 ] && chown postgres "$dir"
    chmod 755 "$dir"
    cd "$dir"
    [ -e "$dir/data/PG_VERSION" ] ||
        as_owner "$bin/initdb" -D "$dir/data" -U lumigrid -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1
    as_owner rm -f "$dir/data/postmaster.pid" "$dir"/.s.PGSQL.*.lock # left by a kill
    # Without fsync a killed process loses nothing, only a dead machine would.
    as_owner "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -w -t 60 start \
        -o "-k $dir -c listen_addresses='' -c fsync=off -c max_connections=60 -c shared_buffers=64MB" >/dev/null
    echo "host=$dir user=lumigrid dbname=postgres"
    ;;
stop) cd "$dir" && as_owner "$bin/pg_ctl" -D "$dir/data" -m fast -w stop >/dev/null ;;
kill)
    pids=$(processes)
    kill -9 $pids 2>/dev/null || true
    for pid in $pids; do while kill -0 "$pid" 2>/dev/null && [ "$(ps -o stat= -p "$pid" | cut -c1)" != Z ]; do :; done; done
    ;;
freeze) kill -STOP $(processes) ;;
thaw) kill -CONT $(processes) ;;
*) echo "unknown command $command" >&2; exit 2 ;;
esac

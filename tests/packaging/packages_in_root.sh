#!/usr/bin/env bash
# Inside a bare root: installs the packages as docs/install.md says, runs an experiment as the services would run, upgrades and
# removes them. There is no systemd in a root: services are started by hand from what their unit files say.
# Usage: packages_in_root.sh PACKAGES SOURCE
set -euo pipefail
packages=$1 source=$2
export DEBIAN_FRONTEND=noninteractive
step() { echo "== $*"; }
fail() { echo "FAILED: $*"; for log in /tmp/*.log; do echo "--- $log"; tail -n 20 "$log"; done; exit 1; }
wait_for() { # WHAT COMMAND…
    local what=$1
    shift
    for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    fail "waited in vain for $what"
}
start() { # SERVICE: as its unit file says
    local unit=/usr/lib/systemd/system/$1.service user command state
    user=$(sed -n 's/^User=//p' "$unit") command=$(sed -n 's/^ExecStart=//p' "$unit") state=/var/lib/$(sed -n 's/^StateDirectory=//p' "$unit")
    install -d -m 0700 -o "$user" -g "$user" "$state"
    cache=$(sed -n 's/^CacheDirectory=//p' "$unit")
    [ -z "$cache" ] || install -d -o "$user" -g "$user" "/var/cache/$cache"
    # shellcheck disable=SC2086  # the command line is words
    (cd / && exec setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --bounding-set=-all env HOME="$state" $command) >"/tmp/$1.log" 2>&1 &
    eval "pid_$(echo "$1" | tr - _)=$!"
}

step "install"
apt-get update -qq
apt-get install -y -qq --no-install-recommends systemd-standalone-sysusers postgresql "$packages"/*.deb >/tmp/apt.log 2>&1 || fail "apt-get install"
getent passwd lumigrid lumigrid-worker >/dev/null || fail "the services' users are missing"
[ -e /etc/systemd/system/multi-user.target.wants/lumigrid-coordinator.service ] || fail "the coordinator's service is not enabled"
missing=$(ldd /usr/bin/lumigrid /usr/bin/lumigrid-coordinator /usr/bin/lumigrid-worker | grep 'not found' || true)
[ -z "$missing" ] || fail "libraries are missing: $missing"

step "database"
pg_ctlcluster 15 main start
setpriv --reuid=postgres --regid=postgres --init-groups createuser lumigrid
setpriv --reuid=postgres --regid=postgres --init-groups createdb --owner lumigrid lumigrid

step "coordinator and worker"
start lumigrid-coordinator
wait_for "coordinator.pub" test -e /var/lib/lumigrid-coordinator/keys/coordinator.pub
cp /var/lib/lumigrid-coordinator/keys/coordinator.pub /etc/lumigrid/
chmod 644 /etc/lumigrid/coordinator.pub
install -d /srv/lumigrid/models
cp -r "$source"/deploy/local/models/toy-* /srv/lumigrid/models/
start lumigrid-worker
wait_for "worker.key" test -e /var/lib/lumigrid-worker/worker.key
lumigrid key admit this-machine /var/lib/lumigrid-worker/worker.key --keys /var/lib/lumigrid-coordinator/keys 2>/dev/null
wait_for "the worker" sh -c "lumigrid worker list | grep -q online"
lumigrid experiment submit --dataset "$source/deploy/local/sample/threads.csv" --model file:///srv/lumigrid/models/toy-t5 --max-samples 8 --watch >/tmp/experiment.log 2>&1 ||
    fail "the experiment"
grep -q succeeded /tmp/experiment.log || lumigrid experiment list | grep -q succeeded || fail "the experiment did not succeed"
if lumigrid experiment submit --dataset "$source/deploy/local/sample/threads.csv" --model file:///etc --max-samples 1 --watch >/tmp/outside.log 2>&1; then
    fail "a model outside /srv/lumigrid/models was opened"
fi

step "upgrade"
echo "# changed by the admin" >>/etc/lumigrid/coordinator.conf
for package in "$packages"/*.deb; do
    dpkg-deb -R "$package" /tmp/unpacked
    sed -i 's/^Version: .*/&+1/' /tmp/unpacked/DEBIAN/control
    dpkg-deb -b /tmp/unpacked "/tmp/$(basename "$package" .deb)+1.deb" >/dev/null
    rm -rf /tmp/unpacked
done
apt-get install -y -qq --no-install-recommends /tmp/*+1.deb >/tmp/apt.log 2>&1 || fail "the upgrade"
dpkg-query -W lumigrid-coordinator | grep -q '+1$' || fail "the upgrade changed nothing"
grep -q "changed by the admin" /etc/lumigrid/coordinator.conf || fail "the upgrade overwrote the admin's settings"
kill -TERM "$pid_lumigrid_coordinator"
wait "$pid_lumigrid_coordinator" || fail "the coordinator did not stop cleanly"
start lumigrid-coordinator
wait_for "the worker to come back" sh -c "lumigrid worker list | grep -q online"
lumigrid experiment list | grep -q succeeded || fail "the experiment is gone after the upgrade"

step "remove and purge"
kill -TERM "$pid_lumigrid_worker"
wait "$pid_lumigrid_worker" || fail "the worker did not stop cleanly"
kill -TERM "$pid_lumigrid_coordinator"
wait "$pid_lumigrid_coordinator" || fail "the coordinator did not stop cleanly"
apt-get remove -y -qq lumigrid-cli lumigrid-coordinator lumigrid-worker >/tmp/apt.log 2>&1 || fail "removal"
[ -e /etc/lumigrid/coordinator.conf ] && [ -e /var/lib/lumigrid-coordinator/master.key ] || fail "removal took settings or keys along"
[ ! -e /usr/bin/lumigrid-coordinator ] || fail "removal left a program"
apt-get purge -y -qq lumigrid-cli lumigrid-coordinator lumigrid-worker >/tmp/apt.log 2>&1 || fail "purge"
left=$(find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /src -o -path "$packages" -o -path /tmp -o -path /srv \) -prune -o -name '*lumigrid*' -print)
[ "$left" = "/etc/lumigrid" ] || [ -z "$left" ] || fail "purging left: $left"
echo "packages: all steps done"

#!/usr/bin/env bash
# In a Kubernetes Job: makes the secrets of a cluster in its own namespace. What is there stays as it is.
# Usage: make-secrets.sh COORDINATOR_SECRET WORKER_SECRET [POSTGRES_SECRET]
#   COORDINATOR_SECRET  coordinator.key, worker.pub, master.key, admin.token        WORKER_SECRET  worker.key, coordinator.pub
#   POSTGRES_SECRET     password
set -euo pipefail
umask 077
coordinator=$1 worker=$2 postgres=${3:-}
account=${SERVICE_ACCOUNT_DIR:-/var/run/secrets/kubernetes.io/serviceaccount}
url=${KUBERNETES_API:-https://kubernetes.default.svc}/api/v1/namespaces/$(cat "$account/namespace")/secrets
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "Authorization: Bearer $(cat "$account/token")" >"$work/headers"

call() { # CURL_ARGUMENT…: prints the status; the answer is in $work/answer
    curl -sS --max-time 30 --cacert "$account/ca.crt" -H @"$work/headers" -o "$work/answer" -w '%{http_code}' "$@"
}
exists() {
    local status
    status=$(call "$url/$1")
    case $status in
    200) return 0 ;;
    404) return 1 ;;
    *) echo "cannot see whether secret $1 is there: HTTP $status: $(head -c 300 "$work/answer")" >&2; exit 1 ;;
    esac
}
create() { # NAME KEY=FILE…
    local name=$1 status pair separator=
    shift
    {
        printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s","labels":{"app.kubernetes.io/name":"lumigrid"}},"data":{' "$name"
        for pair in "$@"; do
            printf '%s"%s":"%s"' "$separator" "${pair%%=*}" "$(base64 -w 0 "${pair#*=}")"
            separator=,
        done
        printf '}}'
    } >"$work/body"
    status=$(call -X POST -H 'Content-Type: application/json' --data-binary @"$work/body" "$url")
    [ "$status" = 201 ] || { echo "cannot make secret $name: HTTP $status: $(head -c 300 "$work/answer")" >&2; exit 1; }
    echo "made secret $name"
}

if [ -n "$postgres" ] && ! exists "$postgres"; then
    head -c 24 /dev/urandom | base64 -w 0 | tr '+/' '-_' >"$work/password"
    create "$postgres" password="$work/password"
fi
there=0
for name in "$coordinator" "$worker"; do
    ! exists "$name" || there=$((there + 1))
done
case $there in
2) echo "the keys are there already"; exit 0 ;;
1) echo "only one of the secrets $coordinator and $worker is there, and they belong together; restore the other one, or delete both to have new ones made" >&2
   exit 1 ;;
esac
bash "$(dirname "$0")/make-keys.sh" "$work/coordinator" "$work/worker"
head -c 32 /dev/urandom >"$work/master.key"
printf 'lg_%s\n' "$(head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_' | tr -d =)" >"$work/admin.token"
create "$worker" worker.key="$work/worker/worker.key" coordinator.pub="$work/worker/coordinator.pub"
create "$coordinator" coordinator.key="$work/coordinator/coordinator.key" worker.pub="$work/coordinator/workers/shared.pub" \
    master.key="$work/master.key" admin.token="$work/admin.token"

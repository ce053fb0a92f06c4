#!/usr/bin/env bash
# Style checks: formatting, clang-tidy, the direction of includes, the length of files, shell syntax.
# Usage: tests/style.sh BUILD_DIR       One line a check: "ok NAME" or "FAIL NAME: what".
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: style.sh BUILD_DIR}
mapfile -t sources < <(git ls-files '*.c' '*.h')
check() { # NAME, output of the check: empty means fine
    if [ -z "$2" ]; then echo "ok $1"; else echo "FAIL $1:"; echo "$2" | head -n 40 | sed 's/^/  /'; fi
}
# Checks must fail on their first word, so details of a failure are indented.
check "clang-format" "$(clang-format --dry-run -Werror "${sources[@]}" 2>&1 | grep -E 'error' )"
check "include directions" "$(python3 tests/includes.py 2>&1)"
check "shell syntax" "$(git ls-files '*.sh' .ci/run | while read -r f; do bash -n "$f" 2>&1; done)"
check "file length" "$(wc -l "${sources[@]}" | awk '$1 > 700 && $2 != "total" { print $2 ": " $1 " lines; split it along an idea" }')"
tidy=$(printf '%s\n' "${sources[@]}" | grep '\.c$' | grep -E '^(common|worker|coordinator)/' |
    xargs -P 1 -n 4 clang-tidy -p "$build" --quiet 2>/dev/null | grep -E '(warning|error):')
check "clang-tidy" "$tidy"

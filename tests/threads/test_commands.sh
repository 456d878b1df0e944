#!/usr/bin/env bash
# test_commands.sh DROVER: `drover doctor` and `drover exec` as a person uses them: exit codes, texts, wrong input.
set -u
drover=$1
scratch=$(mktemp -d)
children=()
cleanup() {
  for child in "${children[@]}"; do kill "$child" 2>/dev/null; done
  rm -rf "$scratch"
}
trap cleanup EXIT
num_passed=0
num_failed=0

# expect CODE PATTERN NAME COMMAND...: the exit code, and an extended regular expression that stdout or stderr holds.
expect() {
  local code=$1 pattern=$2 name=$3
  shift 3
  local output rc
  output=$("$@" 2>&1 </dev/null)
  rc=$?
  if [[ $rc -ne $code ]]; then
    echo "FAIL $name: exit code $rc instead of $code: $*"
    echo "$output" | head -5
    num_failed=$((num_failed + 1))
  elif ! grep -Eq -- "$pattern" <<<"$output"; then
    echo "FAIL $name: no '$pattern' in:"
    echo "$output" | head -20
    num_failed=$((num_failed + 1))
  else
    echo "ok   $name"
    num_passed=$((num_passed + 1))
  fi
}
skip() { echo "skip $1: $2"; }

# The threading variables of whoever runs the tests are not part of them.
while IFS='=' read -r name _; do
  case $name in OMP_* | KMP_* | GOMP_* | MKL_* | OPENBLAS_* | BLIS_* | NUMEXPR_* | TBB_* | DROVER_* | LD_PRELOAD) unset "$name" ;; esac
done < <(env)

# ---- exec ----
expect 0 '^OMP_NUM_THREADS=1$' "exec sets what is unset" "$drover" exec -- env
expect 0 '^OMP_NUM_THREADS=3$' "exec leaves alone what is set" env OMP_NUM_THREADS=3 "$drover" exec -- env
expect 0 'set +MKL_NUM_THREADS=1' "exec -v says what it set" "$drover" exec -v -- true
expect 0 'kept +OMP_NUM_THREADS=3' "exec -v says what it left alone" env OMP_NUM_THREADS=3 "$drover" exec -v -- true
expect 0 '^DROVER_WORKERS=5$' "exec --workers" "$drover" exec --workers 5 -- env
expect 0 '^-v --workers 9$' "exec hands options on" "$drover" exec -- echo -v --workers 9
expect 0 '^-v$' "exec needs no --" "$drover" exec echo -v
expect 7 '' "exec passes the exit code on" "$drover" exec -- sh -c 'exit 7'
expect 127 'not_a_command: command not found' "exec of a missing command" "$drover" exec -- not_a_command
expect 127 'command not found' "exec of a missing path" "$drover" exec -- "$scratch/nothing"
touch "$scratch/plain"
expect 126 'cannot be run: Permission denied' "exec of a file that is not executable" "$drover" exec -- "$scratch/plain"
expect 126 'cannot be run' "exec of a folder" "$drover" exec -- "$scratch"
printf '#!/no/such/interpreter\n' >"$scratch/script"
chmod +x "$scratch/script"
expect 126 'interpreter' "exec of a script without its interpreter" "$drover" exec -- "$scratch/script"
expect 2 'a command is missing' "exec without a command" "$drover" exec --
expect 2 'unrecognized option' "exec with an unknown option" "$drover" exec --bogus -- true
expect 2 'workers must be' "exec with malformed workers" "$drover" exec --workers many -- true
if command -v taskset >/dev/null; then
  cpu=$(taskset -cp $$ | sed 's/.*: *//; s/[-,].*//')
  expect 0 "list: $cpu\$" "exec passes the CPU mask on" taskset -c "$cpu" "$drover" exec -- sh -c 'taskset -cp $$'
else
  skip "exec passes the CPU mask on" "taskset is not installed"
fi
if command -v python3 >/dev/null; then
  echo 'import os, sys; print(os.environ["OMP_NUM_THREADS"], sys.argv[1:])' >"$scratch/script.py"
  expect 0 "^1 \['--flag'\]\$" "exec of a Python script" "$drover" exec -- python3 "$scratch/script.py" --flag
else
  skip "exec of a Python script" "python3 is not installed"
fi
takes_preload=$(LD_PRELOAD=libm.so.6 "$drover" --version >/dev/null 2>&1 && echo yes) # AddressSanitizer does not
if [[ -n $takes_preload ]] && "$drover" exec -v -- true 2>&1 | grep -q 'set *LD_PRELOAD'; then
  expect 0 'libjemalloc' "exec preloads jemalloc" "$drover" exec -- sh -c 'cat /proc/self/maps'
  expect 0 '^LD_PRELOAD=libm.so.6:/.*libjemalloc' "exec appends to LD_PRELOAD" \
    env LD_PRELOAD=libm.so.6 "$drover" exec -- env
  expect 0 'kept +LD_PRELOAD=libjemalloc.so.2' "exec preloads no second allocator" \
    env LD_PRELOAD=libjemalloc.so.2 "$drover" exec -v -- true
else
  skip "exec preloads jemalloc" "libjemalloc.so.2 is not found, or this build (AddressSanitizer) takes no preload"
fi

# ---- doctor ----
expect 0 'usable cores +[1-9]' "doctor of a clean shell" "$drover" doctor
if [[ -n $takes_preload ]]; then
  expect 0 'nothing is wrong' "doctor after exec" "$drover" exec -- "$drover" doctor
else
  skip "doctor after exec" "this build (AddressSanitizer) takes no other allocator"
fi
expect 1 'OMP_PROC_BIND=true' "doctor warns of bound threads" env OMP_PROC_BIND=true "$drover" doctor
expect 1 "is 'many'" "doctor warns of a malformed number" env OMP_NUM_THREADS=many "$drover" doctor
expect 1 '100000|must be|workers are asked for' "doctor of too many workers" "$drover" doctor --workers 1000
expect 0 '"num_cores": ?[1-9]' "doctor --json" "$drover" doctor --json
if command -v python3 >/dev/null; then
  expect 0 '^dict' "doctor --json is one object" sh -c "'$drover' doctor --json --pid \$\$ |
    python3 -c 'import json, sys; print(type(json.load(sys.stdin)).__name__)'"
fi
expect 1 'there is no process 2147483647' "doctor of a missing process" "$drover" doctor --pid 2147483647
expect 1 'there is no process 2147483647' "watch of a missing process" "$drover" doctor --watch 2147483647
expect 2 'pid must be' "doctor of a malformed PID" "$drover" doctor --pid abc
expect 2 'pid must be' "doctor of PID 0" "$drover" doctor --pid 0
expect 2 'belong to --watch' "doctor --for alone" "$drover" doctor --for 3
expect 2 'not both' "doctor of two processes" "$drover" doctor --pid 1 --watch 1
expect 1 'is it mounted' "doctor without /proc" "$drover" doctor --root "$scratch"

# start_sleeper: a process that sleeps until it is killed; its number in $sleeper.
start_sleeper() {
  sleep 3600 &
  sleeper=$!
  children+=("$sleeper")
  until grep -q sleep "/proc/$sleeper/cmdline"; do sleep 0.01; done # the shell's copy has become sleep
}
# start_watch: watch $sleeper in the background until the watch has printed a line; its number in $watch.
start_watch() {
  : >"$scratch/watch" # or the earlier watch's lines would be taken for its own
  "$drover" doctor --watch "$sleeper" --interval 10 >"$scratch/watch" 2>&1 &
  watch=$!
  children+=("$watch")
  until [[ -s $scratch/watch ]] || ! kill -0 "$watch" 2>/dev/null; do sleep 0.05; done
}
# end_watch CODE PATTERN NAME: what came of it.
end_watch() {
  wait "$watch"
  local rc=$?
  if [[ $rc -eq $1 ]] && grep -q "$2" "$scratch/watch"; then
    echo "ok   $3"
    num_passed=$((num_passed + 1))
  else
    echo "FAIL $3: exit code $rc instead of $1, or no '$2' in:"
    cat "$scratch/watch"
    num_failed=$((num_failed + 1))
  fi
}

start_sleeper
start_watch
kill "$sleeper"
end_watch 0 'until the process ended' "watch ends when the process does"
start_sleeper
expect 0 "process $sleeper, sleep 3600" "doctor of a sleeping process" "$drover" doctor --pid "$sleeper"
expect 0 'threads +1, constant' "watch of a sleeping process" \
  "$drover" doctor --watch "$sleeper" --for 0.3 --interval 10 --constant
expect 0 '"constant": ?true' "watch --json" "$drover" doctor --watch "$sleeper" --for 0.3 --json
start_watch
kill -INT "$watch"
end_watch 3 'threads *1, constant' "an interrupted watch still sums up"

if [[ $(id -u) -eq 0 ]] && command -v setpriv >/dev/null; then
  cp "$drover" "$scratch/drover" && chmod 755 "$scratch" "$scratch/drover"
  expect 1 'may not be read' "doctor of another user's process" \
    setpriv --reuid=65534 --regid=65534 --clear-groups "$scratch/drover" doctor --pid "$sleeper"
else
  skip "doctor of another user's process" "the tests do not run as root, or setpriv is not installed"
fi

# Busy processes: many more than the cores, in one process.
cores=$("$drover" doctor | sed -n 's/^  usable cores *\([0-9]*\).*/\1/p')
if command -v python3 >/dev/null && [[ -n $cores && $cores -le 64 ]]; then
  # Threads that compute outside the interpreter's lock: hashing large blocks.
  cat >"$scratch/busy.py" <<'PYTHON'
import hashlib, sys, threading
block = bytes(16 << 20)
def work():
    while True:
        hashlib.sha256(block).digest()
for _ in range(int(sys.argv[1])):
    threading.Thread(target=work, daemon=True).start()
threading.Event().wait()
PYTHON
  python3 "$scratch/busy.py" $((8 * cores)) &
  busy=$!
  children+=("$busy")
  until [[ $(find "/proc/$busy/task" -mindepth 1 -maxdepth 1 | wc -l) -gt $((8 * cores)) ]] || ! kill -0 "$busy"; do
    sleep 0.05
  done
  sleep 1
  expect 1 'want to run on' "doctor of an oversubscribed process" "$drover" doctor --pid "$busy"
  expect 1 'too many' "watch of an oversubscribed process" "$drover" doctor --watch "$busy" --for 1 --interval 10
  kill "$busy"
fi

echo "$num_passed passed, $num_failed failed"
[[ $num_failed -eq 0 ]]

# helpers.sh: what the scripts that run the command share; sourced. Expects drover and work (a scratch folder, which is
# the present one) to be set.
# shellcheck shell=bash disable=SC2154 # drover is the sourcing script's
passed=0
failed=0

good() { passed=$((passed + 1)); }
bad() {
  echo "FAILED  $1"
  shift
  printf '        %s\n' "$@"
  sed 's/^/        stdout: /' out | head -5
  sed 's/^/        stderr: /' err | head -5
  failed=$((failed + 1))
}

# exits CODE ARGUMENT...: the command ends with CODE; its output is in the files out and err.
exits() {
  local wanted=$1 code=0
  shift
  "$drover" "$@" >out 2>err </dev/null || code=$?
  if [ "$code" = "$wanted" ]; then good; else bad "drover $*" "exit code $code, expected $wanted"; fi
}

# says FILE PATTERN: the extended regular expression is found in FILE.
says() { if grep -qE -- "$2" "$1"; then good; else bad "expected in $1: $2"; fi; }

# misuse PATTERN ARGUMENT...: bad usage: exit code 2, nothing on standard output, a sentence on standard error with
# PATTERN.
misuse() {
  local pattern=$1
  shift
  exits 2 "$@"
  says err "$pattern"
  if [ -s out ]; then bad "drover $*" "a bad usage wrote to standard output"; else good; fi
  if [ "$(wc -l <err)" -le 2 ]; then good; else bad "drover $*" "more than a sentence"; fi
}

# start_and_wait_for CONDITION ARGUMENT...: start the command in the background and wait until the shell command CONDITION
# holds, or it has ended. Its number is in $started; its output in the files out and err.
start_and_wait_for() {
  local condition=$1
  shift
  : >out # or the condition may hold for what is in them
  : >err
  "$drover" "$@" >out 2>err </dev/null &
  started=$!
  # Until it is the command, and no more the shell's copy, which has handlers and an exit trap of its own.
  until [ "$(readlink "/proc/$started/exe")" = "$drover" ] || ! kill -0 "$started" 2>/dev/null; do sleep 0.02; done
  until eval "$condition" || ! kill -0 "$started" 2>/dev/null; do sleep 0.02; done
}

# end_with SIGNAL CODE: send it to what was started, and wait for the exit code; after minutes it is killed.
end_with() {
  local code=0 tries=0
  kill "-$1" "$started" 2>/dev/null || true # it may have ended already: wait tells
  while kill -0 "$started" 2>/dev/null && [ $((tries += 1)) -lt 6000 ]; do sleep 0.02; done
  kill -KILL "$started" 2>/dev/null || true
  wait "$started" || code=$?
  equal "exit code after SIG$1" "$code" "$2"
}

# Whether what was started catches SIGINT (bit 1).
catches_int() { grep -qE '^SigCgt:.*[2367abef]$' "/proc/$started/status" 2>/dev/null; }

# Every line of FILE is one JSON object: by python3 or jq, else by its first and last character.
is_json() {
  local valid=0
  if command -v python3 >/dev/null; then
    python3 -c 'import json, sys
for line in open(sys.argv[1]): assert isinstance(json.loads(line), dict)' "$1" 2>json_error || valid=1
  elif command -v jq >/dev/null; then
    jq -es 'all(type == "object")' "$1" >/dev/null 2>json_error || valid=1
  else
    if grep -qvE '^\{.*\}$' "$1"; then valid=1; fi
  fi
  if [ -s "$1" ] && [ "$valid" = 0 ]; then good; else bad "$1 is no JSON" "$(tail -1 json_error 2>/dev/null)"; fi
}

equal() { if [ "$2" = "$3" ]; then good; else bad "$1" "got '$2', expected '$3'"; fi; }

# at_least WHAT NUMBER WANTED
at_least() {
  if awk -v a="$2" -v b="$3" 'BEGIN { exit !(a != "" && a + 0 >= b) }'; then good; else bad "$1" "got '$2', wanted at least $3"; fi
}

# field NAME [FILE]: of a one-line JSON report (default: out).
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" "${2:-out}"; }

# run_checks NAME...: call each, say which were fine, and exit.
run_checks() {
  local check before
  for check in "$@"; do
    before=$failed
    $check
    if [ "$failed" = "$before" ]; then echo "ok      $check"; fi
  done
  echo "$passed passed, $failed failed"
  exit $((failed > 0))
}

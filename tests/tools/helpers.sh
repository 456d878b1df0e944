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

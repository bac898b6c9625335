# shellcheck shell=bash
# What a person sees. Everything goes to stderr: stdout of `up` is read by eval.

say() { printf 'cluster: %s\n' "$*" >&2; }

die() { # EXIT_CODE WORDS...
  local code=$1
  shift
  printf 'cluster: error: %s\n' "$*" >&2
  exit "$code"
}

# EPOCHREALTIME has the locale's decimal sign.
milliseconds() { printf '%s' "$((${EPOCHREALTIME/[.,]/} / 1000))"; }

begun=$(milliseconds)
lap=$begun

# Says WORDS with the time since the last phase ended.
phase_done() {
  local now
  now=$(milliseconds)
  say "$(seconds $((now - lap))) $*"
  lap=$now
}

seconds() { printf '%3d.%02d s ' $(($1 / 1000)) $(($1 % 1000 / 10)); }

# shellcheck shell=bash
# Starting, recognising and stopping the parts. Uses: $cluster_dir, say, die.
#
# $cluster_dir/pid/NAME holds "PID START": START is field 22 of /proc/PID/stat, proc(5), the
# kernel's start time of the process. A pid that was given to another process has another one.

# Prints the start time of a live process; fails for a dead one and for a zombie, which stays
# in /proc where nobody reaps orphans (some containers).
start_time() { # PID
  local stat fields
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  # The second field is the command's name in parentheses, and it may contain anything.
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != [ZX] ]] && printf '%s' "${fields[19]}"
}

# Prints the pid of a part, if the process is still the one that `up` started.
pid_of() { # NAME
  local pid start
  { read -r pid start <"$cluster_dir/pid/$1"; } 2>/dev/null || return 1
  [[ $pid =~ ^[0-9]+$ && $start ]] || return 1
  [[ $(start_time "$pid") == "$start" ]] && printf '%s' "$pid"
}

recorded_parts() {
  local file
  for file in "$cluster_dir"/pid/*; do
    [[ ! -e $file ]] || printf '%s\n' "${file##*/}"
  done
}

# Starts a part in a session of its own, so that a Ctrl-C or a hang-up meant for the caller
# does not reach it, and with no descriptor of the caller, who may wait for a pipe to close.
start() { # NAME COMMAND...
  local name=$1
  shift
  (
    # A script's background jobs ignore SIGINT, and a handler of `up` is of no use here.
    trap - EXIT HUP INT TERM
    cd /
    for fd in "/proc/$BASHPID/fd/"*; do
      fd=${fd##*/}
      ((fd <= 2)) || exec {fd}>&-
    done
    exec setsid "$@"
  ) </dev/null >"$cluster_dir/log/$name.log" 2>&1 &
  record "$name" $!
}

record() { # NAME PID
  printf '%s %s\n' "$2" "$(start_time "$2")" >"$cluster_dir/pid/$1"
}

# Waits until COMMAND succeeds. A part that ends, or is late, is fatal and shows its log.
wait_until() { # NAME SECONDS COMMAND...
  local name=$1 limit=$2 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    pid_of "$name" >/dev/null || show_log_and_die "$name" "ended before it was ready"
    ((SECONDS < deadline)) || show_log_and_die "$name" "was not ready after $limit s"
    sleep 0.1
  done
}

show_log_and_die() { # NAME WORDS
  {
    printf -- '--- end of the log of %s\n' "$1"
    tail -n 30 "$cluster_dir/log/$1.log"
    printf -- '---\n'
  } >&2
  die 1 "$1 $2"
}

# Stops every recorded part. etcd goes last: it and the API server, told at once, wait for each
# other (measured: 5 s and more; one after the other, 1 s).
stop_all() {
  local name others=()
  for name in $(recorded_parts); do
    [[ $name == etcd ]] || others+=("$name")
  done
  stop "${others[@]}"
  stop etcd
}

# TERM to all at once, then KILL to those that take longer than 5 s.
stop() { # NAMES...
  local deadline=$((SECONDS + 5))
  signal TERM "$@"
  while any_alive "$@"; do
    if ((SECONDS > deadline)); then
      signal KILL "$@"
    fi
    sleep 0.05
  done
}

signal() { # SIGNAL NAMES...
  local signal=$1 name pid
  shift
  for name in "$@"; do
    pid=$(pid_of "$name") || continue
    [[ $signal == TERM ]] || say "$name does not stop, sending $signal"
    kill "-$signal" "$pid" 2>/dev/null || true
  done
}

any_alive() { # NAMES...
  local name
  for name in "$@"; do
    ! pid_of "$name" >/dev/null || return 0
  done
  return 1
}

# Runs a long command so that a signal to `up` is handled at once and not when the command
# ends, as bash would for one in the foreground. Its group gets the signal in abandon_command.
command_group=
interruptibly() { # COMMAND...
  local result=0
  (
    trap - INT # a script's background jobs ignore it
    exec setsid "$@"
  ) </dev/null >&2 8>&- &
  command_group=$!
  wait "$command_group" || result=$?
  command_group=
  return "$result"
}

# INT, because go and cargo wait for their compilers and clean up on it.
abandon_command() {
  local deadline=$((SECONDS + 10))
  [[ $command_group ]] || return 0
  kill -INT -- "-$command_group" 2>/dev/null || return 0
  while kill -0 -- "-$command_group" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.05; done
  kill -KILL -- "-$command_group" 2>/dev/null || true
}

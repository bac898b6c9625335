# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # awk programs; the benchmarks use what is set here, and set what is used
# Sourced by the benchmarks: measures commands, and says what came of it. Results are in $work.

# Runs COMMAND and appends wall, user and system seconds and the peak in KiB to the file NAME; prints that line too.
# What else was done on the machine meanwhile is kept as well: it makes everything slower.
measure() { # NAME COMMAND...
  local name=$1 result=0 others
  shift
  others=$(ticks_of_others)
  timeout --foreground 180 "$gnu_time" --quiet --format '%e %U %S %M' --output "$work/one" \
    "$@" >"$work/stdout" 2>"$work/stderr" || result=$?
  if ((result)); then
    tail -n 20 "$work/stderr" >&2
    die 1 "$name: exit code $result"
  fi
  others=$(($(ticks_of_others) - others))
  awk -v others="$others" -v hertz="$(getconf CLK_TCK)" -v cores="$(nproc)" \
    '{ print 100 * (others / hertz - $2 - $3) / ($1 + 0.01) / cores }' "$work/one" >>"$work/others-$name"
  cat "$work/one" >>"$work/result-$name"
  printf 'bench: %-18s %s\n' "$name" "$(awk '{ printf "%6.2f s wall, %5.2f s CPU, %4d MB", $1, $2 + $3, $4 * 1024 / 1e6 }' "$work/one")" >&2
}

# The server finishes what it has begun: watchers are served, garbage is collected.
settle() {
  local deadline=$((SECONDS + 20)) before after
  sleep 2
  while ((SECONDS < deadline)); do
    before=$(busy_ticks)
    sleep 1
    after=$(busy_ticks)
    ((after - before > $(getconf CLK_TCK) * $(nproc) / 2)) || return 0
  done
}

# Of all cores: user, nice, system and steal, proc(5).
busy_ticks() { awk '$1 == "cpu" { print $2 + $3 + $4 + $9; exit }' /proc/stat; }

# The same without the parts of the cluster.
ticks_of_others() {
  local file pid _ busy
  busy=$(busy_ticks)
  for file in "$SCIURO_CLUSTER_DIR"/pid/*; do
    read -r pid _ <"$file"
    busy=$((busy - $(sed 's/.*) //' "/proc/$pid/stat" | awk '{ print $12 + $13 }')))
  done
  printf '%s' "$busy"
}

# In milliseconds, which GNU time does not know.
measure_help() { # NAME ARGUMENTS...
  local name=$1 _ begun
  for _ in {1..20}; do
    begun=${EPOCHREALTIME/./}
    "$binary" "${@:2}" --help >/dev/null
    printf '%s 0 0 0\n' "$(awk -v us=$((${EPOCHREALTIME/./} - begun)) 'BEGIN { print us / 1000 }')" >>"$work/result-$name"
  done
}

# Median, smallest and largest of EXPRESSION over the runs of NAME.
summary() { # NAME EXPRESSION
  awk "{ print $2 }" "$work/result-$1" | sort --general-numeric-sort | awk '{ value[NR] = $1 }
    END { print (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2, value[1], value[NR] }'
}

median() { summary "$@" | cut --delimiter ' ' --fields 1; }

cell() { # DIGITS NAME EXPRESSION
  summary "$2" "$3" | awk -v form="%.$1f (%.$1f–%.$1f)" '{ printf form, $1, $2, $3 }'
}

quotient() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

# awk expressions over a line of `measure`.
wall='$1' cpu='$2 + $3' peak='$4 * 1024 / 1e6'

failed=0
verdict() { # WHAT VALUE LIMIT UNIT
  local word=PASS
  awk -v value="$2" -v limit="$3" 'BEGIN { exit !(value <= limit) }' || word=FAIL failed=1
  printf '| %s | %s%s | ≤ %s%s | **%s** |\n' "$1" "$2" "$4" "$3" "$4" "$word"
}

thousands() { sed --regexp-extended ':next; s/^([0-9]+)([0-9]{3})/\1,\2/; t next' <<<"$1"; }

version() { "$@" 2>/dev/null | grep --only-matching --extended-regexp --max-count 1 'v?[0-9]+\.[0-9]+\.[0-9]+' | head -n 1; }

machine() { printf '%s, %s × %s, load %s before' "$(date --utc +%F)" "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$load"; }

# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # awk programs; the benchmarks use what is set here, and set what is used
# Sourced by the benchmarks that compare sync with the floor: the least that the same work can cost, by curl.

prepare_patches() {
  write_patches patches-http1 false http1.1
  write_patches patches-http1-metadata false "http1.1
$metadata_only"
  write_patches patches-http2-metadata false "http2
$metadata_only"
  write_patches deletes true "http1.1
$metadata_only"
}

# curl three times, one after the other. What each took is kept beside the result.
measure_floor() { # NAME PATCHES
  settle
  measure "$1" bash -euc 'curl --disable --config "$1"; curl --disable --config "$2"
    curl --disable --no-progress-meter --noproxy "*" --parallel --parallel-max 8 --config "$3"' \
    floor "$work/list.curl" "$work/alerts.curl" "$work/$2.curl"
  awk 'NR == FNR { wall = $1; next } { part[FNR] = $1 } END { print part[1], part[2], wall - part[1] - part[2] }' \
    "$work/one" "$work/stdout" >>"$work/result-$1-parts"
  expect_conditions "$conditions" "$1"
  reset_nodes
}

# The fastest way that curl has is the floor.
choose_floor() {
  local kind best=
  declare -A title=(
    [http1]="HTTP/1.1" [http1-metadata]="HTTP/1.1, answers with metadata only" [http2-metadata]="HTTP/2, answers with metadata only"
  )
  for kind in http1 http1-metadata http2-metadata http1 http1-metadata http2-metadata; do
    measure_floor "trial-$kind" "patches-$kind"
  done
  for kind in "${!title[@]}"; do
    if [[ ! $best ]] || awk -v a="$(median "trial-$kind" "$wall")" -v b="$(median "trial-$best" "$wall")" 'BEGIN { exit !(a < b) }'; then
      best=$kind
    fi
  done
  floor_patches=patches-$best
  floor_kind=${title[$best]}
  say "floor: $floor_kind"
}

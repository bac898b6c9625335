# shellcheck shell=bash
# What must not change on the machine that all this runs on. Uses: $directory, die.

# Counters and what the kernel counts itself are no settings.
host_now() {
  cat /proc/sys/kernel/random/boot_id
  stat --format '%n %F %t:%T %a' /dev/{null,zero,full,random,urandom,tty,kmsg,fuse} 2>&1
  sysctl --all 2>/dev/null | grep --invert-match --extended-regexp \
    '^(kernel\.random\.|kernel\.ns_last_pid|kernel\.pty\.nr|kernel\.threads|fs\.(dentry|inode|file-nr|quota)|net\.netfilter\.nf_conntrack_count|kernel\.sched_domain|kernel\.perf_event_max_sample_rate|kernel\.perf_cpu_time)' |
    sort
}

remember_host() { host_now >"$directory/host-before"; }

check_host_unchanged() {
  local different
  [[ -e $directory/host-before ]] || return 0
  different=$(host_now | diff "$directory/host-before" -) || {
    printf '%s\n' "$different" >&2
    die 1 "the machines have changed the machine that they run on, see above"
  }
}

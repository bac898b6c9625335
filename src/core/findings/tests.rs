#![allow(clippy::format_collect)]

use super::*;

fn told(files: &[(&str, &str)]) -> String {
    let all = files.iter().flat_map(|(file, text)| in_file(file, text)).collect();
    once(all)
        .iter()
        .map(|finding| {
            format!("{} ×{}: {} ({})\n", finding.what, finding.count, finding.evidence, finding.file)
        })
        .collect()
}

const DMESG: &str = "\
[Mon Nov 23 02:10:01 2026] Linux version 6.12.9-amd64 (build@host)
[Mon Nov 23 03:00:12 2026] java invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=984
[Mon Nov 23 03:00:12 2026] Memory cgroup out of memory: Killed process 23112 (java) total-vm:9812344kB, anon-rss:2096128kB
[Mon Nov 23 03:04:12 2026] Out of memory: Killed process 812 (containerd-shim) total-vm:1238444kB
[Mon Nov 23 03:05:44 2026] INFO: task kworker/u64:2:8812 blocked for more than 122 seconds.
[Mon Nov 23 03:06:01 2026] EXT4-fs error (device nvme0n1p2): ext4_find_entry:1683: inode #524291: comm kubelet: reading directory lblock 0
[Mon Nov 23 03:06:01 2026] blk_update_request: I/O error, dev nvme0n1, sector 123456 op 0x0:(READ)
[Mon Nov 23 03:06:02 2026] EXT4-fs (nvme0n1p2): Remounting filesystem read-only
[Mon Nov 23 03:07:00 2026] nf_conntrack: nf_conntrack: table full, dropping packet
[Mon Nov 23 03:08:00 2026] mce: [Hardware Error]: Machine check events logged
[Mon Nov 23 03:08:00 2026] EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0
[Mon Nov 23 03:09:00 2026] watchdog: BUG: soft lockup - CPU#7 stuck for 26s! [kworker/7:1:221]
[Mon Nov 23 03:09:00 2026] CPU: 7 PID: 221 Comm: kworker/7:1 Tainted: G        W  OEL     6.12.9-amd64
[Mon Nov 23 03:10:00 2026] NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.
";

#[test]
fn the_kernels_log() {
    insta::assert_snapshot!(told(&[("host/dmesg.txt", DMESG)]));
}

#[test]
fn the_same_thing_in_two_files_is_told_once() {
    let kernel = "2026-11-23T03:04:12+0000 n1 kernel: Out of memory: Killed process 812 (containerd-shim)\n";
    let found =
        told(&[("host/dmesg.txt", DMESG), ("host/kernel.log", kernel), ("host/warnings.log", kernel)]);
    assert_eq!(found.matches("OOM kill").count(), 1, "{found}");
    assert!(found.contains("(host/kernel.log)"), "{found}");
}

#[test]
fn services() {
    let kubelet = "\
2026-11-23T03:00:00+0000 n1 kubelet[901]: I1123 03:00:00.1 901 kubelet_node_status.go:497] \"Recording event message for node\" node=\"n1\" event=\"NodeNotReady\"
2026-11-23T03:00:01+0000 n1 kubelet[901]: E1123 03:00:01.1 901 kubelet.go:2371] \"Skipping pod synchronization\" err=\"PLEG is not healthy: pleg was last seen active 3m12s ago; threshold is 3m0s\"
2026-11-23T03:01:00+0000 n1 kubelet[901]: E1123 03:01:00.1 901 pod_workers.go:1301] \"Error syncing pod, skipping\" err=\"failed to \\\"StartContainer\\\" for \\\"web\\\" with ImagePullBackOff\" pod=\"shop/web-0\"
2026-11-23T03:02:00+0000 n1 kubelet[901]: I1123 03:02:00.1 901 eviction_manager.go:366] \"eviction manager: must evict pod(s) to reclaim\" resourceName=\"ephemeral-storage\"
2026-11-23T03:02:01+0000 n1 kubelet[901]: write /var/lib/kubelet/x: no space left on device
2026-11-23T03:03:00+0000 n1 systemd[1]: containerd.service: Failed with result 'watchdog'.
";
    insta::assert_snapshot!(told(&[("host/kubelet.log", kubelet)]));
}

#[test]
fn figures_of_the_machine() {
    insta::assert_snapshot!(told(&[
        (
            "host/df.txt",
            "Filesystem     Type      Size  Used Avail Use% Mounted on\n\
             /dev/nvme0n1p2 ext4      100G   97G  0.5G  99% /\n\
             /dev/sdb1      xfs       1.0T  200G  800G  20% /var/lib/data\n\
             /dev/loop3     squashfs   64M   64M     0 100% /snap/core20/1\n",
        ),
        (
            "host/df-inodes.txt",
            "Filesystem     Type     Inodes IUsed IFree IUse% Mounted on\n\
             /dev/sdb1      ext4       6.3M  6.2M  0.1M   98% /var/lib/data\n\
             tmpfs          tmpfs      2.0M   800  2.0M    1% /run\n",
        ),
        (
            "host/failed-units.txt",
            "  UNIT               LOAD   ACTIVE SUB    DESCRIPTION\n\
             ● containerd.service loaded failed failed containerd container runtime\n\
             \n\
             Legend: LOAD   → Reflects whether the unit definition was properly loaded.\n\
             1 loaded units listed.\n",
        ),
        (
            "host/pressure.txt",
            "/proc/pressure/cpu:some avg10=12.00 avg60=10.10 avg300=8.00 total=991\n\
             /proc/pressure/cpu:full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n\
             /proc/pressure/io:some avg10=64.20 avg60=58.11 avg300=41.90 total=882\n\
             /proc/pressure/io:full avg10=1.20 avg60=1.11 avg300=0.90 total=112\n\
             /proc/pressure/memory:full avg10=31.20 avg60=24.10 avg300=2.00 total=77\n",
        ),
        (
            "host/conntrack.txt",
            "/proc/sys/net/netfilter/nf_conntrack_count:250112\n/proc/sys/net/netfilter/nf_conntrack_max:262144\n",
        ),
        (
            "host/edac.txt",
            "/sys/devices/system/edac/mc/mc0/ce_count:17\n/sys/devices/system/edac/mc/mc0/ue_count:0\n",
        ),
        ("host/pstore.txt", "/sys/fs/pstore/dmesg-efi-1:Panic#1 Part1\n"),
        (
            "host/timedatectl.txt",
            "               Local time: Mon\nSystem clock synchronized: no\n              NTP service: active\n"
        ),
        ("host/sysctl.txt", "kernel.sysrq = 16\nkernel.tainted = 4737\n"),
        (
            "host/meminfo.txt",
            "MemTotal:       65000000 kB\nMemFree:          120000 kB\nMemAvailable:    1000000 kB\n"
        ),
        ("host/mounts.txt", "/dev/nvme0n1p2 / ext4 ro,relatime 0 0\n/dev/sdb1 /data xfs rw 0 0\n"),
        ("kubelet/healthz.txt", "[+]ping ok\n[-]syncloop failed: reason withheld\n"),
    ]));
}

#[test]
fn events() {
    let events = "\
2026-11-23T03:00:00Z Warning SystemOOM Node/n1 ×3: System OOM encountered, victim process: java, pid: 23112
2026-11-23T03:00:10Z Normal NodeNotReady Node/n1 ×2: Node n1 status is now: NodeNotReady
2026-11-23T03:00:20Z Warning Evicted Pod/web-0 : The node was low on resource: ephemeral-storage.
2026-11-23T03:01:00Z Warning Failed Pod/web-1 ×12: Failed to pull image \"registry.example/web:9\": not found
2026-11-23T03:02:00Z Warning BackOff Pod/db-0 ×81: Back-off restarting failed container db in pod db-0
2026-11-23T03:03:00Z Normal Pulled Pod/db-0 ×81: Container image already present
";
    insta::assert_snapshot!(told(&[("events.txt", events), ("after/events.txt", "")]));
}

#[test]
fn a_healthy_machine_has_nothing_to_tell() {
    let found = told(&[
        ("host/dmesg.txt", "[Mon] Linux version 6.12.9\n[Mon] EXT4-fs (sda1): mounted filesystem\n"),
        (
            "host/df.txt",
            "Filesystem Type Size Used Avail Use% Mounted on\n/dev/sda1 ext4 100G 20G 80G 20% /\n",
        ),
        ("host/failed-units.txt", "0 loaded units listed.\n"),
        ("host/pressure.txt", "/proc/pressure/io:full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"),
        ("host/conntrack.txt", "nf_conntrack_count:12\nnf_conntrack_max:262144\n"),
        ("host/edac.txt", "/sys/devices/system/edac/mc/mc0/ce_count:0\n"),
        ("host/pstore.txt", ""),
        ("host/timedatectl.txt", "System clock synchronized: yes\n"),
        ("host/sysctl.txt", "kernel.tainted = 12289\n"), // another's module
        ("host/conntrack.txt", "nf_conntrack_count:\n"),
        ("events.txt", "2026-11-23T03:03:00Z Normal Pulled Pod/db-0 : Container image\n"),
        // What a pod says is its own affair.
        ("pods/shop/web/host/c.log", "Out of memory: Killed process 1 (x)\n"),
    ]);
    assert_eq!(found, "");
}

/// A log is the machine's: it may try to look like something else.
#[test]
fn evidence_is_one_short_line() {
    let line = format!("Killed process 1 `x`\u{1b}[31m\u{202e}{}", "y".repeat(500));
    let found = in_file("host/dmesg.txt", &line);
    assert_eq!(found[0].evidence.chars().count(), 201);
    assert!(!found[0].evidence.contains(['`', '\u{1b}', '\u{202e}']));
}

fn facts(values: &[(&str, &str)], files: &[(&str, &str)]) -> Facts {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Facts {
        values: values.iter().map(pair).collect(),
        findings: files.iter().flat_map(|(file, text)| in_file(file, text)).collect(),
        files: files.iter().map(|(file, _)| (*file).to_owned()).collect(),
    }
}

#[test]
fn what_a_boot_has_changed() {
    let clock = ("host/timedatectl.txt", "System clock synchronized: no");
    let before = facts(
        &[("boot", "0a0b"), ("kernel", "6.12.8"), ("system", "Debian"), ("Ready", "False, KubeletNotReady")],
        &[("host/dmesg.txt", DMESG), clock, ("host/failed-units.txt", "0 loaded units listed.")],
    );
    let after = facts(
        &[
            ("boot", "1c1d"),
            ("kernel", "6.12.9"),
            ("system", "Debian"),
            ("Ready", "True, KubeletReady"),
            ("GPUs", "7"),
        ],
        &[
            ("host/dmesg.txt", "[Mon] Linux version 6.12.9\n"),
            ("host/kernel.previous-boot.log", DMESG),
            clock,
            ("host/failed-units.txt", "● x.service loaded failed failed X"),
            ("host/pstore.txt", "/sys/fs/pstore/dmesg-efi-1:Panic#1"), // nobody looked before
        ],
    );
    insta::assert_snapshot!(changes(&before, &after).join("\n"));
    let without_the_host = facts(&[("boot", "1c1d")], &[]);
    assert!(!changes(&before, &without_the_host).iter().any(|line| line.contains("gone")), "nobody looked");
}

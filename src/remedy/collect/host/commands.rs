//! What is asked of a machine, and the script that asks.
//!
//! What the kernel holds in memory comes first and needs no disk: a machine whose disk hangs still tells that much.

use std::fmt::Write;

use super::super::Moment;

/// One command and the file that its output goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// Below `host/`.
    pub(super) file: &'static str,
    /// Words, with `{since}` for the oldest line of a journal.
    command: &'static str,
    pub(super) keep: Keep,
    /// Bytes that are kept.
    pub(super) most: usize,
    /// After so many seconds it is ended.
    seconds: u64,
    /// To find nothing is no failure.
    pub(super) may_be_empty: bool,
    asked: Asked,
}

/// Which part of a long output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Head,
    Tail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Always,
    /// What went before the boot is in a journal that only now is another boot's.
    AfterTheBoot,
    BeforeTheDrain,
}

impl Item {
    /// The program's name.
    pub(super) fn program(&self) -> &str {
        self.command.split(' ').next().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) const fn within(self, seconds: u64) -> Self {
        Self { seconds, ..self }
    }

    /// What is searched may not be there.
    pub(super) const fn grep(self) -> Self {
        Self { may_be_empty: true, ..self }
    }

    const fn only(self, asked: Asked) -> Self {
        Self { asked, ..self }
    }
}

/// The beginning of what a command says.
pub(super) const fn head(file: &'static str, command: &'static str) -> Item {
    let (keep, most, seconds) = (Keep::Head, 1 << 20, 10);
    Item { file, command, keep, most, seconds, may_be_empty: false, asked: Asked::Always }
}

/// The end of what a command says.
pub(super) const fn tail(file: &'static str, command: &'static str) -> Item {
    Item { keep: Keep::Tail, most: 4 << 20, seconds: 30, ..head(file, command) }
}

const ITEMS: &[Item] = &[
    head("uptime.txt", "uptime"),
    head("uname.txt", "uname -a"),
    head("pressure.txt", "grep -rs . /proc/pressure").grep(),
    head("meminfo.txt", "cat /proc/meminfo"),
    head("vmstat.txt", "cat /proc/vmstat"),
    head("free.txt", "free -m"),
    head("mounts.txt", "cat /proc/self/mounts"),
    head("cmdline.txt", "cat /proc/cmdline"),
    head("conntrack.txt", "grep -s . /proc/sys/net/netfilter/nf_conntrack_count /proc/sys/net/netfilter/nf_conntrack_max").grep(),
    tail("dmesg.txt", "dmesg -T"),
    // Crashes that the firmware remembers, and memory that is going bad.
    head("pstore.txt", "grep -rs . /sys/fs/pstore").grep(),
    head("edac.txt", "grep -rs . /sys/devices/system/edac/mc --include=*_count --include=dimm_label").grep(),
    head("os-release.txt", "cat /etc/os-release"),
    head("timedatectl.txt", "timedatectl"),
    // The largest first, and what waits for a disk is in state D.
    head("ps.txt", "ps -ww -eo pid,ppid,user,stat,nlwp,pcpu,pmem,rss,etime,wchan:24,args --sort=-rss"),
    head("ss-summary.txt", "ss -s"),
    head("ss.txt", "ss -tuanp exclude time-wait"),
    head("ip-addr.txt", "ip addr"),
    head("ip-link.txt", "ip -s link"),
    head("ip-route.txt", "ip route show table all"),
    head("ip-rule.txt", "ip rule"),
    head("lsblk.txt", "lsblk -o NAME,TYPE,SIZE,RO,STATE,ROTA,FSTYPE,MODEL,MOUNTPOINT"),
    head("df.txt", "df -lhT -x overlay -x squashfs"),
    head("df-inodes.txt", "df -liT -x overlay -x squashfs"),
    head("sysctl.txt", "sysctl -a"),
    head("failed-units.txt", "systemctl list-units --failed --all --no-pager --full"),
    head("iptables.txt", "iptables-save"),
    head("nft.txt", "nft list ruleset"),
    head("crictl-ps.txt", "crictl --timeout 8s ps -a"),
    head("crictl-pods.txt", "crictl --timeout 8s pods"),
    head("crictl-info.json", "crictl --timeout 8s info"),
    head("boots.txt", "journalctl --no-pager --list-boots"),
    tail("kernel.log", "journalctl --no-pager -o short-iso -n 50000 -k -b 0"),
    tail("kernel.previous-boot.log", "journalctl --no-pager -o short-iso -n 50000 -k -b -1"),
    tail("kubelet.log", "journalctl --no-pager -o short-iso -n 50000 --since {since} -u kubelet -u k3s -u k3s-agent -u rke2-server -u rke2-agent"),
    tail("runtime.log", "journalctl --no-pager -o short-iso -n 50000 --since {since} -u containerd -u crio -u docker -u cri-docker"),
    tail("warnings.log", "journalctl --no-pager -o short-iso -n 20000 --since {since} -p warning").only(Asked::BeforeTheDrain),
    tail("kubelet.previous-boot.log", "journalctl --no-pager -o short-iso -n 50000 -b -1 -u kubelet -u k3s -u k3s-agent -u rke2-server -u rke2-agent").only(Asked::AfterTheBoot),
    tail("runtime.previous-boot.log", "journalctl --no-pager -o short-iso -n 50000 -b -1 -u containerd -u crio -u docker -u cri-docker").only(Asked::AfterTheBoot),
    tail("previous-boot-end.log", "journalctl --no-pager -o short-iso -n 20000 -b -1").only(Asked::AfterTheBoot),
];

/// What is asked at this moment, in this order.
pub(super) fn items(moment: Moment) -> Vec<Item> {
    let other = match moment {
        Moment::BeforeTheDrain => Asked::AfterTheBoot,
        Moment::AfterTheBoot => Asked::BeforeTheDrain,
    };
    ITEMS.iter().copied().filter(|item| item.asked != other).collect()
}

/// Asks for each item and prints what it said as frames; see [`super::frames`]. `$0` marks them, `$1` is a directory for what
/// is under way, and the other arguments enter the host: none of them on the machine itself.
///
/// A command may hang in the kernel, where no signal reaches it. So it writes to a pipe of its own, and whoever reads that
/// pipe gives up a little later than the command is ended. What it says is base64 of gzip: no line of it can look like ours.
const BEGIN: &str = r#"
export LC_ALL=C PATH="$PATH:/run/current-system/sw/bin:/opt/bin"
mark=$0 spool=$1
shift
enter="$*"
n=0
item() {
  seconds=$1 most=$2 end=$3
  shift 3
  n=$((n + 1))
  began=$(date +%s)
  mkfifo "$spool/$n"
  { timeout -k 1 "$seconds" $enter "$@"; echo $? > "$spool/$n.code"; } < /dev/null > "$spool/$n" 2>&1 &
  timeout -k 1 $((seconds + 3)) "$end" -c $((most + 1)) < "$spool/$n" > "$spool/out"
  code=$(cat "$spool/$n.code" 2> /dev/null)
  printf '%s %s %s %s\n' "$mark" "$n" "${code:--}" $(($(date +%s) - began))
  gzip -c < "$spool/out" | base64
  rm -f "$spool/$n" "$spool/$n.code" "$spool/out"
}
printf '%s begin\n' "$mark"
$enter true < /dev/null || exit 1
"#;

/// busybox's timeout leaves a process that looks once in a second whether its command is still there. Some thirty are left when all is
/// said, and were they killed with the pod, containerd's shim would take 1 s for each: it can tell of 32 ends at once, and waits so
/// long for each that nobody takes (containerd's `Reap`, containerd/containerd#12678; 45 s until the pod was gone, measured).
const END: &str = "sleep 1\nprintf '%s end %s\\n' \"$mark\" \"$n\"\n";

/// `since`: how old a journal's lines may be, in seconds; `None`: of any age.
pub(super) fn script(items: &[Item], since: Option<u64>) -> String {
    let since = since.map_or_else(|| "@0".to_owned(), |seconds| format!("-{seconds}s"));
    let mut script = BEGIN.to_owned();
    for item in items {
        let end = match item.keep {
            Keep::Head => "head",
            Keep::Tail => "tail",
        };
        let _ = write!(script, "item {} {} {end}", item.seconds, item.most);
        for word in item.command.split(' ') {
            let word = if word == "{since}" { since.as_str() } else { word };
            // The words are ours, and none has a quote.
            let _ = write!(script, " '{word}'");
        }
        script.push('\n');
    }
    script.push_str(END);
    script
}

#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Stdio};

use regex::Regex;

use super::super::redact::Redactor;
use super::commands::{head, items, script, tail};
use super::*;

const MARK: &str = "6f1d0e0a-8c0c-4c43-9a5e-3a3e3ed9b6f5";

/// What the helper's very script prints on this machine, which it need not enter.
fn log(items: &[Item]) -> Vec<u8> {
    let spool = tempfile::tempdir().unwrap();
    let output = Command::new("/bin/sh")
        .args(["-c", &script(items, Some(3600)), MARK, spool.path().to_str().unwrap()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn reader(items: &[Item]) -> Reader<'static> {
    Reader::new(MARK, items.iter().map(|item| item.most))
}

fn read(items: &[Item]) -> Vec<Frame> {
    let mut reader = reader(items);
    let frames = reader.read(&log(items));
    assert!(reader.is_done() && frames.len() == items.len(), "{} of {}", frames.len(), items.len());
    frames
}

fn judged(items: &[Item]) -> Vec<Judged> {
    items.iter().zip(read(items)).map(|(item, frame)| judge(item, frame)).collect()
}

fn missing(why: &str) -> Judged {
    Judged::Missing(why.to_owned())
}

#[test]
fn this_machine_tells_what_it_is() {
    // What a person may not hand on, among the arguments of a process.
    let mut leaks = Command::new("/bin/sh")
        .args(["-c", "read -r x", "--db-password=hunter2hunter2"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let items = items(Moment::AfterTheBoot);
    let judged = judged(&items);
    drop(leaks.stdin.take());
    leaks.wait().unwrap();

    let text = |file: &str| {
        let place = items.iter().position(|item| item.file == file).unwrap();
        let Judged::There { content, note: None } = &judged[place] else {
            panic!("{file}: {:?}", judged[place])
        };
        String::from_utf8(content.clone()).unwrap()
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    for (file, line) in [
        ("uname.txt", format!("^Linux .*{}", regex::escape(kernel.trim()))),
        ("meminfo.txt", r"^MemTotal: +\d+ kB$".into()),
        ("vmstat.txt", r"^oom_kill \d+$".into()),
        ("mounts.txt", r"^\S+ / \S+ ".into()),
        ("mounts.txt", r"^\S+ /proc proc ".into()),
        ("os-release.txt", "^ID=".into()),
    ] {
        assert!(Regex::new(&format!("(?m){line}")).unwrap().is_match(&text(file)), "{file}: {}", text(file));
    }
    assert_eq!(text("cmdline.txt"), std::fs::read_to_string("/proc/cmdline").unwrap());
    for (place, (item, judged)) in items.iter().zip(&judged).enumerate() {
        match judged {
            Judged::Missing(why) => {
                assert!(!why.is_empty() && !why.contains('\n'), "{place} {}: {why}", item.file);
            }
            Judged::There { content, .. } => assert!(content.len() <= item.most),
        }
    }
    let ps = text("ps.txt");
    assert!(ps.contains("COMMAND") && ps.contains("hunter2hunter2"), "{ps}");
    let (ps, _) = Redactor::new(Vec::new()).text(&ps);
    assert!(ps.contains("--db-password=") && !ps.contains("hunter2hunter2"), "{ps}");
}

/// A machine in namespaces of its own, with files, a name and a network that this one has not.
struct Other(std::process::Child);

impl Other {
    fn start() -> Self {
        const INIT: &str = "mount -t tmpfs none /etc && echo ID=other > /etc/os-release && hostname other && echo up && read -r x";
        let mut init = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--uts", "--net", "sh", "-c", INIT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(init.stdout.as_mut().unwrap()), &mut line)
            .unwrap();
        assert_eq!(line, "up\n", "unshare(1) has no user namespace to give");
        Self(init)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

/// By the helper's own words, but for the process that is entered, which is never this machine's first.
#[test]
fn the_machine_is_entered() {
    let other = Other::start();
    let pid = other.0.id().to_string();
    assert_eq!(ENTER[..3], ["nsenter", "-t", "1"]);
    let enter =
        ["nsenter", "-t", &pid, "-U", "--preserve-credentials"].into_iter().chain(ENTER[3..].iter().copied());
    let items: Vec<Item> = items(Moment::BeforeTheDrain)
        .into_iter()
        .filter(|item| {
            ["uname.txt", "os-release.txt", "mounts.txt", "ip-addr.txt", "meminfo.txt"].contains(&item.file)
        })
        .collect();
    let spool = tempfile::tempdir().unwrap();
    let output = Command::new("/bin/sh")
        .args(["-c", &script(&items, None), MARK, spool.path().to_str().unwrap()])
        .args(enter)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let frames = reader(&items).read(&output.stdout);
    let judged: Vec<Judged> = items.iter().zip(frames).map(|(item, frame)| judge(item, frame)).collect();
    let text = |file: &str| {
        let place = items.iter().position(|item| item.file == file).unwrap();
        match &judged[place] {
            Judged::There { content, note: None } => String::from_utf8(content.clone()).unwrap(),
            other => panic!("{file}: {other:?}"),
        }
    };
    assert_eq!(text("os-release.txt"), "ID=other\n");
    assert!(text("uname.txt").starts_with("Linux other "), "{}", text("uname.txt"));
    assert!(
        text("mounts.txt").lines().any(|line| line.starts_with("none /etc tmpfs ")),
        "{}",
        text("mounts.txt")
    );
    assert!(text("meminfo.txt").contains("MemTotal:"));
    let addresses = text("ip-addr.txt");
    assert!(addresses.contains("1: lo:") && !addresses.contains("2: "), "{addresses}");
}

#[test]
fn each_command_stands_for_itself() {
    let items = [
        head("none", "no-such-program --now"),
        head("silent", "false"),
        head("complains", "ls /no/such/directory"),
        head("nothing", "grep -s x /no/such/file").grep(),
        head("long", "yes a line"),
        head("endless", "cat /dev/zero"),
        tail("end", "seq 1 1000000"),
        head("late", "sleep 600").within(1),
        head("binary", "head -c 300 /proc/self/exe"),
        head("last", "echo last"),
    ];
    let judged = judged(&items);
    assert_eq!(judged[0], missing("the machine has no no-such-program"));
    assert_eq!(judged[1], missing("false failed with exit code 1"));
    let Judged::Missing(why) = &judged[2] else { panic!("{:?}", judged[2]) };
    assert!(why.starts_with("ls failed with exit code 2: ls: cannot access"), "{why}");
    assert_eq!(judged[3], Judged::There { content: Vec::new(), note: None });
    let Judged::There { content, note } = &judged[4] else { panic!("{:?}", judged[4]) };
    assert!(content.ends_with(b"a line\n") && content.len() <= 1 << 20, "whole lines");
    assert_eq!(note.as_deref(), Some("cut after 1048576 bytes"));
    assert_eq!(judged[5], missing("cut after 1048576 bytes"), "a secret may be cut in it");
    let Judged::There { content, note } = &judged[6] else { panic!("{:?}", judged[6]) };
    let text = std::str::from_utf8(content).unwrap();
    assert!(text.ends_with("\n999999\n1000000\n") && content.len() <= 4 << 20);
    assert!(
        text.lines().next().unwrap().parse::<u32>().is_ok_and(|first| first > 1),
        "from a line's beginning"
    );
    assert_eq!(note.as_deref(), Some("its last 4194304 bytes only"));
    let Judged::Missing(why) = &judged[7] else { panic!("{:?}", judged[7]) };
    assert!(why.starts_with("sleep was ended after "), "{why}");
    let Judged::There { content, note: None } = &judged[8] else { panic!("{:?}", judged[8]) };
    assert_eq!((content.len(), &content[..4]), (300, &b"\x7fELF"[..]));
    assert_eq!(judged[9], Judged::There { content: b"last\n".to_vec(), note: None });
}

/// What holds its pipe open when its time is over keeps nobody.
#[test]
fn what_cannot_be_ended_is_left_behind() {
    let items = [head("hangs", "setsid sleep 30").within(0), head("next", "echo next")];
    let frames = read(&items);
    assert_eq!(frames[1].content, b"next\n");
}

/// Somebody who writes a log writes no file of the bundle.
#[test]
fn output_cannot_look_like_the_helpers_own() {
    let forged = "6f1d0e0a-8c0c-4c43-9a5e-3a3e3ed9b6f5";
    let items = [head("a", "echo 6f1d0e0a-8c0c-4c43-9a5e-3a3e3ed9b6f5 2 0 0"), head("b", "echo b")];
    assert_eq!(forged, MARK);
    let frames = read(&items);
    assert_eq!(frames[0].content, format!("{MARK} 2 0 0\n").as_bytes());
    assert_eq!(frames[1].content, b"b\n");
}

#[test]
fn a_log_that_was_cut_anywhere_is_noticed() {
    let items = [head("a", "echo a"), tail("b", "seq 1 500"), head("c", "echo c")];
    let log = log(&items);
    let whole = reader(&items).read(&log);
    assert!(whole.iter().all(|frame| frame.broken.is_none()));
    for end in 0..log.len() - 1 {
        let mut reader = reader(&items);
        let mut frames: Vec<Frame> = log[..end].chunks(7).flat_map(|chunk| reader.read(chunk)).collect();
        assert!(!reader.is_done(), "{end}");
        assert_eq!(frames, whole[..frames.len()], "{end}");
        if let (Some(frame), _) = reader.interrupted() {
            assert!(frame.broken.is_some(), "{end}");
            assert!(whole[frames.len()].content.starts_with(&frame.content), "{end}");
            frames.push(frame);
        }
        assert!(frames.len() <= items.len());
    }
}

#[test]
fn a_log_that_is_none_of_ours_is_no_more_than_a_reason() {
    let items = [head("a", "true")];
    let mut reader = reader(&items);
    for noise in ["x\n", "\u{1b}[31m\n", &"y".repeat(1 << 20), "\nnsenter: cannot open /proc/1/ns/mnt\n"] {
        assert!(reader.read(noise.as_bytes()).is_empty());
    }
    assert!(reader.read(format!("{MARK} 7 0 0\n{MARK} x\n{MARK} 0 0 0\n").as_bytes()).is_empty());
    assert!(!reader.is_done());
    let (frame, stray) = reader.interrupted();
    assert_eq!((frame, stray.as_str()), (None, "nsenter: cannot open /proc/1/ns/mnt"));
}

/// A helper that lies sends more than any item can have: it is not kept.
#[test]
fn what_unpacks_to_too_much_is_cut() {
    use base64::Engine;
    use std::io::Write;
    let items = [head("a", "true")];
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 64 << 20]).unwrap();
    let bomb = base64::engine::general_purpose::STANDARD.encode(bomb.finish().unwrap());
    let mut reader = reader(&items);
    reader.read(format!("{MARK} 1 0 0\n").as_bytes());
    for line in bomb.as_bytes().chunks(76) {
        reader.read(&[line, b"\n"].concat());
    }
    let frames = reader.read(format!("{MARK} end 1\n").as_bytes());
    assert!(frames[0].content.len() <= (1 << 20) + 1 && frames[0].broken.is_some());
}

#[test]
fn the_pod() {
    let options = HelperOptions::new("kube-system", "registry.example/busybox@sha256:0");
    let mut pod = manifest_of(&options);
    assert!(
        pod["spec"]["containers"][0]["args"][0].as_str().unwrap().contains("item 10 1048576 head 'uptime'")
    );
    pod["spec"]["containers"][0]["args"][0] = "SCRIPT".into();
    insta::assert_json_snapshot!(pod);
}

fn manifest_of(options: &HelperOptions) -> Value {
    let script = script(&items(Moment::BeforeTheDrain), Some(86_400));
    let name = Job::CollectBefore.name("0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11");
    let (node, id) = ("w1", "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11");
    manifest(&name, &script, MARK, options, node, id, Duration::from_secs(290))
}

//! kubectl's filters as a table, with its messages.

use super::super::pod::{Owner, Phase};
use super::*;
use crate::core::helper::{Job, MANAGED_BY, MANAGER, REMEDIATION};

const HELPERS: &str = "kube-system";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

fn owned_by(api_version: &str, kind: &str) -> Pod {
    let owner = Owner { api_version: api_version.into(), kind: kind.into(), ..Owner::default() };
    Pod { owner: Some(owner), ..alone() }
}

fn alone() -> Pod {
    Pod { namespace: "ns".into(), name: "p".into(), phase: Phase::Running, ..Pod::default() }
}

fn named(name: &str, pod: Pod) -> Pod {
    Pod { name: name.into(), ..pod }
}

fn in_namespace(namespace: &str, pod: Pod) -> Pod {
    Pod { namespace: namespace.into(), ..pod }
}

fn helper() -> Pod {
    let id = "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11";
    let labels = [(MANAGED_BY, MANAGER), (REMEDIATION, id)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    in_namespace(HELPERS, Pod { labels, ..named(&Job::Probe.name(id), alone()) })
}

fn with_empty_dir(pod: Pod) -> Pod {
    Pod { empty_dirs: vec!["scratch".into()], ..pod }
}

fn none() -> Policy {
    Policy { ignore_daemonsets: false, ..Policy::default() }
}

fn all() -> Policy {
    Policy { ignore_daemonsets: true, delete_emptydir_data: true, force: true, skip_wait_for_delete: 0 }
}

fn evict(warnings: &[&str]) -> Verdict {
    Verdict::Evict(warnings.iter().map(|warning| (*warning).to_owned()).collect())
}

#[test]
fn each_kind_of_pod_has_its_verdict() {
    let set = || owned_by("apps/v1", "ReplicaSet");
    let daemon = || owned_by("apps/v1", "DaemonSet");
    let blocked = Verdict::Blocked;
    let over = |phase, pod: Pod| Pod { phase, ..pod };
    let mirror = |pod: Pod| Pod { is_mirror: true, ..pod };
    let table = [
        ("a controller's pod", set(), none(), evict(&[])),
        ("without a controller", alone(), none(), blocked(Blocked::Unmanaged)),
        ("without a controller, --force", alone(), all(), evict(&[UNMANAGED])),
        ("emptyDir", with_empty_dir(set()), none(), blocked(Blocked::LocalStorage)),
        ("emptyDir, with its flag", with_empty_dir(set()), all(), evict(&[LOCAL_STORAGE])),
        (
            "local storage comes before the controller",
            with_empty_dir(alone()),
            none(),
            blocked(Blocked::LocalStorage),
        ),
        ("both, with both flags", with_empty_dir(alone()), all(), evict(&[LOCAL_STORAGE, UNMANAGED])),
        ("over", over(Phase::Succeeded, with_empty_dir(alone())), none(), evict(&[])),
        ("failed", over(Phase::Failed, with_empty_dir(alone())), none(), evict(&[])),
        ("pending is not over", over(Phase::Pending, alone()), none(), blocked(Blocked::Unmanaged)),
        ("static", mirror(alone()), none(), Verdict::Skip(Skip::Mirror)),
        ("static with an emptyDir", mirror(with_empty_dir(alone())), none(), Verdict::Skip(Skip::Mirror)),
        ("a DaemonSet's", daemon(), none(), blocked(Blocked::DaemonSet)),
        ("a DaemonSet's, ignored", daemon(), all(), Verdict::Skip(Skip::DaemonSet)),
        ("a DaemonSet's that is over", over(Phase::Failed, daemon()), none(), evict(&[])),
        ("a DaemonSet's that is static too", mirror(daemon()), none(), blocked(Blocked::DaemonSet)),
        ("another group's DaemonSet", owned_by("apps.kruise.io/v1", "DaemonSet"), none(), evict(&[])),
        ("an old DaemonSet", owned_by("extensions/v1beta1", "DaemonSet"), none(), evict(&[])),
        ("a helper pod", helper(), none(), Verdict::Skip(Skip::Helper)),
        (
            "c1: with its labels and name, a tenant's",
            in_namespace("ns", helper()),
            all(),
            evict(&[UNMANAGED]),
        ),
        ("c1: with its labels, under another name", named("web", helper()), all(), evict(&[UNMANAGED])),
        (
            "c1: with its labels and name, a controller's",
            Pod { owner: set().owner, ..helper() },
            none(),
            evict(&[]),
        ),
        ("c1: with its labels and name, static", mirror(helper()), none(), Verdict::Skip(Skip::Mirror)),
    ];
    for (what, pod, policy, expected) in table {
        assert_eq!(classify(&pod, policy, HELPERS, &DaemonSet::Exists, at(0)), expected, "{what}");
    }
}

#[test]
fn a_daemon_set_that_is_gone_takes_force() {
    let pod = owned_by("apps/v1", "DaemonSet");
    let words = "daemonsets.apps \"agent\" not found";
    let gone = DaemonSet::NotFound(words.into());
    let blocked = Verdict::Blocked(Blocked::DaemonSetGone(words.into()));
    assert_eq!(classify(&pod, Policy { force: false, ..all() }, HELPERS, &gone, at(0)), blocked);
    assert_eq!(classify(&pod, all(), HELPERS, &gone, at(0)), evict(&[words]));
    let denied = DaemonSet::Unknown("forbidden".into());
    let blocked = Verdict::Blocked(Blocked::DaemonSetUnknown("forbidden".into()));
    assert_eq!(classify(&pod, all(), HELPERS, &denied, at(0)), blocked, "--force is for those that are gone");
}

/// A pod, the flags that are typed, its `DaemonSet`, the flags that it needs, and what is done with it then.
type Needs<'r> = (&'r str, Pod, Policy, &'r DaemonSet, &'r [&'r str], Verdict);

/// Each flag once, in kubectl's order, and what is done with the pod when they are there.
#[test]
fn f9_a2_what_a_person_is_asked_for_is_all_that_the_pod_needs() {
    let (gone, unknown) = (DaemonSet::NotFound("gone".into()), DaemonSet::Unknown("forbidden".into()));
    let daemon = || owned_by("apps/v1", "DaemonSet");
    let emptydir = Policy { delete_emptydir_data: true, ..none() };
    let table: [Needs<'_>; 8] = [
        ("nothing", owned_by("apps/v1", "ReplicaSet"), none(), &DaemonSet::Exists, &[], evict(&[])),
        ("one", alone(), none(), &DaemonSet::Exists, &["--force"], evict(&[UNMANAGED])),
        (
            "two",
            with_empty_dir(alone()),
            none(),
            &DaemonSet::Exists,
            &["--delete-emptydir-data", "--force"],
            evict(&[LOCAL_STORAGE, UNMANAGED]),
        ),
        (
            "what is typed is not asked",
            with_empty_dir(alone()),
            emptydir,
            &DaemonSet::Exists,
            &["--force"],
            evict(&[LOCAL_STORAGE, UNMANAGED]),
        ),
        (
            "left",
            daemon(),
            none(),
            &DaemonSet::Exists,
            &["--ignore-daemonsets"],
            Verdict::Skip(Skip::DaemonSet),
        ),
        (
            "of a set that is gone",
            with_empty_dir(daemon()),
            none(),
            &gone,
            &["--force", "--delete-emptydir-data"],
            evict(&["gone", LOCAL_STORAGE]),
        ),
        (
            "of a set that cannot be asked for",
            with_empty_dir(daemon()),
            none(),
            &unknown,
            &[],
            Verdict::Blocked(Blocked::DaemonSetUnknown("forbidden".into())),
        ),
        (
            "static",
            Pod { is_mirror: true, ..alone() },
            none(),
            &DaemonSet::Exists,
            &[],
            Verdict::Skip(Skip::Mirror),
        ),
    ];
    for (what, pod, policy, daemon_set, flags, verdict) in table {
        let (needed, found) = consents(&pod, policy, HELPERS, daemon_set, at(0));
        assert_eq!(needed.iter().filter_map(Blocked::flag).collect::<Vec<_>>(), flags, "{what}");
        assert_eq!(found, verdict, "{what}");
    }
}

#[test]
fn pods_that_end_for_long_are_skipped() {
    let policy = Policy { skip_wait_for_delete: 10, ..none() };
    let ending = Pod { deletion: Some(at(100)), ..alone() };
    let verdict =
        |pod: &Pod, policy: Policy, now| classify(pod, policy, HELPERS, &DaemonSet::Exists, at(now));
    assert_eq!(verdict(&ending, policy, 111), Verdict::Skip(Skip::Ending));
    for (pod, policy, now) in [(&ending, policy, 110), (&ending, policy, 90), (&ending, none(), 999)] {
        assert_eq!(verdict(pod, policy, now), Verdict::Blocked(Blocked::Unmanaged));
    }
    assert_eq!(verdict(&alone(), policy, 999), Verdict::Blocked(Blocked::Unmanaged), "it does not end");
}

#[test]
fn messages_are_kubectls() {
    let pods = [
        named("a", owned_by("apps/v1", "DaemonSet")),
        named("b", owned_by("apps/v1", "DaemonSet")),
        named("c", with_empty_dir(alone())),
        named("d", alone()),
        named("e", owned_by("apps/v1", "ReplicaSet")),
    ];
    let classified = |policy: Policy| {
        let of = |pod: &Pod| Classified {
            pod: pod.clone(),
            verdict: classify(pod, policy, HELPERS, &DaemonSet::Exists, at(0)),
        };
        pods.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        refusals(&classified(none())),
        [
            "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): ns/a, ns/b",
            "cannot delete Pods that declare no controller (use --force to override): ns/d",
            "cannot delete Pods with local storage (use --delete-emptydir-data to override): ns/c",
        ]
    );
    assert_eq!(refusals(&classified(all())), Vec::<String>::new());
    assert_eq!(
        warnings(&classified(all())),
        [
            "deleting Pods that declare no controller: ns/c, ns/d",
            "deleting Pods with local storage: ns/c",
            "ignoring DaemonSet-managed Pods: ns/a, ns/b",
        ]
    );
}

//! A run is killed at its changes, before the server sees it or after: somebody goes on, and the machine has booted once by its own
//! count. At every change there is: `crash`, with doubles.

use super::machine::{Yard, within};
use crate::support::{Boundary, CrashProxy, Moment, World};

use Moment::{After, Before};

fn killed_at(boundaries: &[(Moment, &str, usize)]) {
    for (moment, what, nth) in boundaries {
        let world = World::control_plane();
        let yard = Yard::new(&world);
        yard.ground.bare_pod("shell");
        yard.ground.until_running(1);
        let (method, resource) = what.split_once(' ').unwrap();
        let boundary = Boundary { method: method.into(), resource: resource.into(), nth: *nth };
        yard.killed_at(&CrashProxy::start(&world), *moment, &boundary, &[]);
        assert!(yard.machine.boots() <= 1, "{moment:?} {boundary}");
        // Nothing was recorded, or all was over, or somebody goes on.
        let is_over = yard.ground.record().is_none() && yard.machine.boots() == 1;
        if !is_over {
            let more: &[&str] = if yard.ground.record().is_some() { &["--resume"] } else { &[] };
            let run = yard.remediate(&[&["--lease-duration=3s"], more].concat());
            assert_eq!(run.code, Some(0), "{moment:?} {boundary}: {}", run.stderr);
        }
        within(20, "a free Lease", || is_over || yard.ground.lease_holder().is_none());
        assert_eq!(yard.machine.boots(), 1, "{moment:?} {boundary}");
        assert_eq!(yard.ground.record(), None, "{moment:?} {boundary}");
        assert!(!yard.ground.is_cordoned(), "{moment:?} {boundary}");
        within(30, "no helpers", || yard.ground.helpers().is_empty());
    }
}

#[test]
fn killed_before_the_order() {
    killed_at(&[
        (Before, "PATCH nodes Cordoning", 1),
        (After, "PATCH nodes Cordoning", 1),
        (After, "PATCH nodes Draining", 1),
        (After, "POST pods/eviction", 1),
        (Before, "PATCH nodes RebootIntent", 1),
    ]);
}

#[test]
fn killed_around_the_order() {
    killed_at(&[
        (After, "PATCH nodes RebootIntent", 1),
        (Before, "POST pods", 3),
        (After, "POST pods", 3),
        (Before, "PATCH nodes WaitBoot", 1),
    ]);
}

#[test]
fn killed_after_the_order() {
    killed_at(&[
        (After, "PATCH nodes WaitBoot", 1),
        (Before, "PATCH nodes Verifying", 1),
        (After, "PATCH nodes Verifying", 1),
        (After, "PATCH nodes Uncordoning", 1),
        (After, "PATCH nodes none", 1),
    ]);
}

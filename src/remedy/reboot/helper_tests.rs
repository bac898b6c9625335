//! What helper pods are.

#![allow(clippy::unwrap_used)]

use super::*;

const ID: &str = "0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11";

fn options() -> HelperOptions {
    HelperOptions::new("kube-system", DEFAULT_IMAGE)
}

#[test]
fn ids_that_may_stand_in_a_path() {
    assert!(check_id(ID).is_ok());
    for bad in ["", "../x", "{0b5e3f5a-7a53-4d0b-8f43-0b9c7a1f0c11}", "0B5E3F5A-7A53-4D0B-8F43-0B9C7A1F0C11"]
    {
        assert!(check_id(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_pod() {
    let pod = manifest("sciuro-reboot-0b5e3f5a-1", "reboot", &["SCRIPT", "BOOT", "9"], &options(), "w1", ID);
    insta::assert_json_snapshot!(pod);
}

//! The API server's own admission of pods, which a namespace asks for by labels.

use sciuro::remedy::reboot::helper::HelperOptions;
use sciuro::remedy::reboot::{self, Reboot, pod};
use serde_json::{Value, json};

use crate::reboot::pod::{BOOT, JSON, by_signal, new_id, options};
use crate::reboot::target;
use crate::support::World;
use crate::watch::eventually;

#[test]
fn privileged_pods_are_admitted_where_they_may_be() {
    let world = World::control_plane();
    let (node, id, cluster) = (world.bare_node("w1"), new_id(), world.cluster(None));
    let namespace = |level: &str| {
        let name = world.name(level);
        let labels = json!({"pod-security.kubernetes.io/enforce": level});
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        world.create("/api/v1/namespaces", &object);
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        eventually("the account that pods have", || {
            world.try_api("GET", &account, JSON, &Value::Null).is_ok()
        });
        name
    };
    let ask = |namespace: &str| world.block_on(pod::rehearse(&cluster, &options(namespace), &node));
    assert_eq!(ask(&namespace("privileged")), Ok(()));
    assert_eq!(ask("kube-system"), Ok(()));
    let signals = HelperOptions { by_signal: true, ..options("kube-system") };
    assert_eq!(world.block_on(pod::rehearse(&cluster, &signals, &node)), Ok(()));

    let nowhere = ask(&world.name("nowhere")).unwrap_err();
    assert!(nowhere.hints.iter().any(|hint| hint.contains("kubectl create namespace")), "{nowhere:?}");

    let target = target(&cluster, &node, &id);
    for level in ["restricted", "baseline"] {
        let namespace = namespace(level);
        for (reboot, because) in [
            (Reboot::Pod(options(&namespace)), "the helper is privileged"),
            (by_signal(&namespace), "the helper sees the host's processes"),
        ] {
            let Reboot::Pod(options) = &reboot else { continue };
            for refused in [
                world.block_on(pod::rehearse(&cluster, options, &node)).unwrap_err(),
                world.block_on(reboot::probe(&reboot, &target)).unwrap_err(),
                world.block_on(reboot::issue(&reboot, &target, 1, BOOT, Some(9))).unwrap_err(),
            ] {
                let violates = format!("violates PodSecurity \"{level}:latest\": ");
                assert!(refused.why.contains(&violates), "{refused:?}");
                assert!(refused.why.contains("hostPID=true"), "{refused:?}");
                let label = format!(
                    "kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=privileged"
                );
                assert!(
                    refused.hints.iter().any(|hint| hint.contains(because) && hint.contains(&label)),
                    "{refused:?}"
                );
            }
        }
    }
}

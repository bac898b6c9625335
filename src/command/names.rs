//! Names of nodes, as they were typed.

use crate::cluster::Cluster;
use crate::error::Error;

/// No node has this name; which one may have been meant, as far as they can be listed.
pub(super) async fn not_found(name: &str, cluster: &Cluster) -> Error {
    let all = cluster.select_nodes("").await.unwrap_or_default();
    explain(name, all.iter().map(String::as_str))
}

fn explain<'n>(name: &str, all: impl IntoIterator<Item = &'n str>) -> Error {
    let error = Error::in_kubectls_words(format!("Error from server (NotFound): nodes {name:?} not found"));
    let error = match &*alike(name, all) {
        [] => error,
        names => error.hint(format!("did you mean {}?", names.join(" or "))),
    };
    error.hint("kubectl get nodes")
}

/// More guesses than this are a list, and there is a command for that.
const MOST_GUESSES: usize = 3;

/// The nearest names: but for a typing error or two, or for the domain of a machine.
fn alike<'n>(name: &str, all: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let host = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let most = if name.len() < 5 { 1 } else { 2 };
    let distance = |other: &str| {
        if host(other) == host(name) { 0 } else { strsim::osa_distance(name, other) }
    };
    let mut near: Vec<_> = all.into_iter().map(|other| (distance(other), other)).collect();
    near.sort_unstable();
    let least = near.first().map_or(0, |(distance, _)| *distance);
    near.retain(|(distance, _)| *distance == least && least <= most);
    near.into_iter().map(|(_, other)| other).take(MOST_GUESSES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f9_a4_the_nearest_names_are_guessed() {
        let racks = ["worker1a", "worker1b", "worker2a", "gpu-7", "db1.corp.example", "n1", "n2", "n30"];
        let many: Vec<String> = (0..9).map(|number| format!("worker{number}")).collect();
        for (typed, expected) in [
            ("worker1c", &["worker1a", "worker1b"][..]),
            ("wroker1a", &["worker1a"]),
            ("woker2a", &["worker2a"]),
            ("db1", &["db1.corp.example"]),
            ("gpu-7.corp.example", &["gpu-7"]),
            ("n3", &["n1", "n2", "n30"]),
            ("frontend-7", &[]),
            ("", &[]),
        ] {
            assert_eq!(alike(typed, racks), expected, "{typed}");
        }
        assert_eq!(alike("workers", many.iter().map(String::as_str)).len(), MOST_GUESSES);
    }

    #[test]
    fn f9_a4_what_is_said_of_an_unknown_name() {
        let lines =
            |name, all: &[&'static str]| explain(name, all.iter().copied()).lines().collect::<Vec<_>>();
        let kubectls = "Error from server (NotFound): nodes \"worker1c\" not found";
        assert_eq!(lines("worker1c", &["gpu"]), [kubectls, "hint: kubectl get nodes"]);
        assert_eq!(
            lines("worker1c", &["worker1b", "gpu", "worker1a"]),
            [kubectls, "hint: did you mean worker1a or worker1b?", "hint: kubectl get nodes"]
        );
    }
}

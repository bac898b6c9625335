//! What a person may allow, and what nobody may.

use serde_json::json;

use crate::remediate::asked::{ASK_ALL, EMPTY_DIR, UNMANAGED, is_untouched, plan, questions, reboot, scene};
use crate::remediate::scene::Scene;
use crate::remediate::terminal::Terminal;
use crate::support::{World, scenarios};

scenarios!(
    f9_a2_what_no_flag_allows_refuses_before_anything_is_asked,
    f9_a2_the_second_rehearsal_is_judged_too,
    f9_a5_what_needs_consent_is_called_so_and_asked_once,
    f9_a5_without_a_person_it_is_refused_with_its_flags,
);

/// A pod with an emptyDir, beside which nothing runs.
fn with_empty_dir(world: &World) -> Scene<'_> {
    let scene = Scene::new(world);
    scene.cordon(&scene.spare, true);
    let scratch = json!({"volumes": [{"name": "scratch", "emptyDir": {}}]});
    scene.workload("deployments", "Deployment", "cache", 1, &scratch);
    scene.until_running(1);
    scene.cordon(&scene.spare, false);
    scene
}

fn f9_a2_what_no_flag_allows_refuses_before_anything_is_asked(world: &World) {
    let scene = with_empty_dir(world);
    scene.budget("cache", &json!({"maxUnavailable": 0}));
    let is_refused = |shown: &str, names: &str| {
        assert!(shown.contains(&format!("refused ({names})")), "{shown}");
        assert!(shown.contains("refused: budget-"), "it says why: {shown}");
        assert!(!shown.contains("as planned?"), "{shown}");
        is_untouched(&scene, "a refusal");
    };
    is_refused(&Terminal::of(&scene, &[]).ends(3), "budget-misconfigured");
    let by_flag = scene.remediate(&["--yes", "--delete-emptydir-data"]).exits(3);
    is_refused(&by_flag.stderr, "budget-misconfigured");
    let both = scene.remediate(&["--yes"]).exits(3);
    is_refused(&both.stderr, "local-storage, budget-misconfigured");
    scene.remove_budget("cache");

    scene.budget("cache", &json!({"minAvailable": 0}));
    scene.second_budget("cache");
    is_refused(&Terminal::of(&scene, &[]).ends(3), "budget-overlap");
}

/// A budget that came while the person was thinking.
fn f9_a2_the_second_rehearsal_is_judged_too(world: &World) {
    let scene = with_empty_dir(world);
    let mut terminal = Terminal::of(&scene, &[]);
    terminal.answers(&plan(&scene), "y");
    terminal.asks(EMPTY_DIR);
    scene.budget("cache", &json!({"maxUnavailable": 0}));
    terminal.types("y\r");
    terminal.sees("refused: budget-misconfigured");
    let shown = terminal.ends(3);
    assert!(shown.contains("refused (budget-misconfigured); nothing was changed"), "{shown}");
    is_untouched(&scene, "a refusal");
}

fn f9_a5_what_needs_consent_is_called_so_and_asked_once(world: &World) {
    let scene = scene(world);
    let mut terminal = Terminal::of(&scene, &ASK_ALL);
    terminal.sees("needs consent: daemonset: ");
    terminal.sees("needs consent: local-storage: ");
    terminal.sees("needs consent: unmanaged: ");
    for question in questions(&scene).into_iter().take(4) {
        terminal.answers(&question, "y");
    }
    terminal.answers(&reboot(&scene), "");
    let shown = terminal.ends(4);
    assert!(!shown.contains("refused"), "{shown}");
    for question in questions(&scene) {
        assert_eq!(shown.matches(&question).count(), 1, "{question} in {shown}");
    }
    let tables: Vec<_> = shown.match_indices("NAMESPACE").collect();
    assert_eq!(tables.len(), 2, "the rehearsal with what was allowed is shown: {shown}");
    let (before, after) = shown.split_at(tables[1].0);
    let row = |shown: &str, app: &str| {
        let row = shown.lines().find(|line| line.starts_with(&scene.namespace) && line.contains(app));
        row.expect("a row").split_whitespace().nth(3).expect("an action").to_owned()
    };
    for (app, action) in [("agent-", "skip"), ("cache-", "evict"), ("shell", "evict")] {
        assert_eq!((&*row(before, app), &*row(after, app)), ("ask", action), "{app}");
    }
}

fn f9_a5_without_a_person_it_is_refused_with_its_flags(world: &World) {
    let scene = scene(world);
    for flags in [&["--dry-run"][..], &["--dry-run=client"], &["--yes"]] {
        let run =
            scene.remediate(flags).exits(3).says("refused (local-storage, unmanaged); nothing was changed");
        let all = [run.stdout.as_str(), run.stderr.as_str()].concat();
        for (name, flag) in [("local-storage", "--delete-emptydir-data"), ("unmanaged", "--force")] {
            let mut lines = all.lines().skip_while(|line| !line.starts_with(&format!("refused: {name}: ")));
            assert_eq!(lines.nth(1), Some(&*format!("  hint: add {flag}")), "{all}");
        }
        assert!(all.contains("hint: to go on nevertheless: add --delete-emptydir-data --force\n"), "{all}");
        assert!(!all.contains("needs consent") && !all.contains(UNMANAGED), "{all}");
    }
    scene.remediate(&["--dry-run", "--delete-emptydir-data", "--force"]).exits(0);
    is_untouched(&scene, "a refusal");
}

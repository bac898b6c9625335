//! What becomes of the names and texts of alerts.

use super::*;

#[test]
fn t15_d6_letters_and_digits_of_every_script_stay() {
    for (alertname, expected) in [
        ("磁盘故障", "磁盘故障"),
        ("内存不足", "内存不足"),
        ("Überhitzung café", "Überhitzung_café"),
        ("cafe\u{301}", "cafe\u{301}"), // an accent of its own belongs to its letter
        ("हार्डवेयर", "हार्डवेयर"),
        ("قرص٣", "قرص٣"),
        ("温度>80℃!", "温度_80__"),
        // What nobody would see would tell two types apart.
        ("a\u{200b}b\u{ad}c\u{202e}d\u{fe0f}e\u{3164}f\u{e0041}g", "a_b_c_d_e_f_g"),
        ("a\u{a0}b🔥c", "a_b_c"),
    ] {
        let selection = selected(&[alert(&[("alertname", alertname)])], &[node("w1")]);
        assert_eq!(types(&selection), [format!("AlertManager_{expected}")], "{alertname}");
    }
    let two = ["磁盘故障", "内存不足"].map(|name| alert(&[("alertname", name)]));
    assert_eq!(types(&selected(&two, &[node("w1")])).len(), 2);
    // 13 bytes of prefix and 101 times 3: another one would make 319.
    let long = selected(&[alert(&[("alertname", &"磁".repeat(200))])], &[node("w1")]);
    assert_eq!(types(&long), [format!("AlertManager_{}", "磁".repeat(101))]);
}

#[test]
fn t15_d11_without_a_summary_the_message_or_the_description_speaks() {
    let with = |annotations: &[(&str, &str)]| {
        let annotations = annotations.iter().copied().collect();
        message_of(&[Alert { annotations, ..alert(&[]) }])
    };
    let (summary, message, description) = (("summary", "s"), ("message", "m"), ("description", "d\n  e"));
    assert_eq!(with(&[summary, message, description]), "[P9] s");
    assert_eq!(with(&[message, description, ("summary", " ")]), "[P9] m");
    assert_eq!(with(&[description, ("runbook", "r")]), "[P9] d   e");
    assert_eq!(with(&[("runbook", "r")]), "[P9]");
}

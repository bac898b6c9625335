//! The mark before a line: good, doubtful or bad.

use console::Style;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Doubtful,
    Bad,
}

impl Verdict {
    pub(super) fn mark(self, utf8: bool, color: bool) -> String {
        let (mark, plain, style) = match self {
            Self::Good => ("✔", "+", Style::new().green()),
            Self::Doubtful => ("!", "!", Style::new().yellow()),
            Self::Bad => ("✗", "x", Style::new().red().bold()),
        };
        style.force_styling(color).apply_to(if utf8 { mark } else { plain }).to_string()
    }
}

/// Unless the locale says otherwise: a container has none, and its output is read elsewhere.
pub(super) fn speaks_utf8() -> bool {
    is_utf8(["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).unwrap_or_default()))
}

/// The first that is set decides, as in POSIX.
fn is_utf8(locale: [String; 3]) -> bool {
    let Some(name) = locale.into_iter().find(|name| !name.is_empty()) else { return true };
    let name = name.to_lowercase();
    name.contains("utf-8") || name.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_whether_marks_are_ascii() {
        let is_utf8 = |all: &str, ctype: &str, lang: &str| is_utf8([all, ctype, lang].map(str::to_owned));
        assert!(is_utf8("", "", "") && is_utf8("", "", "de_DE.UTF-8") && is_utf8("C.utf8", "", "C"));
        assert!(!is_utf8("C", "", "de_DE.UTF-8") && !is_utf8("", "POSIX", "") && !is_utf8("", "", "de_DE"));
    }

    #[test]
    fn marks() {
        assert_eq!(Verdict::Bad.mark(true, false), "✗");
        assert_eq!(Verdict::Bad.mark(false, false), "x");
        assert_eq!(Verdict::Good.mark(true, true), "\u{1b}[32m✔\u{1b}[0m");
    }
}

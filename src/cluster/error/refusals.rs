//! Tells an answer that stays from one that passes.

use std::time::{Duration, Instant};

use super::{ApiError, Class};

/// A server that starts, or one of several that lags behind, denies what it has not read the rules for yet, and a webhook may
/// say "not yet".
pub(in crate::cluster) const FINAL_AFTER: Duration = Duration::from_secs(10);

/// Those who know the accounts may be away for longer than a server: an identity provider, a webhook for tokens.
const UNKNOWN_AFTER: Duration = Duration::from_secs(5 * 60);

/// The answers to one request that is sent again and again.
#[derive(Debug, Default)]
pub struct Refusals {
    since: Option<Instant>,
}

impl Refusals {
    /// Whether it is final by now: no other answer has come for a while, so asking again is no use.
    pub fn heard(&mut self, error: &ApiError) -> bool {
        let Some(patience) = patience(error) else {
            self.since = None;
            return false;
        };
        self.since.get_or_insert_with(Instant::now).elapsed() >= patience
    }

    /// The request has succeeded.
    pub fn over(&mut self) {
        self.since = None;
    }
}

impl ApiError {
    /// It may well be the answer the next time, too.
    pub fn is_lasting(&self) -> bool {
        patience(self).is_some()
    }
}

/// How long an answer has to stay; `None`: it may pass at any time.
fn patience(error: &ApiError) -> Option<Duration> {
    const CONFLICT: u16 = 409;
    const UNAUTHORIZED: u16 = 401;
    match (error.class(), error) {
        (Class::Passing | Class::WebhookDown(_) | Class::Busy, _) => None,
        (_, ApiError::Status(status)) if status.code == CONFLICT => None,
        (_, ApiError::Status(status)) if status.code == UNAUTHORIZED => Some(UNKNOWN_AFTER),
        (Class::Denied(_) | Class::Forbidden | Class::Final, _) => Some(FINAL_AFTER),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn status(code: u16, message: &str) -> ApiError {
        ApiError::Status(Box::new(Status::failure(message, "").with_code(code)))
    }

    #[test]
    fn f9_d0_which_answers_stay() {
        let policy =
            "nodes \"w1\" is forbidden: ValidatingAdmissionPolicy 'f' with binding 'f' denied request: no";
        let denied = "nodes \"w1\" is forbidden: User \"u\" cannot patch resource \"nodes\"";
        let too_long =
            "Node \"w1\" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes";
        for (code, message) in [
            (400, "bad"),
            (403, denied),
            (403, policy),
            (405, ""),
            (413, ""),
            (415, ""),
            (422, policy),
            (422, too_long),
        ] {
            assert_eq!(patience(&status(code, message)), Some(FINAL_AFTER), "{code} {message}");
        }
        assert_eq!(patience(&status(401, "Unauthorized")), Some(UNKNOWN_AFTER));
        assert_eq!(patience(&ApiError::Unexpected("too large".to_owned())), Some(FINAL_AFTER));
        let webhook = "Internal error occurred: failed calling webhook \"g\": EOF";
        for (code, message) in
            [(409, "modified"), (429, "Too many requests"), (500, webhook), (503, ""), (504, "")]
        {
            assert_eq!(patience(&status(code, message)), None, "{code} {message}");
        }
        assert_eq!(patience(&ApiError::Transport("refused".to_owned())), None);
        assert_eq!(patience(&ApiError::Broken("no answer".to_owned())), None);
    }

    #[test]
    fn f9_d0_an_answer_is_final_once_no_other_has_come_for_a_while() {
        let (denied, busy) = (status(403, "no"), status(503, ""));
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        let mut refusals = Refusals::default();
        assert!(!refusals.heard(&denied), "the first");
        refusals.since = ago(11);
        assert!(refusals.heard(&denied));
        assert!(!refusals.heard(&busy) && !refusals.heard(&denied), "it was another one meanwhile");
        refusals.since = ago(11);
        assert!(!refusals.heard(&status(401, "")), "who knows the accounts may be away for longer");
        refusals.over();
        assert!(!refusals.heard(&denied));
    }
}

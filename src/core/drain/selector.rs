//! Label selectors of disruption budgets (`LabelSelectorAsSelector` in apimachinery).

use std::collections::BTreeMap;

/// Which pods. Without requirements: all of the namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(pub Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    In(Vec<String>),
    /// Also true of a pod without the label.
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    /// The server takes a selector with such an operator for one that matches no pod.
    Other,
}

impl Selector {
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|Requirement { key, operator }| match (operator, labels.get(key)) {
            (Operator::In(values), Some(value)) => values.contains(value),
            (Operator::NotIn(values), Some(value)) => !values.contains(value),
            (Operator::Exists, value) => value.is_some(),
            (Operator::NotIn(_) | Operator::DoesNotExist, None) => true,
            (Operator::In(_), None) | (Operator::DoesNotExist, Some(_)) | (Operator::Other, _) => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_has_to_hold() {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let one = |key: &str, operator| Selector(vec![Requirement { key: key.into(), operator }]);
        let values = |value: &str| vec![value.to_owned(), "other".to_owned()];
        for (selector, expected) in [
            (Selector::default(), true),
            (one("app", Operator::In(values("web"))), true),
            (one("app", Operator::In(values("db"))), false),
            (one("tier", Operator::In(values("web"))), false),
            (one("app", Operator::NotIn(values("web"))), false),
            (one("app", Operator::NotIn(values("db"))), true),
            (one("tier", Operator::NotIn(values("db"))), true),
            (one("app", Operator::Exists), true),
            (one("tier", Operator::Exists), false),
            (one("app", Operator::DoesNotExist), false),
            (one("tier", Operator::DoesNotExist), true),
            (one("app", Operator::Other), false),
        ] {
            assert_eq!(selector.matches(&labels), expected, "{selector:?}");
        }
        let both = Selector([one("app", Operator::Exists).0, one("tier", Operator::Exists).0].concat());
        assert!(!both.matches(&labels));
    }
}

//! What alert sources answer.

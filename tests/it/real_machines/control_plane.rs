mod chain;
mod crashes;
mod diagnostics;
mod faults;
mod late;
mod machine;
mod methods;
mod shutdown;

mod crashes;
mod faults;
mod late;
mod machine;
mod methods;
mod shutdown;

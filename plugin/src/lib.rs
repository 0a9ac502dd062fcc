//! What a plugin keeps between requests, without a host: when a key set is asked for, which requests wait for
//! it, what workers share and how that is protected, how much it logs. A shell reads clocks, calls and shared
//! memory and passes what it read as values.

pub mod log_limit;
pub mod schedule;
pub mod seal;
pub mod waiting;

//! What Kiln's benches share: samples, peers run as processes, the machine's name, and reports.

pub mod copy;
pub mod machine;
pub mod peer;
pub mod report;
pub mod sample;

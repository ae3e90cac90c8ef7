//! What passes ask about a function: which memory an instruction touches (`memory`), what is known of its integers (`numbers`, over `linear`
//! expressions).

pub mod linear;
pub mod memory;
pub mod numbers;

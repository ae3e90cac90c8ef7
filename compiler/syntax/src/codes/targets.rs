//! K09xx: limits of a target ("not supported on this target yet").

codes! {
}

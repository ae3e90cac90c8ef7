//! K2xxx: warnings.

codes! {
}

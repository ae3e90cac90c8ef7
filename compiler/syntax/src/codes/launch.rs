//! K10xx: launches.

codes! {
}

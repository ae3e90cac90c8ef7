//! K06xx: control flow.

codes! {
}

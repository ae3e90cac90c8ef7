//! K03xx: types and shapes.

codes! {
}

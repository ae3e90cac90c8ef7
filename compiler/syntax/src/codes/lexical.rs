//! K00xx: characters and literals.

codes! {
}

//! K04xx: constants and generics.

codes! {
}

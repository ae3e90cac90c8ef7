//! K08xx: arguments of builtins.

codes! {
}

//! K02xx: names, items, modules.

codes! {
}

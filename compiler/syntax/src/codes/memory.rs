//! K05xx: memory, slices, views.

codes! {
}

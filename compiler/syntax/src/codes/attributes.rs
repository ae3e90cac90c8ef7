//! K07xx: attributes, schedules, tuning.

codes! {
}

//! A fault before it knows its instruction: the run loop adds the place.

use crate::error::FaultKind;

/// What went wrong, and by which lane.
#[derive(Debug)]
pub struct Fail {
    pub kind: FaultKind,
    pub message: String,
    pub lane: Option<u32>,
    pub address: Option<u64>,
    /// Program-wide index of the other instruction of a race.
    pub other: Option<u32>,
}

/// Result of executing something.
pub type Res<T> = Result<T, Box<Fail>>;

/// A fault of a whole instruction.
#[cold]
pub fn fail<T>(kind: FaultKind, message: impl Into<String>) -> Res<T> {
    Err(Box::new(Fail { kind, message: message.into(), lane: None, address: None, other: None }))
}

/// A fault of one lane at an address.
#[cold]
pub fn fail_at<T>(kind: FaultKind, message: impl Into<String>, lane: usize, address: u64) -> Res<T> {
    Err(Box::new(Fail { kind, message: message.into(), lane: Some(lane as u32), address: Some(address), other: None }))
}

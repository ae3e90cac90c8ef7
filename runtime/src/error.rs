//! What can go wrong, typed.

use thiserror::Error;

/// What can be wrong with a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TensorError {
    /// Extents, strides or indexes do not fit; the message has the numbers.
    #[error("{0}")]
    Shape(String),
    /// The system has not that much memory.
    #[error("there is no memory for {bytes} bytes")]
    OutOfMemory {
        /// Asked for.
        bytes: usize,
    },
    /// The memory is being written, or is to be written while it is read, on another thread or under a guard that still lives.
    #[error("the tensor's memory is in use: a kernel or a guard holds it")]
    Busy,
}

/// What can go wrong with devices, compilation and launches.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// A tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No such device, or one that cannot be used.
    #[error("error[K1016]: {0}")]
    Device(String),
    /// An environment variable is malformed.
    #[error("{variable}: {message}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Worker threads cannot be started.
    #[error("cannot start worker threads: {0}")]
    Threads(String),
}

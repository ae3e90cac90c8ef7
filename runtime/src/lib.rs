//! Kiln's runtime: devices, tensors, launches, caches.
#![deny(missing_docs)]

pub mod cache;
mod device;
mod element;
mod error;
pub mod pool;
pub mod storage;
pub mod tensor;

pub use device::{CudaInfo, Device};
pub use element::{Element, F8E4M3, F8E5M2};
pub use error::{Error, TensorError};
pub use pool::Pool;
pub use tensor::{AnyTensor, Tensor};

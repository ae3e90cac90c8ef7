//! Kiln's runtime: devices, tensors, launches, caches.

//! The memory copy that kernels bound by memory are compared with.

/// Copies `from` to `to` with `threads` threads, a contiguous part each. The parts start and end with the call, as a kernel's programs do.
///
/// # Panics
/// Where the lengths differ.
pub fn copy(from: &[f32], to: &mut [f32], threads: usize) {
    assert_eq!(from.len(), to.len(), "a copy of the same bytes");
    let part = from.len().div_ceil(threads.max(1)).max(1);
    if threads <= 1 {
        return to.copy_from_slice(from);
    }
    std::thread::scope(|scope| {
        for (from, to) in from.chunks(part).zip(to.chunks_mut(part)) {
            scope.spawn(move || to.copy_from_slice(from));
        }
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn copies_all_of_it() {
        let from: Vec<f32> = (0..1003).map(|i| i as f32).collect();
        for threads in [1, 2, 3, 8] {
            let mut to = vec![0.0; from.len()];
            super::copy(&from, &mut to, threads);
            assert_eq!(from, to);
        }
    }
}

//! The worker threads that run a grid, and the order in which programs are handed to them.
//!
//! Chunks of consecutive program ids are taken from one counter, so a program starts only when every one with a lower id has been handed out before it, and a
//! thread runs its chunk in order. The unfinished program with the lowest id therefore always makes progress, which is what programs that wait for lower ones
//! (look-back scans, arrival counters) and programs that take locks rely on.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::error::Error;

/// Chunks a thread gets on average: few enough to be cheap, many enough to even out.
const CHUNKS_PER_THREAD: i64 = 16;

/// Worker threads for grids. The thread that launches works too.
#[derive(Debug)]
pub struct Pool {
    threads: usize,
    /// The other threads; started when the first grid of more than one chunk is run.
    helpers: OnceLock<rayon::ThreadPool>,
}

impl Pool {
    /// A pool of `threads` threads, the launching one included.
    pub fn new(threads: NonZeroUsize) -> Pool {
        Pool { threads: threads.get(), helpers: OnceLock::new() }
    }

    /// The number of threads `KILN_NUM_THREADS` asks for, else one a processor this process may use.
    ///
    /// # Errors
    /// Where the variable is not a number from 1 to 4096.
    pub fn default_threads() -> Result<NonZeroUsize, Error> {
        match std::env::var("KILN_NUM_THREADS") {
            Ok(text) => match text.trim().parse::<usize>() {
                Ok(n @ 1..=4096) => Ok(NonZeroUsize::new(n).expect("at least 1")),
                _ => Err(Error::Environment {
                    variable: "KILN_NUM_THREADS",
                    message: format!("`{text}` is not a number from 1 to 4096"),
                }),
            },
            Err(_) => Ok(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
        }
    }

    /// Number of threads, the launching one included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    fn helpers(&self) -> Result<&rayon::ThreadPool, Error> {
        if let Some(pool) = self.helpers.get() {
            return Ok(pool);
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads - 1)
            .thread_name(|i| format!("kiln-worker-{i}"))
            .build()
            .map_err(|e| Error::Threads(e.to_string()))?;
        // Two launches may race here: one pool stays, the other ends unused.
        Ok(self.helpers.get_or_init(|| pool))
    }

    /// Calls `run(begin, end)` for chunks that cover `0..programs`. Chunks start in order; once `run` gives false, no further one starts.
    ///
    /// # Errors
    /// Where the threads cannot be started.
    pub fn run(&self, programs: i64, run: impl Fn(i64, i64) -> bool + Sync) -> Result<(), Error> {
        if programs <= 0 {
            return Ok(());
        }
        let threads = (self.threads as i64).min(programs);
        if threads == 1 {
            run(0, programs);
            return Ok(());
        }
        let chunk = (programs / (threads * CHUNKS_PER_THREAD)).max(1);
        let next = AtomicI64::new(0);
        let stopped = AtomicBool::new(false);
        let work = || {
            while !stopped.load(Ordering::Relaxed) {
                let begin = next.fetch_add(chunk, Ordering::Relaxed);
                if begin >= programs {
                    break;
                }
                if !run(begin, (begin + chunk).min(programs)) {
                    stopped.store(true, Ordering::Relaxed);
                }
            }
        };
        self.helpers()?.in_place_scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|_| work());
            }
            work();
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU8;

    fn pool(threads: usize) -> Pool {
        Pool::new(NonZeroUsize::new(threads).unwrap())
    }

    #[test]
    fn every_program_runs_once() {
        for threads in [1, 2, 3, 8] {
            for programs in [0i64, 1, 2, 7, 100, 1001] {
                let counts: Vec<AtomicU8> = (0..programs).map(|_| AtomicU8::new(0)).collect();
                pool(threads)
                    .run(programs, |begin, end| {
                        (begin..end).for_each(|i| {
                            counts[i as usize].fetch_add(1, Ordering::Relaxed);
                        });
                        true
                    })
                    .unwrap();
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{threads} threads, {programs} programs");
            }
        }
    }

    /// Every program waits for the one before it: only handing out in order ends.
    #[test]
    fn programs_may_wait_for_lower_ones() {
        let programs = 500;
        let done = AtomicI64::new(0);
        pool(8)
            .run(programs, |begin, end| {
                for i in begin..end {
                    while done.load(Ordering::Acquire) != i {
                        std::thread::yield_now();
                    }
                    done.store(i + 1, Ordering::Release);
                }
                true
            })
            .unwrap();
        assert_eq!(done.load(Ordering::Relaxed), programs);
    }

    #[test]
    fn a_stop_keeps_further_chunks_from_starting() {
        let ran = AtomicI64::new(0);
        pool(2)
            .run(1_000_000, |begin, end| {
                ran.fetch_add(end - begin, Ordering::Relaxed);
                false
            })
            .unwrap();
        assert!(ran.load(Ordering::Relaxed) < 500_000);
    }
}

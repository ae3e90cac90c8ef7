//! The worker threads that run a grid, and the order in which programs are handed to them.
//!
//! Chunks of consecutive program ids are taken from one counter, so a program starts only when every one with a lower id has been handed out before it, and a
//! thread runs its chunk in order. The unfinished program with the lowest id therefore always makes progress, which is what programs that wait for lower ones
//! (look-back scans, arrival counters) and programs that take locks rely on.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

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
        let run: &(dyn Fn(i64, i64) -> bool + Sync) = &run;
        // SAFETY: only the lifetime changes. The job calls `run` only between `enter` and `leave`, and `close` below returns once nobody is or will be there.
        let run: *const (dyn Fn(i64, i64) -> bool + Sync + 'static) = unsafe { std::mem::transmute(std::ptr::from_ref(run)) };
        let job = Arc::new(Job {
            run,
            programs,
            chunk,
            next: AtomicI64::new(0),
            stopped: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            owner: std::thread::current(),
        });
        let helpers = self.helpers()?;
        // Also when `run` panics here, nobody may go on calling it.
        let closing = Closing(&job);
        for _ in 1..threads {
            let job = job.clone();
            helpers.spawn(move || job.help());
        }
        job.work();
        drop(closing);
        Ok(())
    }
}

/// A grid being run. Helpers join it while it is open; one that comes too late, because its processor was busy, is not waited for.
struct Job {
    run: *const (dyn Fn(i64, i64) -> bool + Sync),
    programs: i64,
    chunk: i64,
    /// The first program that was not handed out.
    next: AtomicI64,
    stopped: AtomicBool,
    /// Helpers at work, and `CLOSED`.
    inside: AtomicUsize,
    /// The launching thread, waiting for the helpers in `close`.
    owner: Thread,
}

/// Set in `Job::inside` once no further helper may join.
const CLOSED: usize = 1 << (usize::BITS - 1);

// SAFETY: `run` points to a `Sync` closure, which is used only while the job's owner keeps it.
unsafe impl Send for Job {}
// SAFETY: as above; the rest is atomic.
unsafe impl Sync for Job {}

impl Job {
    fn work(&self) {
        while !self.stopped.load(Ordering::Relaxed) {
            let begin = self.next.fetch_add(self.chunk, Ordering::Relaxed);
            if begin >= self.programs {
                break;
            }
            // SAFETY: the caller is the owner, or a helper that entered: the closure is there (see `Pool::run`).
            let go_on = unsafe { (*self.run)(begin, (begin + self.chunk).min(self.programs)) };
            if !go_on {
                self.stopped.store(true, Ordering::Relaxed);
            }
        }
    }

    /// What a helper does with the job.
    fn help(&self) {
        let entered = self.inside.fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| (n & CLOSED == 0).then_some(n + 1));
        if entered.is_ok() {
            let _leaving = Leaving(self);
            self.work();
        }
    }

    /// Lets no further helper in, and waits for those inside.
    fn close(&self) {
        let mut inside = self.inside.fetch_or(CLOSED, Ordering::AcqRel) & !CLOSED;
        let mut spins = 0;
        while inside != 0 {
            // The helpers are at their last chunks.
            if spins < 1000 {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::park();
            }
            inside = self.inside.load(Ordering::Acquire) & !CLOSED;
        }
    }
}

/// Closes a job at the end of a scope.
struct Closing<'a>(&'a Job);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Leaves a job at the end of a scope, and wakes its owner where that was the last helper.
struct Leaving<'a>(&'a Job);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.0.inside.fetch_sub(1, Ordering::Release) == CLOSED + 1 {
            self.0.owner.unpark();
        }
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

    /// A launch does not wait for a helper that cannot come: here the only one is busy elsewhere.
    #[test]
    fn late_helpers_are_not_waited_for() {
        let pool = pool(2);
        let (hold, held) = std::sync::mpsc::channel::<()>();
        pool.helpers().unwrap().spawn(move || held.recv().unwrap_or(()));
        let ran = AtomicI64::new(0);
        pool.run(100, |begin, end| {
            ran.fetch_add(end - begin, Ordering::Relaxed);
            true
        })
        .unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 100);
        drop(hold);
    }

    /// What `run` borrows is not touched after the launch, however late the helpers are.
    #[test]
    fn many_short_launches() {
        let pool = pool(4);
        for round in 0..20_000i64 {
            let sum = AtomicI64::new(0);
            pool.run(7, |begin, end| {
                sum.fetch_add((begin..end).map(|i| i + round).sum(), Ordering::Relaxed);
                true
            })
            .unwrap();
            assert_eq!(sum.load(Ordering::Relaxed), 21 + 7 * round);
        }
    }
}

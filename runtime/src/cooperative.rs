//! Programs that wait for each other (`grid_sync`): each runs on a thread of its own.

use std::sync::{Condvar, Mutex, MutexGuard};

use crate::error::Error;

/// Programs that can wait for each other: each has a thread.
pub(crate) const MOST_PROGRAMS: i64 = 1024;

/// Stack of a program's thread: generated code keeps its tiles elsewhere.
const STACK: usize = 512 << 10;

/// Where programs meet. One that ends no longer counts, so that nobody waits for a program whose assertion failed.
#[derive(Debug)]
pub(crate) struct GridBarrier {
    state: Mutex<State>,
    turned: Condvar,
}

#[derive(Debug)]
struct State {
    running: i64,
    waiting: i64,
    round: u64,
}

impl GridBarrier {
    fn new(programs: i64) -> GridBarrier {
        GridBarrier { state: Mutex::new(State { running: programs, waiting: 0, round: 0 }), turned: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Lets everybody go on if all that still run are waiting.
    fn turn(&self, state: &mut State) {
        if state.waiting == state.running {
            state.waiting = 0;
            state.round += 1;
            self.turned.notify_all();
        }
    }

    /// Returns once every running program has called this as often.
    pub fn wait(&self) {
        let mut state = self.lock();
        let round = state.round;
        state.waiting += 1;
        self.turn(&mut state);
        while state.round == round {
            state = self.turned.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// A program has ended.
    fn leave(&self) {
        let mut state = self.lock();
        state.running -= 1;
        self.turn(&mut state);
    }
}

/// Calls `run(program, barrier)` for every program, all at the same time.
///
/// # Errors
/// Where there are too many programs, or the system does not give that many threads.
pub(crate) fn run_together(kernel: &str, programs: i64, run: impl Fn(i64, &GridBarrier) + Sync) -> Result<(), Error> {
    if programs > MOST_PROGRAMS {
        return Err(Error::TooManyToWait { kernel: kernel.to_owned(), programs, limit: MOST_PROGRAMS });
    }
    let barrier = GridBarrier::new(programs);
    std::thread::scope(|scope| {
        for program in 0..programs {
            let (run, barrier) = (&run, &barrier);
            let thread = std::thread::Builder::new().name(format!("kiln-program-{program}")).stack_size(STACK);
            let body = move || {
                run(program, barrier);
                barrier.leave();
            };
            if let Err(error) = thread.spawn_scoped(scope, body) {
                // Those that run must not wait for those that never will.
                (program..programs).for_each(|_| barrier.leave());
                return Err(Error::Threads(error.to_string()));
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[test]
    fn nobody_passes_before_all_have_come() {
        for programs in [1, 2, 7, 50] {
            let (came, wrong) = (AtomicI64::new(0), AtomicI64::new(0));
            run_together("k", programs, |_, barrier| {
                for round in 1..=20 {
                    came.fetch_add(1, Ordering::SeqCst);
                    barrier.wait();
                    wrong.fetch_add(i64::from(came.load(Ordering::SeqCst) < round * programs), Ordering::SeqCst);
                    barrier.wait();
                }
            })
            .unwrap();
            assert_eq!(wrong.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn who_ends_is_not_waited_for() {
        let passed = AtomicI64::new(0);
        run_together("k", 8, |program, barrier| {
            if program % 3 == 0 {
                return;
            }
            barrier.wait();
            passed.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        assert_eq!(passed.load(Ordering::SeqCst), 5);
    }

    #[test]
    fn grids_of_any_size_run_or_are_refused() {
        run_together("k", 0, |_, barrier| barrier.wait()).unwrap();
        let error = run_together("k", MOST_PROGRAMS + 1, |_, _| unreachable!("refused before")).unwrap_err();
        assert!(error.to_string().contains("K1019"), "{error}");
    }
}

//! A launch: clusters run on a pool of workers, each for a slice at a time, so that CTAs which wait for one another
//! through global memory all make progress.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::cluster::Runner;
use super::state::Env;
use crate::counters::Count;
use crate::error::{Fault, FaultKind};

/// Warp instructions of a slice.
const SLICE: u64 = 200_000;

/// Clusters not yet finished.
struct Queue {
    next: u64,
    total: u64,
    suspended: VecDeque<Runner>,
    /// Clusters started and not finished.
    resident: u64,
    executed: u64,
    fault: Option<Fault>,
}

/// What a launch did.
pub struct Done {
    pub counts: Vec<Count>,
    pub executed: u64,
}

/// Runs all clusters of a launch.
pub fn run(env: &Env, instructions: usize) -> Result<Done, Fault> {
    let clusters = (0..3).map(|i| u64::from(env.shape.grid[i] / env.shape.cluster[i])).product();
    let queue = Mutex::new(Queue { next: 0, total: clusters, suspended: VecDeque::new(), resident: 0, executed: 0, fault: None });
    let size = u64::from(env.shape.cluster.iter().product::<u32>());
    let most = (env.resident / size).max(1);
    let workers = if env.alone { 1 } else { rayon::current_num_threads().min(clusters as usize).max(1) };
    let totals = Mutex::new(vec![Count::default(); if env.options.counters { instructions } else { 0 }]);
    if workers == 1 {
        work(env, &queue, most, &totals, instructions);
    } else {
        rayon::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|_| work(env, &queue, most, &totals, instructions));
            }
        });
    }
    let queue = queue.into_inner().unwrap_or_else(|e| e.into_inner());
    match queue.fault {
        Some(fault) => Err(fault),
        None => Ok(Done { counts: totals.into_inner().unwrap_or_else(|e| e.into_inner()), executed: queue.executed }),
    }
}

fn work(env: &Env, queue: &Mutex<Queue>, most: u64, totals: &Mutex<Vec<Count>>, instructions: usize) {
    let mut counts = vec![Count::default(); if env.options.counters { instructions } else { 0 }];
    loop {
        let (mut runner, fresh) = {
            let mut q = queue.lock().unwrap_or_else(|e| e.into_inner());
            if q.fault.is_some() {
                break;
            }
            if q.next < q.total && q.resident < most {
                q.next += 1;
                q.resident += 1;
                (None, q.next - 1)
            } else if let Some(r) = q.suspended.pop_front() {
                (Some(r), 0)
            } else {
                // What is left runs on other workers; if it is suspended they take it up again.
                break;
            }
        };
        let mut runner = match runner.take() {
            Some(r) => r,
            None => Runner::new(env, fresh),
        };
        let before = runner.state.executed;
        let result = runner.run(env, SLICE, &mut counts);
        let mut q = queue.lock().unwrap_or_else(|e| e.into_inner());
        q.executed += runner.state.executed - before;
        match result {
            Ok(true) => q.resident -= 1,
            Ok(false) => q.suspended.push_back(runner),
            Err(fault) => {
                let earlier = q.fault.as_ref().is_none_or(|f| fault.cta < f.cta);
                if earlier {
                    q.fault = Some(fault);
                }
            }
        }
        if q.executed > env.options.limits.instructions && q.fault.is_none() {
            q.fault = Some(Fault {
                kind: FaultKind::Limit,
                message: format!("more than {} warp instructions", env.options.limits.instructions),
                kernel: env.program.functions[env.kernel as usize].name.clone(),
                place: None,
                other: None,
                cta: [0; 3],
                warp: 0,
                lane: None,
                address: None,
                notes: vec![],
            });
        }
    }
    let mut totals = totals.lock().unwrap_or_else(|e| e.into_inner());
    for (t, c) in totals.iter_mut().zip(&counts) {
        t.add(c);
    }
}

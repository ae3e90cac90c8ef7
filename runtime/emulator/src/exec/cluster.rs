//! A cluster of CTAs: warps take turns, asynchronous operations complete as the schedule says, deadlocks are found.

use super::fail::Fail;
use super::interp::{self, Stop};
use super::state::{Barrier, ClusterBarrier, Cta, Env, State};
use super::warp::{Frame, Split, Wait, Warp};
use super::{asynchronous, call, sync, wgmma};
use crate::counters::Count;
use crate::decode::inst::Op;
use crate::error::{Fault, FaultKind, Place};
use crate::options::Schedule;
use crate::sanitize::clock::{Agents, Clock};
use crate::sanitize::shared::Shadow;

/// Turn of a warp under the deterministic schedules, in instructions.
const TURN: u32 = 1024;
/// Rounds of fruitless `try_wait`s before a deadlock is declared.
const PATIENCE: u32 = 64;
/// Instructions after which pending operations complete even if the program never waits.
const LAZINESS: u64 = 200_000;
/// Turns that lanes wait at a meeting for others that spin.
const MEETING_AGE: u32 = 3;

/// A cluster in progress.
pub struct Runner {
    warps: Vec<Warp>,
    pub state: State,
    /// Rounds without progress.
    stuck: u32,
    /// Progress seen at the last such round.
    seen: u64,
}

impl Runner {
    /// Sets up cluster number `cluster` of the grid.
    pub fn new(env: &Env, cluster: u64) -> Runner {
        let shape = &env.shape;
        let [cx, cy, cz] = shape.cluster;
        let [gx, gy, _] = shape.grid.map(u64::from);
        let per = [gx / u64::from(cx), gy / u64::from(cy)];
        let origin = [cluster % per[0], cluster / per[0] % per[1], cluster / (per[0] * per[1])];
        let size = (cx * cy * cz) as usize;
        let threads = shape.block.iter().product::<u32>();
        let per_cta = threads.div_ceil(32) as usize;
        let agents = Agents { warps: size * per_cta };
        let races = env.options.sanitizers.shared_races;
        let mut ctas = vec![];
        let mut warps = vec![];
        for rank in 0..size as u32 {
            let inner = [rank % cx, rank / cx % cy, rank / (cx * cy)];
            let coords = [0, 1, 2].map(|i| origin[i] as u32 * shape.cluster[i] + inner[i]);
            let index = u64::from(coords[0]) + gx * (u64::from(coords[1]) + gy * u64::from(coords[2]));
            let lanes = |w: usize| match threads as usize - 32 * w {
                n @ 0..=31 => (1u32 << n) - 1,
                _ => u32::MAX,
            };
            // Devices give out shared memory in pieces of 1 KiB.
            let exact = env.options.sanitizers.bounds;
            let bytes = if exact { env.shared_size } else { env.shared_size.next_multiple_of(1024) } as usize;
            ctas.push(Cta {
                index,
                coords,
                rank,
                shared: vec![0; bytes],
                written: vec![0; bytes],
                shadow: if races { Shadow::new(bytes) } else { Shadow::default() },
                barriers: (0..16).map(|_| Barrier { arrived: vec![0; per_cta], all: true, ..Barrier::default() }).collect(),
                alive: (0..per_cta).map(lanes).collect(),
                wgmma_done: vec![0; per_cta],
                ..Cta::default()
            });
            for id in 0..per_cta {
                let global = warps.len();
                let mut clock = Clock::default();
                if races {
                    clock = Clock::new(agents.count());
                    clock.seen[global] = 1;
                }
                warps.push(Warp { cta: rank as usize, id: id as u32, global, alive: lanes(id), clock, ..Warp::default() });
            }
        }
        let seed = match env.options.schedule {
            Schedule::Random(seed) | Schedule::LazyRandom(seed) => seed,
            _ => 0,
        };
        let state = State {
            ctas,
            pending: vec![],
            agents,
            cluster: ClusterBarrier { arrived: vec![0; warps.len()], ..ClusterBarrier::default() },
            counts: vec![],
            executed: 0,
            idle: 0,
            progress: 0,
            hint: 0,
            rng: seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ cluster.wrapping_mul(0x9e37_79b9),
            mbarriers_made: 0,
            local: 0,
            races,
            pc: env.code_base[env.kernel as usize],
        };
        let mut runner = Runner { warps, state, stuck: 0, seen: 0 };
        let frame = Frame { function: env.kernel, b32: 0, b64: 0, bp: 0, local: 0, back: 0 };
        for w in &mut runner.warps {
            let mask = w.alive;
            call::enter(env, w, &runner.state, frame, u32::MAX);
            w.splits.push(Split {
                mask,
                pc: 0,
                frames: [frame].into_iter().collect(),
                meetings: Default::default(),
                wait: Wait::Ready,
                give_up: false,
            });
        }
        runner
    }

    /// Runs for about `slice` instructions. True when the cluster has finished.
    pub fn run(&mut self, env: &Env, slice: u64, counts: &mut Vec<Count>) -> Result<bool, Fault> {
        std::mem::swap(&mut self.state.counts, counts);
        let end = self.state.executed + slice;
        let result = loop {
            match self.round(env) {
                Ok(true) => break Ok(true),
                Ok(false) if self.state.executed >= end => break Ok(false),
                Ok(false) => {}
                Err((warp, fail)) => break Err(self.fault(env, warp, *fail)),
            }
        };
        std::mem::swap(&mut self.state.counts, counts);
        result
    }

    /// One turn for every warp that can run.
    fn round(&mut self, env: &Env) -> Result<bool, (usize, Box<Fail>)> {
        let random = matches!(env.options.schedule, Schedule::Random(_) | Schedule::LazyRandom(_));
        let early = matches!(env.options.schedule, Schedule::Random(_));
        let n = self.warps.len();
        let first = if random { self.state.random() as usize % n } else { 0 };
        let mut ran = false;
        let mut alive = false;
        for k in 0..n {
            let i = (first + k) % n;
            if self.warps[i].alive == 0 {
                continue;
            }
            alive = true;
            let mut turn = TURN;
            if random {
                if self.state.random() % 4 == 0 {
                    continue;
                }
                turn = 1 + (self.state.random() % 300) as u32;
            }
            let before = self.state.executed;
            let w = &mut self.warps[i];
            ran |= turn_of(env, w, &mut self.state, turn).map_err(|e| (i, e))?;
            self.state.idle += self.state.executed - before;
            if early && !self.state.pending.is_empty() && self.state.random() % 3 == 0 {
                self.complete_some(env)?;
            }
        }
        if !alive {
            // Copies that nobody waited for still happen.
            while !self.state.pending.is_empty() {
                self.complete_one(env, 0)?;
            }
            return Ok(true);
        }
        if self.state.idle > LAZINESS && !self.state.pending.is_empty() {
            self.complete_one(env, 0)?;
        }
        if !ran && !random {
            self.nobody_ran(env)?;
        } else if !ran && self.state.random() % 8 == 0 {
            let waiting = self.warps.iter_mut().any(|w| ready(w, &mut self.state));
            if !waiting {
                self.nobody_ran(env)?;
            }
        }
        Ok(false)
    }

    fn complete_one(&mut self, env: &Env, i: usize) -> Result<(), (usize, Box<Fail>)> {
        let warp = self.state.pending[i].warp;
        asynchronous::complete(env, &mut self.state, i).map_err(|e| (warp, e))
    }

    fn complete_some(&mut self, env: &Env) -> Result<(), (usize, Box<Fail>)> {
        let i = self.state.random() as usize % self.state.pending.len();
        self.complete_one(env, i)
    }

    /// Every warp waits: complete something, let lanes go on alone, let `try_wait` give up, or report a deadlock.
    fn nobody_ran(&mut self, env: &Env) -> Result<(), (usize, Box<Fail>)> {
        if !self.state.pending.is_empty() {
            return self.complete_one(env, 0);
        }
        for i in 0..self.warps.len() {
            self.divergence(env, i)?;
            if self.warps[i].release(0) {
                return Ok(());
            }
        }
        if self.state.progress == self.seen {
            self.stuck += 1;
        } else {
            self.stuck = 0;
            self.seen = self.state.progress;
        }
        let mut any = false;
        if self.stuck < PATIENCE {
            for w in &mut self.warps {
                for s in &mut w.splits {
                    if matches!(s.wait, Wait::Mbarrier { .. }) {
                        s.wait = Wait::Ready;
                        s.give_up = true;
                        any = true;
                    }
                }
            }
        }
        if any {
            return Ok(());
        }
        let fail = Fail {
            kind: FaultKind::Deadlock,
            message: "every warp of the CTA waits for something that cannot happen".to_owned(),
            lane: None,
            address: None,
            other: None,
        };
        let warp = self.warps.iter().position(|w| w.alive != 0).unwrap_or(0);
        if let Some(s) = self.warps[warp].splits.first() {
            let frame = s.frames[s.frames.len() - 1];
            self.state.pc = env.code_base[frame.function as usize] + s.pc;
        }
        Err((warp, Box::new(fail)))
    }

    /// Reports a warp whose lanes cannot come together at a convergent instruction.
    fn divergence(&mut self, env: &Env, i: usize) -> Result<(), (usize, Box<Fail>)> {
        let w = &self.warps[i];
        let waiting: Vec<&Split> = w.splits.iter().filter(|s| matches!(s.wait, Wait::Lanes(_))).collect();
        let Some(s) = waiting.first() else { return Ok(()) };
        let frame = s.frames[s.frames.len() - 1];
        let inst = &env.program.functions[frame.function as usize].insts[s.pc as usize];
        let parked = w.parked().next().is_some();
        let exchange =
            matches!(inst.op, Op::Shfl { .. } | Op::Vote { .. } | Op::Match { .. } | Op::Redux { .. } | Op::Elect { .. });
        if parked && (exchange || !env.options.sanitizers.barriers) {
            return Ok(());
        }
        self.state.pc = env.code_base[frame.function as usize] + s.pc;
        let fail = Fail {
            kind: FaultKind::BarrierDivergence,
            message: format!(
                "lanes {:#010x} are here, but lanes {:#010x} of the warp are elsewhere and will not come",
                s.mask,
                w.alive & !s.mask
            ),
            lane: None,
            address: None,
            other: None,
        };
        Err((i, Box::new(fail)))
    }

    fn fault(&self, env: &Env, warp: usize, fail: Fail) -> Fault {
        let w = &self.warps[warp];
        let notes = if fail.kind == FaultKind::Deadlock { self.describe(env) } else { vec![] };
        let place = place(env, self.state.pc);
        Fault {
            kind: fail.kind,
            message: fail.message,
            kernel: env.program.functions[env.kernel as usize].name.clone(),
            place: Some(place),
            other: fail.other.map(|pc| self::place(env, pc)),
            cta: self.state.ctas[w.cta].coords,
            warp: w.id,
            lane: fail.lane,
            address: fail.address,
            notes,
        }
    }

    /// Where every warp is and what it waits for.
    fn describe(&self, env: &Env) -> Vec<String> {
        let mut notes = vec![];
        for w in self.warps.iter().filter(|w| w.alive != 0).take(64) {
            for s in &w.splits {
                let frame = s.frames[s.frames.len() - 1];
                let p = place(env, env.code_base[frame.function as usize] + s.pc);
                let why = match &s.wait {
                    Wait::Barrier { id, .. } => {
                        let b = &self.state.ctas[w.cta].barriers[*id as usize];
                        let there = b.arrived.iter().filter(|a| **a != 0).count();
                        match b.expected {
                            Some(n) => format!("barrier {id}: {there} warps of {n} threads there"),
                            None => format!("barrier {id}: {there} warps of the CTA there"),
                        }
                    }
                    Wait::Mbarrier { cta, at, phase } => match self.state.ctas[*cta].mbarriers.get(at) {
                        Some(m) => format!(
                            "mbarrier {at:#x} phase {phase}: {} of {} arrivals and {} bytes missing",
                            m.pending, m.count, m.tx
                        ),
                        None => format!("mbarrier {at:#x}, which is not initialized"),
                    },
                    Wait::Cluster(_) => "the cluster barrier".to_owned(),
                    Wait::Wgmma(n) => format!("wgmma group {n} of the other warps of the warpgroup"),
                    Wait::Lanes(m) | Wait::WarpBarrier(m) => format!("lanes {m:#010x} of its warp"),
                    Wait::Ready => "its turn".to_owned(),
                };
                notes.push(format!("CTA {} warp {} lanes {:#010x} at {p}: waits for {why}", w.cta, w.id, s.mask));
            }
            for (lanes, pc) in w.parked() {
                notes.push(format!("CTA {} warp {} lanes {lanes:#010x}: at a meeting before instruction {pc}", w.cta, w.id));
            }
        }
        notes
    }
}

/// Place of a program-wide instruction index.
pub fn place(env: &Env, pc: u32) -> Place {
    let f = env.code_base.partition_point(|b| *b <= pc).saturating_sub(1);
    let index = (pc - env.code_base[f]) as usize;
    env.program.place(f, index)
}

/// Whether any split can run; ends waits that are over.
fn ready(w: &mut Warp, st: &mut State) -> bool {
    let mut any = w.gather();
    let mut i = 0;
    while i < w.splits.len() {
        let over = match w.splits[i].wait {
            Wait::Ready => true,
            Wait::Mbarrier { cta, at, phase } => st.ctas[cta].mbarriers.get(&at).is_none_or(|m| m.phase != phase),
            Wait::Cluster(generation) => st.cluster.generation > generation,
            Wait::Wgmma(until) => wgmma::group_done(w, st, until),
            Wait::Barrier { id, generation } => st.ctas[w.cta].barriers[id as usize].generation > generation,
            Wait::Lanes(_) | Wait::WarpBarrier(_) => false,
        };
        any |= over;
        if over && !matches!(w.splits[i].wait, Wait::Barrier { .. }) {
            w.splits[i].wait = Wait::Ready;
        }
        i += 1;
    }
    any
}

/// Gets a split past the CTA barrier that it waited at.
fn pass_barrier(env: &Env, w: &mut Warp, st: &mut State, s: &mut Split) {
    let Wait::Barrier { id, .. } = s.wait else { return };
    let frame = s.frames[s.frames.len() - 1];
    if let Op::Bar(bar) = &env.program.functions[frame.function as usize].insts[s.pc as usize].op {
        (w.regs.b32, w.regs.b64, w.regs.bp) = (frame.b32 as usize, frame.b64 as usize, frame.bp as usize);
        sync::barrier_done(w, st, s.mask, bar, id);
    }
    s.pc += 1;
    s.wait = Wait::Ready;
}

/// One turn of a warp: its first split that can run. False if none can.
fn turn_of(env: &Env, w: &mut Warp, st: &mut State, turn: u32) -> Result<bool, Box<Fail>> {
    if !ready(w, st) {
        return Ok(false);
    }
    let can = |s: &Split, st: &State| match s.wait {
        Wait::Ready => true,
        Wait::Barrier { id, generation } => st.ctas[w.cta].barriers[id as usize].generation > generation,
        _ => false,
    };
    let Some(i) = w.splits.iter().position(|s| can(s, st)) else { return Ok(true) };
    let mut s = w.splits.remove(i);
    pass_barrier(env, w, st, &mut s);
    match interp::run(env, w, st, &mut s, turn)? {
        Stop::Turn => {
            w.splits.push(s);
            w.release(MEETING_AGE);
        }
        Stop::Blocked => w.splits.push(s),
        Stop::Arrived => w.arrive(s),
        Stop::Exited => {}
    }
    Ok(true)
}

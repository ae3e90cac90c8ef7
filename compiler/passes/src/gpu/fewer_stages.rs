//! What is said where shared memory holds fewer stages than were asked for: the kernel then waits more, and two schedules that differ come to the same code.

use kiln_ir::artifact::Remark;
use kiln_ir::{Function, SrcLoc};

/// The code of the warning.
const FEWER: &str = "K2008";

/// The warning for a loop, where the loop or the kernel asked for more `stages` than the `stages` there are. `bytes`: of one stage; `room`: what all of them may take.
pub(super) fn fewer_stages(asked: Option<u32>, stages: u32, bytes: u32, room: u32, loc: SrcLoc) -> Option<Remark> {
    let asked = asked.filter(|&asked| asked > stages)?;
    let fit = match stages {
        0 | 1 => "only one fits, so that each trip waits for its own".to_owned(),
        _ => format!("{stages} fit"),
    };
    let message =
        format!("{asked} stages are asked for and {fit}: one takes {bytes} bytes of shared memory, and they can have {room}");
    Some(Remark { code: FEWER, loc, message })
}

/// Adds a warning to what passes have to say, once.
pub(super) fn remark(func: &mut Function, remark: Option<Remark>) {
    if let Some(remark) = remark
        && !func.remarks.contains(&remark)
    {
        func.remarks.push(remark);
    }
}

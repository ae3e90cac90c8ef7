//! `kiln devices`: what this machine can run kernels on.

use std::process::ExitCode;

use anyhow::Result;
use kiln::Device;

use crate::ui::Ui;

/// Lists them.
pub fn run(ui: &Ui) -> Result<ExitCode> {
    let (devices, no_gpus) = Device::all()?;
    let best = Device::best()?.name();
    for device in &devices {
        let mark = if device.name() == best { '*' } else { ' ' };
        let text = match device.cuda_info() {
            None if device.emulator_options().is_some() => "PTX on the CPU, every access checked".to_owned(),
            None => format!("{} threads", device.num_sms()),
            Some(info) => format!(
                "{}, sm_{} ({}), {} multiprocessors, {:.1} GiB, CUDA {}.{}",
                info.name,
                info.sm,
                info.target.name(),
                info.multiprocessors,
                info.memory as f64 / 1_073_741_824.0,
                info.driver / 1000,
                info.driver % 1000 / 10
            ),
        };
        ui.out(&format!("{mark} {:<15} {text}\n", device.name()));
        if let Some(warning) = device.cuda_info().and_then(|info| info.warning.as_deref()) {
            ui.out(&format!("  {:<15} {warning}\n", ""));
        }
    }
    if let Some(why) = no_gpus {
        ui.out(&format!("  no GPUs: {why}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

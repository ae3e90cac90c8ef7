//! The language cases (`table`) on the CPU or the device that `KILN_DEVICE` names. Without that variable every kernel is also run on the emulator,
//! at two of its sizes: every architecture and schedule has its turn.

#[path = "../conformance/run.rs"]
mod run;
#[path = "table.rs"]
mod table;

use std::sync::Arc;

use kiln::Device;
use libtest_mimic::{Arguments, Failed, Trial};
use table::row::Row;
use table::{File, carries, case, complete, files};

/// The emulator that a row of an ordinary run gets.
fn emulator(row: &Row) -> Device {
    let turn = row.kernel.bytes().chain(row.size.bytes()).map(usize::from).sum::<usize>();
    let target = ["sm_80", "sm_86", "sm_89", "sm_90a"][turn % 4];
    let schedule = ["eager", "lazy", "random=1", "random=2", "random=3"][turn % 5];
    Device::from_name(&format!("emulator:{target},{schedule}")).expect("an emulator")
}

fn check(file: &File, row: &Row, device: Option<Device>) -> Result<(), Failed> {
    let (case, kernel) = case(file, row);
    match device {
        Some(device) => run::check_kernel_on(&case, kernel, &row.settings, &[device]).map_err(Into::into),
        None => run::check_kernel(&case, kernel, &row.settings).map_err(Into::into),
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let files: Vec<Arc<File>> = files().into_iter().map(Arc::new).collect();
    let rows: Vec<Arc<Row>> = table::table().into_iter().map(Arc::new).collect();
    let mut trials = vec![];
    for file in &files {
        for row in rows.iter().filter(|r| carries(file, r)) {
            let (file, row) = (file.clone(), row.clone());
            trials.push(Trial::test(format!("{}::{}::{}", file.name, row.kernel, row.size), move || check(&file, &row, None)));
        }
    }
    // A run for one device is of that device alone. Rows of a kernel begin with the smallest.
    if std::env::var_os("KILN_DEVICE").is_none() {
        for file in files.iter().filter(|file| !file.name.starts_with("section_")) {
            for kernel in &file.kernels {
                for row in rows.iter().filter(|row| row.kernel == kernel).skip(1).take(2) {
                    let (file, row) = (file.clone(), row.clone());
                    let name = format!("emulator::{}::{}::{}", file.name, row.kernel, row.size);
                    trials.push(Trial::test(name, move || {
                        let device = emulator(&row);
                        check(&file, &row, Some(device))
                    }));
                }
            }
        }
    }
    trials.push(Trial::test("every_kernel_has_rows", move || {
        let files: Vec<File> = table::files();
        complete(&files, &rows)
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

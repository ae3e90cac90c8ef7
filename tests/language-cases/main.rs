//! The language cases (`table`) on the CPU or the device that `KILN_DEVICE` names.

#[path = "../conformance/run.rs"]
mod run;
#[path = "table.rs"]
mod table;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use table::row::Row;
use table::{File, carries, case, complete, files};

fn main() {
    let arguments = Arguments::from_args();
    let files: Vec<Arc<File>> = files().into_iter().map(Arc::new).collect();
    let rows: Vec<Arc<Row>> = table::table().into_iter().map(Arc::new).collect();
    let mut trials = vec![];
    for file in &files {
        for row in rows.iter().filter(|r| carries(file, r)) {
            let (file, row) = (file.clone(), row.clone());
            trials.push(Trial::test(format!("{}::{}::{}", file.name, row.kernel, row.size), move || {
                let (case, kernel) = case(&file, &row);
                run::check_kernel(&case, kernel, &row.settings).map_err(Into::into)
            }));
        }
    }
    trials.push(Trial::test("every_kernel_has_rows", move || {
        let files: Vec<File> = files();
        complete(&files, &rows)
    }));
    libtest_mimic::run(&arguments, trials).exit();
}

//! The kernels that the language must express (`tests/conformance/language_cases`), run and compared with references written by hand: loops in f64 or wide
//! integers, from what the kernel means. Every kernel of every file has rows, at one element, with tails, and larger, for two types or more where it is
//! generic, with its optional parameters given and absent, and with constants that are not the defaults. Bounds are worst cases of the kernel's own
//! arithmetic, with the reason where they are made. One table serves every device.

mod attention;
mod elementwise;
mod irregular;
mod matmuls;
mod packed_matmuls;
mod random;
mod recurrences;
pub mod row;
mod rows;
mod selection;

use std::collections::BTreeSet;
use std::sync::Arc;

use kiln_syntax::ast::Item;
use kiln_syntax::parse::parse;
use kiln_syntax::source::SourceMap;
use kiln_tests::case::{Arg, Case, Placement};
use libtest_mimic::Failed;
use row::Row;

/// A kernel file.
pub struct File {
    /// Name without the ending.
    pub name: String,
    text: String,
    /// Kernels, and functions that other files' kernels may be the only users of.
    pub kernels: BTreeSet<String>,
    functions: BTreeSet<String>,
}

/// The files.
pub fn files() -> Vec<File> {
    kiln_tests::language_cases::files()
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("readable");
            let mut sources = SourceMap::new();
            let id = sources.add("case.kiln", text.as_str());
            let (tree, diagnostics) = parse(&sources, id);
            assert!(!diagnostics.has_errors(), "{} has syntax errors", path.display());
            let (mut kernels, mut functions) = (BTreeSet::new(), BTreeSet::new());
            for item in &tree.items {
                match item {
                    Item::Kernel(k) => kernels.insert(k.name.name.to_string()),
                    Item::Fn(f) => functions.insert(f.name.name.to_string()),
                    _ => continue,
                };
            }
            File { name: path.file_stem().expect("a name").to_string_lossy().into_owned(), text, kernels, functions }
        })
        .collect()
}

/// The rows.
pub fn table() -> Vec<Row> {
    let families: [fn() -> Vec<Row>; 8] = [
        elementwise::rows,
        rows::rows,
        matmuls::rows,
        packed_matmuls::rows,
        attention::rows,
        recurrences::rows,
        selection::rows,
        irregular::rows,
    ];
    families.into_iter().flat_map(|family| family()).collect()
}

/// Every kernel of every file has at least three rows, and every row a file.
pub fn complete(files: &[File], rows: &[Arc<Row>]) -> Result<(), Failed> {
    let mut wrong = String::new();
    for file in files {
        for kernel in &file.kernels {
            let count = rows.iter().filter(|r| r.kernel == kernel).count();
            if count < 3 {
                wrong += &format!("{}::{kernel} has {count} rows; a kernel needs three sizes with a reference\n", file.name);
            }
        }
    }
    for row in rows {
        if !files.iter().any(|f| carries(f, row)) {
            wrong += &format!("no file has the kernel of row {}::{}\n", row.kernel, row.size);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// Whether a row can be run on a file: it has the kernel, or the function that the row's own text calls.
pub fn carries(file: &File, row: &Row) -> bool {
    file.kernels.contains(row.kernel) || file.functions.contains(row.kernel)
}

/// Files of whole sections hold the kernels of the single files again: there, tensors lie otherwise in memory.
fn placed_otherwise(arg: &Arg) -> Arg {
    match arg {
        Arg::Tensor { array, placement } => {
            let placement = match placement {
                Placement::Dense if array.shape.len() > 1 => Placement::Transposed,
                Placement::Dense | Placement::Guarded => Placement::Spaced,
                other => *other,
            };
            Arg::Tensor { array: array.clone(), placement }
        }
        other => other.clone(),
    }
}

/// A row as a case, with the kernel to run.
pub fn case(file: &File, row: &Row) -> (Case, &'static str) {
    let place = if file.name.starts_with("section_") { placed_otherwise } else { Arg::clone };
    let case = Case {
        name: format!("{}::{}::{}", file.name, row.kernel, row.size),
        source: format!("{}{}", file.text, row.extra),
        args: row.args.iter().map(place).collect(),
        expected: row.expected.clone(),
        cpu_only: None,
    };
    (case, if file.kernels.contains(row.kernel) { row.kernel } else { "calls_it" })
}

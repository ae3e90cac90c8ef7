//! Generates the parser from `src/grammar.lalrpop`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let result = lalrpop::Configuration::new().use_cargo_dir_conventions().emit_rerun_directives(true).process();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the parser cannot be generated: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The kiln command.
//!
//! `opts` is the command line, `commands` has one file a command, `data` what arguments of kernels are made of, `ui` how things are shown. Exit codes: 0 for
//! success, 1 where the program, its arguments or its results are wrong, 2 for a wrong command line, 101 for a bug in Kiln.

mod commands;
mod data;
mod opts;
mod remote;
mod suggest;
mod tools;
mod ui;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    kiln_compiler::quiet_panics();
    let options = opts::Options::parse();
    let ui = ui::Ui::new(&options.common);
    let result = match options.command {
        opts::Command::Check(o) => commands::check::run(&o, &ui),
        opts::Command::Build(o) => commands::build::run(&o, &ui),
        opts::Command::Run(o) => commands::run::run(&o, &ui),
        opts::Command::Emu(o) => commands::emu::run(&o, &ui),
        opts::Command::Tune(o) => commands::tune::run(&o, &ui),
        opts::Command::Bench(o) => commands::bench::run(&o, &ui),
        opts::Command::Fmt(o) => commands::fmt::run(&o, &ui),
        opts::Command::Explain(o) => commands::explain::run(&o, &ui),
        opts::Command::Cache(o) => commands::cache::run(&o, &ui),
        opts::Command::Devices => commands::devices::run(&ui),
        opts::Command::New(o) => commands::new::run(&o, &ui),
    };
    match result {
        Ok(code) => code,
        Err(error) => ui.fail(&error),
    }
}

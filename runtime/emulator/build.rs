//! Generates the PTX parser from `src/ptx/grammar.lalrpop`.
fn main() {
    if let Err(error) = lalrpop::process_src() {
        println!("cargo::error=cannot generate the PTX parser: {error}");
    }
}

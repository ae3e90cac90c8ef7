//! Machine code as nvdisasm prints it: loops, and what of them runs in every trip.

use std::path::Path;
use std::process::Command;

/// The machine code of PTX, which ptxas takes without stack, spills or remarks. None without the tools.
pub fn disassemble(name: &str, target: &str, ptx: &str) -> Option<String> {
    let ptxas = super::ptxas()?;
    let nvdisasm = ptxas.with_file_name("nvdisasm");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, cubin) = (dir.path().join("kernel.ptx"), dir.path().join("kernel.cubin"));
    std::fs::write(&source, ptx).expect("PTX is written");
    let out = run(Command::new(ptxas).arg(format!("-arch={target}")).arg("-v").arg(&source).arg("-o").arg(&cubin));
    assert!(out.contains("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"), "{name}: {out}");
    // C75xx: products that wait for each other, registers that are not handed over.
    assert!(!out.contains("warning") && !out.contains("(C7"), "{name}: {out}");
    Some(run(Command::new(nvdisasm).arg(Path::new(&cubin))))
}

fn run(command: &mut Command) -> String {
    let out = command.output().expect("the tool runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}");
    text
}

/// Number of lines with `needle`.
pub fn count(lines: &[String], needle: &str) -> usize {
    lines.iter().filter(|line| line.contains(needle)).count()
}

/// The instructions of all the code.
pub fn instructions(sass: &str) -> Vec<String> {
    sass.lines().map(str::trim).filter(|line| is_instruction(line)).map(str::to_owned).collect()
}

/// What a trip of the smallest loop with `products` x `needle` runs when every branch forward within the loop is taken: the parts that are left out are
/// those that few trips need.
pub fn steady_loop(sass: &str, needle: &str, products: usize) -> Vec<String> {
    let lines: Vec<&str> = sass.lines().map(str::trim).collect();
    let label = |line: &str| lines.iter().position(|l| l.strip_suffix(':') == Some(line));
    let target = |line: &str| {
        let name = line.split("BRA").nth(1)?.split("`(").nth(1)?.split(')').next()?;
        label(name)
    };
    let mut best: Option<Vec<String>> = None;
    for (end, line) in lines.iter().enumerate() {
        let Some(start) = target(line).filter(|&start| start < end) else { continue };
        let mut taken = vec![];
        let mut at = start;
        while at <= end {
            if is_instruction(lines[at]) {
                taken.push(lines[at].to_owned());
            }
            at = target(lines[at]).filter(|&to| at < to && to <= end).unwrap_or(at + 1);
        }
        if count(&taken, needle) == products && best.as_ref().is_none_or(|known| taken.len() < known.len()) {
            best = Some(taken);
        }
    }
    best.unwrap_or_else(|| panic!("no loop with {products} x {needle}:\n{sass}"))
}

fn is_instruction(line: &str) -> bool {
    line.starts_with("/*") && line.ends_with(';')
}

//! Damaged programs are diagnosed, never a panic: every language case and every error file with tokens removed, doubled, exchanged or replaced.

use std::path::Path;

use kiln_ir::signature::{Assumptions, LaunchOptions};
use kiln_ir::verify::verify;
use kiln_sema::{LoadedFile, ModuleLoader, Program};
use kiln_syntax::source::SourceMap;

struct NoFiles;

impl ModuleLoader for NoFiles {
    fn load(&self, _: &str, _: &[String]) -> Result<LoadedFile, String> {
        Err("no files".to_owned())
    }
}

fn texts() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    let mut out = Vec::new();
    for dir in ["conformance/language_cases", "filetests/errors"] {
        let mut files: Vec<_> =
            std::fs::read_dir(root.join(dir)).expect("the files").map(|e| e.expect("an entry").path()).collect();
        files.retain(|f| f.extension().is_some_and(|e| e == "kiln"));
        files.sort();
        out.extend(files.iter().map(|f| std::fs::read_to_string(f).expect("readable")));
    }
    out
}

/// xorshift: the same programs in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Words and single characters.
fn tokens(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut word = false;
    for (i, c) in text.char_indices() {
        let is_word = c.is_alphanumeric() || c == '_';
        if i > start && !(word && is_word) {
            out.push(&text[start..i]);
            start = i;
        }
        word = is_word;
    }
    out.push(&text[start..]);
    out
}

fn run(text: &str) {
    let mut sources = SourceMap::new();
    let root = sources.add("damaged.kiln", text);
    let (program, _) = Program::load(&mut sources, root, &NoFiles);
    let accepted = !program.check().has_errors();
    for signature in program.kernels() {
        let assumptions = Assumptions { dims: signature.dims.iter().map(|d| (d.clone(), 64)).collect(), ..Default::default() };
        let without_default = signature.const_params.iter().filter(|c| c.default.is_none());
        let options = LaunchOptions { consts: without_default.map(|c| (c.name.clone(), 16)).collect(), ..Default::default() };
        let Ok(spec) = signature.assume(&assumptions, &options) else { continue };
        // What is accepted must be right; refusing is fine.
        if let Ok((module, _)) = program.instantiate(&signature.name, &spec)
            && accepted
            && let Err((_, violations)) = verify(module)
        {
            panic!("{violations:#?}\n{text}");
        }
    }
}

#[test]
fn damaged_programs_are_diagnosed() {
    let words = [
        "0",
        "1",
        "-1",
        "f32",
        "x",
        "y",
        "N",
        "[",
        "]",
        "(",
        ")",
        ",",
        "..",
        "..+",
        ":",
        "None",
        "inf",
        "mut",
        "sum",
        "dot",
        "true",
        "99999999999",
        "2.5",
        "as",
        "i8",
        "*",
        "-",
        "T",
        "if",
        "else",
    ];
    let texts = texts();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..6 {
        for text in &texts {
            let mut list: Vec<&str> = tokens(text);
            for _ in 0..=round % 3 {
                let at = random.below(list.len());
                match random.below(4) {
                    0 => drop(list.remove(at)),
                    1 => list.insert(at, list[at]),
                    2 => {
                        let other = random.below(list.len());
                        list.swap(at, other);
                    }
                    _ => list[at] = words[random.below(words.len())],
                }
                if list.is_empty() {
                    break;
                }
            }
            run(&list.concat());
        }
    }
}

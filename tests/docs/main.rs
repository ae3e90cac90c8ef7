//! Compiles and runs every block of Kiln code in the book and the README, and compares the results that the block states.
//!
//! After a kernel, `// in  NAME: TYPE [SHAPE] = VALUES` gives an argument (a scalar has no shape) and `// out NAME: ..` what a tensor holds after the launch; a
//! tensor without `in` starts with zeros. A block with no `out` is only checked.

use std::path::{Path, PathBuf};

use kiln::{AnyTensor, Arg, Device, Program, ProgramOptions};
use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound, mismatch};
use kiln_tests::scalar::{Num, decode};
use libtest_mimic::{Arguments, Trial};

/// A line of expectations or arguments.
struct Line {
    name: String,
    ty: ScalarType,
    /// None for scalars.
    shape: Option<Vec<usize>>,
    values: Vec<Num>,
}

fn parse_line(text: &str) -> Result<Line, String> {
    let bad = || format!("cannot read `{text}`");
    let (head, values) = text.split_once('=').ok_or_else(bad)?;
    let (name, ty) = head.split_once(':').ok_or_else(bad)?;
    let (ty, shape) = match ty.split_once('[') {
        Some((ty, shape)) => {
            let shape = shape
                .trim()
                .trim_end_matches(']')
                .split(',')
                .map(|d| d.trim().parse().map_err(|_| bad()))
                .collect::<Result<Vec<usize>, _>>()?;
            (ty, Some(shape))
        }
        None => (ty, None),
    };
    let ty = ScalarType::from_name(ty.trim()).ok_or_else(bad)?;
    let count = shape.iter().flatten().product::<usize>();
    let number = |word: &str| -> Result<Num, String> {
        if ty.is_float() {
            word.parse().map(Num::Float).map_err(|_| bad())
        } else {
            word.parse().map(Num::Int).map_err(|_| bad())
        }
    };
    let values: Vec<Num> = match values.trim() {
        "zeros" => vec![if ty.is_float() { Num::Float(0.0) } else { Num::Int(0) }; count],
        list => list.split_whitespace().map(number).collect::<Result<_, _>>()?,
    };
    if values.len() != count {
        return Err(format!("{} values for shape {shape:?} in `{text}`", values.len()));
    }
    Ok(Line { name: name.trim().to_owned(), ty, shape, values })
}

fn run(source: &str) -> Result<(), String> {
    let program = Program::from_source_with("block.kiln", source, ProgramOptions::without_cache()).map_err(|e| e.to_string())?;
    let lines = |mark: &str| -> Result<Vec<Line>, String> {
        source.lines().filter_map(|l| l.strip_prefix(mark)).map(parse_line).collect()
    };
    let (inputs, outputs) = (lines("// in ")?, lines("// out ")?);
    if outputs.is_empty() {
        return Ok(());
    }
    let device = Device::cpu().map_err(|e| e.to_string())?;
    let kernel = program.kernel(&program.signatures()[0].name.clone()).map_err(|e| e.to_string())?;
    let mut tensors: Vec<(String, AnyTensor)> = Vec::new();
    for line in inputs.iter().chain(&outputs) {
        let Some(shape) = &line.shape else { continue };
        if tensors.iter().any(|(name, _)| *name == line.name) {
            continue;
        }
        let given = inputs.iter().any(|i| i.name == line.name);
        let array = if given { Array::new(line.ty, shape, line.values.iter().copied()) } else { Array::zeros(line.ty, shape) };
        let dims: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        tensors.push((line.name.clone(), AnyTensor::from_bytes(array.ty, &dims, &array.bytes).map_err(|e| e.to_string())?));
    }
    let mut held = tensors.clone();
    let mut launch = kernel.on(&device);
    let signature = kernel.signature().clone();
    for (name, tensor) in &mut held {
        let param =
            signature.params.iter().find(|p| p.name == *name).ok_or_else(|| format!("the kernel has no parameter `{name}`"))?;
        if let kiln_ir::signature::ParamKind::Ptr { .. } = param.kind {
            let pointee = tensor.scalar_type().ok_or("pointers to pointers are not for this test")?;
            launch = launch.named(name, Arg::Pointer { pointee, address: tensor.address() });
        } else {
            launch = launch.named(name, tensor);
        }
    }
    for line in inputs.iter().filter(|l| l.shape.is_none()) {
        launch = launch.named(&line.name, Arg::Number(line.values[0].into(), Some(line.ty)));
    }
    launch.run().map_err(|e| e.to_string())?;
    for line in &outputs {
        let (_, tensor) = tensors.iter().find(|(name, _)| *name == line.name).ok_or("an output is no tensor")?;
        let bytes = tensor.to_bytes().map_err(|e| e.to_string())?;
        let width = line.ty.bytes() as usize;
        for (i, &expected) in line.values.iter().enumerate() {
            // The book prints f32 with the digits that identify it.
            if let Some(why) = mismatch(line.ty, decode(line.ty, &bytes[i * width..][..width]), expected, Bound::Ulp(1.0)) {
                return Err(format!("`{}` element {i}: {why}", line.name));
            }
        }
    }
    Ok(())
}

/// Blocks fenced as `kiln`, with the line they begin at.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim_end()) {
            (None, "```kiln") => open = Some((number + 2, String::new())),
            (Some(_), "```") => found.extend(open.take()),
            (Some((_, block)), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

fn main() {
    let arguments = Arguments::from_args();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned();
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(root.join("docs"))
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok)
        .map(|entry| entry.into_path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    files.push(root.join("README.md"));
    let mut trials = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let name = file.strip_prefix(&root).unwrap_or(Path::new("?")).display().to_string();
        for (line, block) in blocks(&text) {
            let place = format!("{name}:{line}");
            trials.push(Trial::test(place, move || run(&block).map_err(Into::into)));
        }
    }
    assert!(trials.len() > 80, "the book has lost its examples: {} left", trials.len());
    libtest_mimic::run(&arguments, trials).exit();
}

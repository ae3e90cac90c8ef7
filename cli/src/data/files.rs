//! Tensors in files: `.npy`, `.npz` and `.safetensors`.
//!
//! numpy has no bf16 and no 8-bit floats: those travel as safetensors.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use kiln::AnyTensor;
use kiln_ir::ScalarType;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use zip::write::FileOptions;
use zip::{ZipArchive, ZipWriter};

use super::npy::{numpy_descr, read_npy, write_npy};

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Npy,
    Npz,
    Safetensors,
}

fn format(path: &Path) -> Result<Format> {
    match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("npy") => Ok(Format::Npy),
        Some("npz") => Ok(Format::Npz),
        Some("safetensors") => Ok(Format::Safetensors),
        _ => bail!("`{}` is not a .npy, .npz or .safetensors file", path.display()),
    }
}

/// Reads a tensor. `entry` picks one of several in a file; without it the file must hold one, or one called `name`.
pub fn read(path: &Path, entry: Option<&str>, name: &str) -> Result<AnyTensor> {
    let format = format(path).context("any other file is read with a type for its bytes, as in `@text.txt:u8`")?;
    let open = || File::open(path).with_context(|| format!("cannot read `{}`", path.display()));
    let damaged = || format!("`{}` is not a whole and valid file of its kind", path.display());
    match format {
        Format::Npy => {
            if entry.is_some() {
                bail!("a .npy file holds one array without a name");
            }
            read_npy(BufReader::new(open()?)).with_context(damaged)
        }
        Format::Npz => {
            let mut archive = ZipArchive::new(BufReader::new(open()?)).with_context(damaged)?;
            let names: Vec<String> =
                archive.file_names().filter_map(|name| name.strip_suffix(".npy")).map(str::to_owned).collect();
            let chosen = choose(path, &names, entry, name)?;
            let file = archive.by_name(&format!("{chosen}.npy")).with_context(damaged)?;
            read_npy(file).with_context(damaged)
        }
        Format::Safetensors => {
            let mut bytes = vec![];
            open()?.read_to_end(&mut bytes).with_context(damaged)?;
            let tensors = SafeTensors::deserialize(&bytes).with_context(damaged)?;
            let names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
            let view = tensors.tensor(choose(path, &names, entry, name)?).with_context(damaged)?;
            from_safetensor(&view)
        }
    }
}

/// Reads a file's bytes as elements; without extents it is one axis, as long as the file.
pub fn read_raw(path: &Path, ty: ScalarType, dims: Option<&[i64]>) -> Result<AnyTensor> {
    let mut bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let size = ty.bytes() as usize;
    if !bytes.len().is_multiple_of(size) {
        bail!("`{}` has {} bytes: no whole number of {ty}", path.display(), bytes.len());
    }
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    let length = [i64::try_from(bytes.len() / size)?];
    AnyTensor::from_bytes(ty, dims.unwrap_or(&length), &bytes).with_context(|| format!("`{}`", path.display()))
}

fn choose<'a>(path: &Path, names: &'a [String], entry: Option<&str>, name: &str) -> Result<&'a str> {
    let wanted = entry.unwrap_or(name);
    match (names.iter().find(|n| *n == wanted), names) {
        (Some(found), _) => Ok(found),
        (None, [only]) if entry.is_none() => Ok(only),
        _ => bail!(
            "`{}` has no entry `{wanted}`; it has {}",
            path.display(),
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
            }
        ),
    }
}

/// Pairs of the language's types and safetensors'.
const SAFETENSOR_TYPES: &[(ScalarType, Dtype)] = &[
    (ScalarType::Bool, Dtype::BOOL),
    (ScalarType::I8, Dtype::I8),
    (ScalarType::I16, Dtype::I16),
    (ScalarType::I32, Dtype::I32),
    (ScalarType::I64, Dtype::I64),
    (ScalarType::U8, Dtype::U8),
    (ScalarType::U16, Dtype::U16),
    (ScalarType::U32, Dtype::U32),
    (ScalarType::U64, Dtype::U64),
    (ScalarType::F16, Dtype::F16),
    (ScalarType::BF16, Dtype::BF16),
    (ScalarType::F32, Dtype::F32),
    (ScalarType::F64, Dtype::F64),
    (ScalarType::F8E4M3, Dtype::F8_E4M3),
    (ScalarType::F8E5M2, Dtype::F8_E5M2),
];

fn from_safetensor(view: &TensorView<'_>) -> Result<AnyTensor> {
    let Some((ty, _)) = SAFETENSOR_TYPES.iter().find(|(_, d)| *d == view.dtype()) else {
        bail!("elements of type {:?} are not supported", view.dtype())
    };
    let dims = view.shape().iter().map(|&d| i64::try_from(d)).collect::<Result<Vec<_>, _>>().context("an extent is too big")?;
    Ok(AnyTensor::from_bytes(*ty, &dims, view.data())?)
}

/// Whether a tensor of this type can be written to this file.
pub fn check_writable(path: &Path, ty: ScalarType) -> Result<()> {
    if format(path)? != Format::Safetensors && numpy_descr(ty).is_none() {
        bail!("numpy files cannot hold {ty}: write a .safetensors file instead of `{}`", path.display());
    }
    Ok(())
}

/// Writes tensors: one to a `.npy` file, any number to a `.npz` or `.safetensors` file.
pub fn write(path: &Path, tensors: &[(String, AnyTensor)]) -> Result<()> {
    let fails = || format!("cannot write `{}`", path.display());
    match (format(path)?, tensors) {
        (Format::Npy, [(_, tensor)]) => {
            let mut file = BufWriter::new(File::create(path).with_context(fails)?);
            write_npy(&mut file, tensor).with_context(fails)?;
            file.flush().with_context(fails)
        }
        (Format::Npy, _) => bail!("a .npy file holds one array: give `{}` for one output only", path.display()),
        (Format::Npz, _) => {
            let mut archive = ZipWriter::new(BufWriter::new(File::create(path).with_context(fails)?));
            for (name, tensor) in tensors {
                archive.start_file(format!("{name}.npy"), FileOptions::default()).with_context(fails)?;
                write_npy(&mut archive, tensor).with_context(fails)?;
            }
            archive.finish().with_context(fails)?.flush().with_context(fails)
        }
        (Format::Safetensors, _) => {
            let parts =
                tensors.iter().map(|(name, tensor)| Ok((name, tensor, tensor.to_bytes()?))).collect::<Result<Vec<_>>>()?;
            let views = parts
                .iter()
                .map(|(name, tensor, bytes)| {
                    let dtype = SAFETENSOR_TYPES.iter().find(|(ty, _)| Some(*ty) == tensor.scalar_type());
                    let (_, dtype) = dtype.context("pointers cannot be written")?;
                    let shape = tensor.dims().iter().map(|&d| d as usize).collect();
                    Ok(((*name).clone(), TensorView::new(*dtype, shape, bytes)?))
                })
                .collect::<Result<Vec<_>>>()?;
            safetensors::serialize_to_file(views, None, path).with_context(fails)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::{F8E4M3, Tensor};

    fn counting(dims: &[i64]) -> AnyTensor {
        Tensor::<f32>::from_fn(dims, |i| i as f32).unwrap().into()
    }

    #[test]
    fn tensors_survive_every_format() {
        let dir = tempfile::tempdir().unwrap();
        let x = counting(&[2, 3]);
        let scalar_like = counting(&[1]);
        for name in ["a.npy", "a.npz", "a.safetensors"] {
            let path = dir.path().join(name);
            let mut tensors = vec![("x".to_owned(), x.transpose().unwrap())];
            if name != "a.npy" {
                tensors.push(("y".to_owned(), scalar_like.clone()));
            }
            write(&path, &tensors).unwrap();
            let back = read(&path, None, "x").unwrap();
            assert_eq!(back.dims(), [3, 2], "{name}");
            assert_eq!(back.typed::<f32>().unwrap().to_vec().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0], "{name}");
            if name != "a.npy" {
                assert_eq!(read(&path, Some("y"), "x").unwrap().dims(), [1]);
                let error = read(&path, None, "z").unwrap_err().to_string();
                assert!(error.contains("has no entry `z`") && error.contains("`x`"), "{error}");
            }
        }
        let q: AnyTensor = Tensor::from_vec(vec![F8E4M3::from_f32(3.5)], &[1]).unwrap().into();
        let path = dir.path().join("q.safetensors");
        write(&path, &[("q".into(), q)]).unwrap();
        assert_eq!(read(&path, None, "other").unwrap().typed::<F8E4M3>().unwrap().to_vec().unwrap()[0].to_f32(), 3.5);
        std::fs::write(&path, [1, 2, 3, 4]).unwrap();
        assert_eq!(read_raw(&path, ScalarType::U8, None).unwrap().dims(), [4]);
        let pairs = read_raw(&path, ScalarType::U16, Some(&[2, 1])).unwrap();
        assert_eq!(pairs.typed::<u16>().unwrap().to_vec().unwrap(), [0x201, 0x403]);
        assert!(read_raw(&path, ScalarType::U16, Some(&[3])).is_err());
        assert!(read_raw(&path, ScalarType::U64, None).is_err());
        assert!(check_writable(Path::new("a.npy"), ScalarType::BF16).is_err());
        assert!(check_writable(Path::new("a.txt"), ScalarType::F32).is_err());
    }
}

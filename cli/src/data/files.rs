//! Tensors in files: `.npy`, `.npz` and `.safetensors`.
//!
//! numpy has no bf16 and no 8-bit floats: those travel as safetensors.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use kiln::AnyTensor;
use kiln_ir::ScalarType;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

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
    let format = format(path)?;
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
            let mut archive = npyz::npz::NpzArchive::new(BufReader::new(open()?)).with_context(damaged)?;
            let names: Vec<String> = archive.array_names().map(str::to_owned).collect();
            let chosen = choose(path, &names, entry, name)?;
            let file = archive.zip_archive().by_name(&format!("{chosen}.npy")).with_context(damaged)?;
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

fn read_npy(mut reader: impl Read) -> Result<AnyTensor> {
    let header = NpyHeader::from_reader(&mut reader)?;
    let DType::Plain(plain) = header.dtype() else { bail!("arrays of records are not supported") };
    let ty = match (plain.type_char(), plain.size_field()) {
        (TypeChar::Bool, 1) => ScalarType::Bool,
        (TypeChar::Int, 1) => ScalarType::I8,
        (TypeChar::Int, 2) => ScalarType::I16,
        (TypeChar::Int, 4) => ScalarType::I32,
        (TypeChar::Int, 8) => ScalarType::I64,
        (TypeChar::Uint, 1) => ScalarType::U8,
        (TypeChar::Uint, 2) => ScalarType::U16,
        (TypeChar::Uint, 4) => ScalarType::U32,
        (TypeChar::Uint, 8) => ScalarType::U64,
        (TypeChar::Float, 2) => ScalarType::F16,
        (TypeChar::Float, 4) => ScalarType::F32,
        (TypeChar::Float, 8) => ScalarType::F64,
        _ => bail!("elements of type `{}` are not supported", plain),
    };
    let mut dims =
        header.shape().iter().map(|&d| i64::try_from(d)).collect::<Result<Vec<_>, _>>().context("an extent is too big")?;
    if header.order() == Order::Fortran {
        dims.reverse();
    }
    // The file's own claim: nothing is allocated before the system says that there is that much memory.
    let tensor = AnyTensor::zeros(ty, &dims)?;
    let mut bytes = Vec::new();
    reader.take(tensor.byte_len() as u64).read_to_end(&mut bytes)?;
    if bytes.len() != tensor.byte_len() {
        bail!("the file ends after {} of {} bytes", bytes.len(), tensor.byte_len());
    }
    let foreign = match plain.endianness() {
        Endianness::Little => cfg!(target_endian = "big"),
        Endianness::Big => cfg!(target_endian = "little"),
        Endianness::Irrelevant => false,
    };
    if foreign {
        bytes.chunks_exact_mut(ty.bytes() as usize).for_each(<[u8]>::reverse);
    }
    tensor.copy_from_bytes(&bytes)?;
    if header.order() == Order::Fortran {
        let order: Vec<usize> = (0..tensor.rank()).rev().collect();
        return Ok(tensor.permute(&order)?);
    }
    Ok(tensor)
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

/// numpy's name of a type.
fn numpy_descr(ty: ScalarType) -> Option<&'static str> {
    Some(match ty {
        ScalarType::Bool => "|b1",
        ScalarType::I8 => "|i1",
        ScalarType::I16 => "<i2",
        ScalarType::I32 => "<i4",
        ScalarType::I64 => "<i8",
        ScalarType::U8 => "|u1",
        ScalarType::U16 => "<u2",
        ScalarType::U32 => "<u4",
        ScalarType::U64 => "<u8",
        ScalarType::F16 => "<f2",
        ScalarType::F32 => "<f4",
        ScalarType::F64 => "<f8",
        ScalarType::BF16 | ScalarType::F8E4M3 | ScalarType::F8E5M2 | ScalarType::Index => return None,
    })
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
            let mut archive = npyz::npz::NpzWriter::create(path).with_context(fails)?;
            for (name, tensor) in tensors {
                let zip = archive.zip_writer();
                zip.start_file(format!("{name}.npy"), Default::default()).with_context(fails)?;
                write_npy(zip, tensor).with_context(fails)?;
            }
            Ok(())
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

/// Version 1.0 of the format (numpy.lib.format), row-major.
fn write_npy(out: &mut impl Write, tensor: &AnyTensor) -> Result<()> {
    let descr = tensor.scalar_type().and_then(numpy_descr).with_context(|| format!("numpy has no type for {}", tensor.elem()))?;
    let dims: String = tensor.dims().iter().map(|d| format!("{d},")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    // Magic, version and length take 10 bytes; the data begins at a multiple of 64.
    header.push_str(&" ".repeat((64 - (10 + header.len() + 1) % 64) % 64));
    header.push('\n');
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&u16::try_from(header.len()).context("the shape is too long")?.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let mut bytes = tensor.to_bytes()?;
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(tensor.elem().bytes() as usize).for_each(<[u8]>::reverse);
    }
    out.write_all(&bytes)?;
    Ok(())
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
        assert!(check_writable(Path::new("a.npy"), ScalarType::BF16).is_err());
        assert!(check_writable(Path::new("a.txt"), ScalarType::F32).is_err());
    }

    #[test]
    fn foreign_orders_are_read() {
        // Two rows of big-endian i2 in Fortran order.
        let mut file = b"\x93NUMPY\x01\x00\x46\x00{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }".to_vec();
        file.resize(10 + 0x45, b' ');
        file.push(b'\n');
        for v in [1i16, 4, 2, 5, 3, 6] {
            file.extend_from_slice(&v.to_be_bytes());
        }
        let x = read_npy(file.as_slice()).unwrap();
        assert_eq!(x.dims(), [2, 3]);
        assert_eq!(x.typed::<i16>().unwrap().to_vec().unwrap(), [1, 2, 3, 4, 5, 6]);
        // Cut off.
        assert!(read_npy(&file[..file.len() - 1]).is_err());
        assert!(read_npy(&file[..20]).is_err());
        assert!(read_npy(b"hello".as_slice()).is_err());
    }

    #[test]
    fn claims_of_a_file_are_not_believed() {
        let mut file =
            b"\x93NUMPY\x01\x00\x66\x00{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 8), }".to_vec();
        file.resize(10 + 0x65, b' ');
        file.push(b'\n');
        assert!(read_npy(file.as_slice()).is_err());
    }
}

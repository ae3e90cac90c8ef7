//! The `.npy` format (numpy.lib.format): a magic word, a version, a Python dictionary as header, the elements.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use kiln::AnyTensor;
use kiln_ir::ScalarType;

/// Longest header that is read: numpy's own limit for files that are not trusted.
const MAX_HEADER: usize = 10_000;

struct Header {
    ty: ScalarType,
    big_endian: bool,
    fortran: bool,
    dims: Vec<i64>,
}

/// The text behind `'key':`.
fn value<'a>(dict: &'a str, key: &str) -> Result<&'a str> {
    let at = [format!("'{key}'"), format!("\"{key}\"")].iter().find_map(|k| dict.find(k.as_str()).map(|i| i + k.len()));
    let rest = at.map(|i| dict[i..].trim_start()).and_then(|rest| rest.strip_prefix(':'));
    rest.map(str::trim_start).with_context(|| format!("the header has no `{key}`"))
}

fn parse(dict: &str) -> Result<Header> {
    let descr = value(dict, "descr")?;
    let quote = descr.chars().next().filter(|c| matches!(c, '\'' | '"')).context("arrays of records are not supported")?;
    let descr = descr[1..].split_once(quote).context("the header is cut off")?.0;
    let (order, name) = match descr.split_at_checked(1) {
        Some((order @ ("<" | ">" | "|" | "="), name)) => (order, name),
        _ => ("=", descr),
    };
    let Some(ty) = ScalarType::ALL.into_iter().find(|ty| numpy_descr(*ty).is_some_and(|d| d[1..] == *name)) else {
        bail!("elements of type `{descr}` are not supported")
    };
    let fortran = match value(dict, "fortran_order")? {
        text if text.starts_with("True") => true,
        text if text.starts_with("False") => false,
        _ => bail!("`fortran_order` is neither True nor False"),
    };
    let shape = value(dict, "shape")?.strip_prefix('(').and_then(|s| s.split_once(')')).context("the shape is no tuple")?.0;
    let extent =
        |s: &str| s.trim_end_matches('L').parse::<i64>().ok().filter(|d| *d >= 0).with_context(|| format!("`{s}` is no extent"));
    let dims = shape.split(',').map(str::trim).filter(|s| !s.is_empty()).map(extent).collect::<Result<_>>()?;
    let big_endian = order == ">" || (order == "=" && cfg!(target_endian = "big"));
    Ok(Header { ty, big_endian, fortran, dims })
}

/// Reads an array.
pub fn read_npy(mut reader: impl Read) -> Result<AnyTensor> {
    let mut start = [0; 8];
    reader.read_exact(&mut start)?;
    if start[..6] != *b"\x93NUMPY" {
        bail!("it does not begin as numpy's files do");
    }
    let length = match start[6] {
        1 => {
            let mut bytes = [0; 2];
            reader.read_exact(&mut bytes)?;
            usize::from(u16::from_le_bytes(bytes))
        }
        2 | 3 => {
            let mut bytes = [0; 4];
            reader.read_exact(&mut bytes)?;
            u32::from_le_bytes(bytes) as usize
        }
        version => bail!("version {version} of the format is not known"),
    };
    if length > MAX_HEADER {
        bail!("a header of {length} bytes");
    }
    let mut header = vec![0; length];
    reader.read_exact(&mut header)?;
    let Header { ty, big_endian, fortran, mut dims } = parse(std::str::from_utf8(&header)?)?;
    if fortran {
        dims.reverse();
    }
    // The file's own claim: memory is asked for before it is filled, and the system may refuse.
    let tensor = AnyTensor::zeros(ty, &dims)?;
    let mut bytes = Vec::new();
    reader.take(tensor.byte_len() as u64).read_to_end(&mut bytes)?;
    if bytes.len() != tensor.byte_len() {
        bail!("the file ends after {} of {} bytes", bytes.len(), tensor.byte_len());
    }
    if big_endian != cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(ty.bytes() as usize).for_each(<[u8]>::reverse);
    }
    tensor.copy_from_bytes(&bytes)?;
    if fortran {
        let order: Vec<usize> = (0..tensor.rank()).rev().collect();
        return Ok(tensor.permute(&order)?);
    }
    Ok(tensor)
}

/// numpy's name of a type.
pub fn numpy_descr(ty: ScalarType) -> Option<&'static str> {
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

/// Writes an array: version 1.0 of the format (numpy.lib.format), row-major.
pub fn write_npy(out: &mut impl Write, tensor: &AnyTensor) -> Result<()> {
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
        assert!(parse("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}").is_err());
        assert!(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}").is_err());
        assert!(parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3,}").is_err());
        assert!(parse("{'descr': '<é', 'shape': (3,)}").is_err());
        assert_eq!(parse("{'shape': (3, 4), 'fortran_order': False, 'descr': '<f4'}").unwrap().dims, [3, 4]);
        assert!(parse("{'descr': '<f8', 'fortran_order': False, 'shape': (), }").unwrap().dims.is_empty());
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

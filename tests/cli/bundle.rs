//! `kiln build --emit bundle`.

use crate::Place;

const KERNEL: &str =
    "/// y = x\nkernel copy<T: float, const B: int = next_pow2(N)>(x: tensor<T, [N]>, y: mut tensor<T, [N]>) grid [1] {
    y[0..+B] = x[0..+B];
}
";

#[test]
fn a_bundle_is_a_package() {
    let place = Place::new();
    place.file("copy.kiln", KERNEL);
    let args =
        ["build", "copy.kiln", "--emit", "bundle", "--target", "host,sm_90a", "--type", "T=f16", "--dim", "N=100", "-o", "out"];
    let said = place.ok(&args).err;
    assert!(said.contains("Bundled"), "{said}");
    let text = |file: &str| std::fs::read_to_string(place.path("out").join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert!(text("Cargo.toml").contains("default-features = false") && text("Cargo.toml").contains("\"cdylib\""));
    assert!(text("build.rs").contains("static=copy_kernels"));
    assert!(text("src/lib.rs").contains("include!(\"copy.rs\")"));
    assert!(text("src/copy.rs").contains("pub fn copy"));
    let header = text("copy.h");
    assert!(header.contains("int32_t kiln_copy(const kiln_tensor *x, const kiln_tensor *y);"), "{header}");
    let library = std::fs::read(place.path("out/src/libcopy_kernels.a")).unwrap();
    assert!(library.starts_with(b"!<arch>\n"));
    let bundle = std::fs::read(place.path("out/src/copy.kilnbundle")).unwrap();
    assert!(bundle.windows(7).any(|w| w == b".target"), "the PTX is there");
    // The same again gives the same bytes.
    place.ok(&args);
    assert!(std::fs::read(place.path("out/src/libcopy_kernels.a")).unwrap() == library);
    assert!(std::fs::read(place.path("out/src/copy.kilnbundle")).unwrap() == bundle);
}

#[test]
fn what_a_bundle_cannot_be() {
    let place = Place::new();
    place.file("copy.kiln", KERNEL);
    let with = |more: &[&'static str]| [&["build", "copy.kiln", "--emit", "bundle"], more].concat();
    place.fails(&with(&[]), "say where with -o");
    place.fails(&with(&["-o", "out"]), "`B` is not determined");
    place.fails(&with(&["-o", "out", "--target", "pentium"]), "there is no target `pentium`");
    place.fails(&with(&["-o", "out", "--type", "U=f32"]), "no type parameter `U`");
    place.fails(&with(&["-o", "out", "--arg", "x=zeros(3):f32"]), "not for arguments");
    place.fails(&with(&["-o", "out", "--dim", "N=10", "--kernel", "paste"]), "no kernel `paste`");
    place.file("bad.kiln", "kernel k() grid [1] { let a = ; }");
    place.fails(&["build", "bad.kiln", "--emit", "bundle", "-o", "out"], "K0");
}

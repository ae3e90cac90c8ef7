//! Names of the functions for C and their parameters.

use kiln_build::Bundle;

const KERNEL: &str = "/// register[i] = n * N
kernel words<const N: int, const INT: int>(register: mut tensor<f32, [X]>, n: f32, double: f32 = 1.0) grid [INT] {
    register[program_id(0)] = n * N as f32 * double;
}
";

#[test]
fn words_of_c_and_names_that_differ_in_case() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("words.kiln");
    std::fs::write(&file, KERNEL).unwrap();
    let bundle = Bundle::new(&file).c_api().specialize("words", |s| s.constant("N", 21).constant("INT", 3));
    let compiled = bundle.compile().unwrap();
    let header = compiled.header.unwrap();
    let declared =
        "int32_t kiln_words(const kiln_tensor *register_, float n, const float *double_, int64_t const_n, int64_t int_);";
    assert!(header.contains(declared), "{header}");
    assert!(compiled.rust.contains("const_n: i64,") && compiled.rust.contains("int: i64,"), "{}", compiled.rust);
}

#[test]
fn what_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("words.kiln");
    std::fs::write(&file, KERNEL).unwrap();
    let refused = |bundle: Bundle| bundle.compile().unwrap_err().to_string();
    let said = refused(Bundle::new(&file));
    assert!(said.contains("`N`"), "{said}");
    let said = refused(Bundle::new(&file).specialize("words", |s| s.type_param("T", "f31")));
    assert!(said.contains("there is no type `f31`"), "{said}");
    let said = refused(Bundle::new(&file).specialize("phrases", |s| s));
    assert!(said.contains("there is no kernel `phrases`") && said.contains("`words`"), "{said}");
    let said = refused(Bundle::new(&file).target("sm_12"));
    assert!(said.contains("there is no target `sm_12`"), "{said}");
    let said = refused(Bundle::new(&file).name("two words"));
    assert!(said.contains("no name for a bundle"), "{said}");
    let said = refused(Bundle::new(dir.path().join("nothing.kiln")));
    assert!(said.contains("nothing.kiln"), "{said}");
}

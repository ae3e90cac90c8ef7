//! Counts carried through a loop with a tail: what is counted comes in vectors, its mask must come in the same layout.

use kiln_emulator::Schedule;

use crate::executed::{Input, on_emulator_as, on_host, tensor};

#[test]
fn histograms_of_a_loop() {
    let text = "kernel @0 k(v0.x: tensor<u8, 1> {number 0, align 16, dims [?%16], strides [=1]}, v1.c: mut tensor<i32, 1> {number 1, align 16, dims [=256], strides [=1]}) grid 1 index 32 {\n\
        v2: index = const 0\n\
        v3: index = view_dim v0 axis 0\n\
        v4: index = const 4096\n\
        v5: tile<i32, [256]> = const 0\n\
        v6: tile<i32, [256]> = for v2..v3 step v4 init [v5] (v7: index, v8: tile<i32, [256]>) {\n\
        v9: tile<u8, [4096]> = load v0[v7..+4096]\n\
        v10: tile<index, [4096]> = iota 0\n\
        v11: tile<index, [4096]> = broadcast v7\n\
        v12: tile<index, [4096]> = add v10, v11\n\
        v13: tile<index, [4096]> = broadcast v3\n\
        v14: tile<bool, [4096]> = cmp lt v12, v13\n\
        v15: tile<i32, [256]> = histogram v9 bins 256 mask v14\n\
        v16: tile<i32, [256]> = add v8, v15\n\
        yield v16\n\
        }\n\
        store v1[v2..+256!], v6\n\
        yield\n}\n";
    for n in [4096i64, 368, 4464, 8192 + 368] {
        let bytes: Vec<u8> = (0..n as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        let inputs = [Input::Tensor(bytes, vec![n], vec![1]), tensor("i32", &[256], 2)];
        let host = on_host(text, [1, 1], &inputs);
        let (gpu, _) = on_emulator_as(text, "sm_90a", [1, 1], &inputs, Schedule::Random(1));
        assert_eq!(host[1], gpu[1], "{n} bytes");
    }
}

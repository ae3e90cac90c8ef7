//! Graphs: captured without running, replayed as one.

use kiln::{AnyTensor, Stream, Tensor};

use crate::support::{Tests, add, gpu, increment, kernel};

pub fn tests() -> Tests {
    vec![
        ("graphs::replays_run_what_was_captured", replays),
        ("graphs::replays_wait_for_other_streams", ordered),
        ("graphs::a_graph_keeps_its_memory", kept),
        ("graphs::what_cannot_be_captured_is_refused", refused),
    ]
}

fn replays() {
    let (increment, add, gpu) = (increment(), add(), gpu());
    let stream = Stream::new(&gpu).unwrap();
    let (mut x, mut z) = (Tensor::<f32>::zeros_on(&gpu, &[200]).unwrap(), Tensor::<f32>::zeros_on(&gpu, &[200]).unwrap());
    let mut copy = AnyTensor::from(Tensor::<f32>::zeros_on(&gpu, &[200]).unwrap());
    increment.on(&gpu).arg(&mut x).prepare().unwrap();
    add.on(&gpu).arg(&x).arg(&x).arg(&mut z).arg(3.0f32).prepare().unwrap();
    let graph = stream
        .capture(|stream| {
            increment.on(&gpu).arg(&mut x).enqueue(stream)?;
            increment.on(&gpu).arg(&mut x).enqueue(stream)?;
            add.on(&gpu).arg(&x).arg(&x).arg(&mut z).arg(3.0f32).enqueue(stream)?;
            stream.copy(&z, &mut copy)
        })
        .unwrap_or_else(|e| panic!("{e}"));
    // Nothing ran yet.
    assert_eq!((x.to_vec().unwrap()[0], z.to_vec().unwrap()[0]), (0.0, 0.0));
    for round in 1..4 {
        graph.launch(&stream).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(x.to_vec().unwrap(), [2.0 * round as f32; 200]);
        assert_eq!(z.to_vec().unwrap(), [8.0 * round as f32; 200]);
        assert_eq!(copy.typed::<f32>().unwrap().to_vec().unwrap(), [8.0 * round as f32; 200]);
    }
}

fn ordered() {
    let (increment, gpu) = (increment(), gpu());
    let (first, second) = (Stream::new(&gpu).unwrap(), Stream::new(&gpu).unwrap());
    let mut x = Tensor::<f32>::zeros_on(&gpu, &[128]).unwrap();
    increment.on(&gpu).arg(&mut x).prepare().unwrap();
    let graph =
        first.capture(|stream| increment.on(&gpu).arg(&mut x).enqueue(stream).map(drop)).unwrap_or_else(|e| panic!("{e}"));
    for _ in 0..3 {
        increment.on(&gpu).arg(&mut x).enqueue(&second).unwrap();
        graph.launch(&first).unwrap();
    }
    second.synchronize().unwrap();
    assert_eq!(x.to_vec().unwrap(), [6.0; 128]);
}

fn kept() {
    let (add, gpu) = (add(), gpu());
    let stream = Stream::new(&gpu).unwrap();
    let mut z = Tensor::<f32>::zeros_on(&gpu, &[64]).unwrap();
    let graph = {
        let x = Tensor::<f32>::from_fn(&[64], |i| i as f32).unwrap().to(&gpu).unwrap();
        add.on(&gpu).arg(&x).arg(&x).arg(&mut z).prepare().unwrap();
        stream
            .capture(|stream| add.on(&gpu).arg(&x).arg(&x).arg(&mut z).enqueue(stream).map(drop))
            .unwrap_or_else(|e| panic!("{e}"))
    };
    drop(add);
    let other = Tensor::<f32>::from_fn(&[64], |_| -1.0).unwrap().to(&gpu).unwrap();
    graph.launch(&stream).unwrap_or_else(|e| panic!("{e}"));
    drop(graph);
    assert_eq!(z.to_vec().unwrap(), (0..64).map(|i| 2.0 * i as f32).collect::<Vec<_>>());
    assert_eq!(other.to_vec().unwrap(), [-1.0; 64]);
}

fn refused() {
    let gpu = gpu();
    let stream = Stream::new(&gpu).unwrap();
    let mut x = Tensor::<f32>::zeros_on(&gpu, &[128]).unwrap();
    let shown =
        kernel("kernel k(x: mut tensor<f32, [N]>) grid [1] {\n    print(\"x = {}\", x[0..+2]);\n    x[0..+2] = 1.0;\n}\n");
    shown.on(&gpu).arg(&mut x).prepare().unwrap();
    let error = stream.capture(|stream| shown.on(&gpu).arg(&mut x).enqueue(stream).map(drop)).unwrap_err();
    assert!(error.to_string().contains("kernel `k` prints"), "{error}");
    let host = Tensor::<f32>::zeros(&[128]).unwrap();
    let mut there = AnyTensor::from(x.clone());
    let error = stream.capture(|stream| stream.copy(&host, &mut there)).unwrap_err();
    assert!(error.to_string().contains("within the GPU's memory"), "{error}");
    // The stream is as it was.
    increment().on(&gpu).arg(&mut x).enqueue(&stream).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(x.to_vec().unwrap(), [1.0; 128]);
}

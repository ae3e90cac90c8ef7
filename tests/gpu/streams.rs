//! Streams, events, copies beside the host, and launches timed by the GPU.

use kiln::{Device, Stream, Tensor, TensorError, Timing};

use crate::support::{Tests, add, gpu, increment, kernel};

pub fn tests() -> Tests {
    vec![
        ("streams::launches_follow_each_other", in_order),
        ("streams::launches_may_begin_early", early),
        ("streams::streams_wait_for_each_other_by_tensors", across_streams),
        ("streams::readers_do_not_wait_for_readers", readers),
        ("streams::copies_hold_the_hosts_memory", copies),
        ("streams::events_are_ordered_and_timed", events),
        ("streams::launches_are_timed", timed),
        ("streams::tensors_of_the_host_are_refused", host_tensors),
        ("streams::any_thread_may_launch", threads),
        ("streams::other_devices_have_them_too", on_the_cpu),
        ("streams::grids_wait_for_themselves", grid_sync),
    ]
}

fn in_order() {
    let (increment, gpu) = (increment(), gpu());
    let stream = Stream::new(&gpu).unwrap();
    let mut x = Tensor::<f32>::zeros_on(&gpu, &[300]).unwrap();
    for _ in 0..10 {
        increment.on(&gpu).arg(&mut x).enqueue(&stream).unwrap_or_else(|e| panic!("{e}"));
    }
    // Reading waits for the writer.
    assert_eq!(x.to_vec().unwrap(), [10.0; 300]);
    increment.on(&gpu).arg(&mut x).enqueue(&stream).unwrap();
    while !stream.is_idle().unwrap() {}
    assert_eq!(x.to_vec().unwrap(), [11.0; 300]);
}

/// Each launch waits by itself for what the one in front of it wrote, also beside launches that do not, and in a graph.
fn early() {
    let (increment, gpu) = (increment(), gpu());
    let early = increment.schedule("pdl", &[1]);
    let stream = Stream::new(&gpu).unwrap();
    let mut x = Tensor::<f32>::zeros_on(&gpu, &[300]).unwrap();
    for round in 0..12 {
        let kernel = if round % 4 == 3 { &increment } else { &early };
        kernel.on(&gpu).arg(&mut x).enqueue(&stream).unwrap_or_else(|e| panic!("{e}"));
    }
    assert_eq!(x.to_vec().unwrap(), [12.0; 300]);
    let graph = stream.capture(|stream| early.on(&gpu).arg(&mut x).enqueue(stream).map(drop)).unwrap();
    graph.launch(&stream).unwrap();
    graph.launch(&stream).unwrap();
    assert_eq!(x.to_vec().unwrap(), [14.0; 300]);
}

fn across_streams() {
    let (increment, add, gpu) = (increment(), add(), gpu());
    let streams: Vec<Stream> = (0..3).map(|_| Stream::new(&gpu).unwrap()).collect();
    let mut x = Tensor::<f32>::zeros_on(&gpu, &[200]).unwrap();
    // A write by each in turn.
    for round in 0..9 {
        increment.on(&gpu).arg(&mut x).enqueue(&streams[round % 3]).unwrap_or_else(|e| panic!("{e}"));
    }
    // Read by one, then written by another, which has to wait for the reader.
    let mut sum = Tensor::<f32>::zeros_on(&gpu, &[200]).unwrap();
    add.on(&gpu).arg(&x).arg(&x).arg(&mut sum).enqueue(&streams[0]).unwrap_or_else(|e| panic!("{e}"));
    increment.on(&gpu).arg(&mut x).enqueue(&streams[1]).unwrap_or_else(|e| panic!("{e}"));
    // The host writes too.
    let mut copy = Tensor::<f32>::zeros_on(&gpu, &[200]).unwrap();
    add.on(&gpu).arg(&x).arg(&sum).arg(&mut copy).enqueue(&streams[2]).unwrap_or_else(|e| panic!("{e}"));
    x.copy_from_bytes(&[0; 800]).unwrap();
    streams[1].synchronize().unwrap();
    assert_eq!(sum.to_vec().unwrap(), [18.0; 200]);
    assert_eq!(copy.to_vec().unwrap(), [28.0; 200]);
    assert_eq!(x.to_vec().unwrap(), [0.0; 200]);
}

fn readers() {
    let (increment, add, gpu) = (increment(), add(), gpu());
    let (first, second) = (Stream::new(&gpu).unwrap(), Stream::new(&gpu).unwrap());
    let weights = Tensor::<f32>::from_fn(&[64], |_| 1.0).unwrap().to(&gpu).unwrap();
    let mut y = [Tensor::<f32>::zeros_on(&gpu, &[64]).unwrap(), Tensor::<f32>::zeros_on(&gpu, &[64]).unwrap()];
    for _ in 0..4 {
        for (stream, y) in [&first, &second].into_iter().zip(&mut y) {
            let before = y.clone();
            // In place: read and written by one launch.
            let launched = add.on(&gpu).arg(&weights).arg(&before).arg(&mut *y).enqueue(stream);
            assert!(launched.unwrap_err().to_string().contains("overlap"));
            increment.on(&gpu).arg(&mut *y).enqueue(stream).unwrap_or_else(|e| panic!("{e}"));
            let mut other = Tensor::<f32>::zeros_on(&gpu, &[64]).unwrap();
            add.on(&gpu).arg(&weights).arg(&*y).arg(&mut other).enqueue(stream).unwrap_or_else(|e| panic!("{e}"));
            *y = other;
        }
    }
    // 0, then (y + 1) + 1 four times.
    for y in &y {
        assert_eq!(y.to_vec().unwrap(), [8.0; 64]);
    }
}

fn copies() {
    let (increment, gpu) = (increment(), gpu());
    let stream = Stream::new(&gpu).unwrap();
    let mut host = Tensor::<f32>::locked(&gpu, &[256]).unwrap();
    host.write().unwrap().fill(7.0);
    let mut there = Tensor::<f32>::zeros_on(&gpu, &[256]).unwrap();
    let mut back = Tensor::<f32>::locked(&gpu, &[256]).unwrap();
    let (mut there_any, mut back_any) = (kiln::AnyTensor::from(there.clone()), kiln::AnyTensor::from(back.clone()));
    stream.copy(&host, &mut there_any).unwrap_or_else(|e| panic!("{e}"));
    increment.on(&gpu).arg(&mut there).enqueue(&stream).unwrap_or_else(|e| panic!("{e}"));
    stream.copy(&there, &mut back_any).unwrap_or_else(|e| panic!("{e}"));
    // Under way: nobody may touch either end.
    assert_eq!(host.write().unwrap_err(), TensorError::Busy);
    assert_eq!(back.read().unwrap_err(), TensorError::Busy);
    stream.synchronize().unwrap();
    assert_eq!(&*back.read().unwrap(), [8.0; 256]);
    host.write().unwrap().fill(0.0);
    back.write().unwrap().fill(0.0);
    // Ordinary memory goes too, and the GPU's to the GPU's.
    let ordinary = Tensor::<f32>::from_fn(&[256], |i| i as f32).unwrap();
    let mut second = kiln::AnyTensor::from(Tensor::<f32>::zeros_on(&gpu, &[256]).unwrap());
    stream.copy(&ordinary, &mut there_any).unwrap_or_else(|e| panic!("{e}"));
    stream.copy(&there_any, &mut second).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(second.to_bytes().unwrap(), ordinary.to_bytes().unwrap());
    // What does not fit is refused.
    let mut other = kiln::AnyTensor::from(Tensor::<f32>::zeros_on(&gpu, &[128]).unwrap());
    assert!(stream.copy(&ordinary, &mut other).unwrap_err().to_string().contains("a copy from"));
}

fn events() {
    let (increment, gpu) = (increment(), gpu());
    let (first, second) = (Stream::new(&gpu).unwrap(), Stream::new(&gpu).unwrap());
    let mut x = Tensor::<f32>::zeros_on(&gpu, &[128]).unwrap();
    let start = first.record().unwrap();
    increment.on(&gpu).arg(&mut x).enqueue(&first).unwrap_or_else(|e| panic!("{e}"));
    let end = first.record().unwrap();
    second.wait(&end).unwrap();
    second.synchronize().unwrap();
    let time = end.since(&start).unwrap();
    assert!(time.as_nanos() > 0 && time.as_secs() < 60, "{time:?}");
    assert_eq!(x.to_vec().unwrap(), [1.0; 128]);
}

fn timed() {
    let (increment, gpu) = (increment(), gpu());
    for mut x in [Tensor::<f32>::zeros(&[128]).unwrap(), Tensor::<f32>::zeros_on(&gpu, &[128]).unwrap()] {
        let timing = Timing { warm_up: 2, repeats: 5, cold: true };
        let (launched, times) = increment.on(&gpu).arg(&mut x).timed(&timing).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(times.sorted().len(), 5);
        assert!(times.least() <= times.median() && times.median().as_nanos() > 0, "{times:?}");
        assert!(launched.gpu_code().is_some_and(|code| code.registers > 0));
        // It ran seven times.
        assert_eq!(x.to_vec().unwrap(), [7.0; 128]);
    }
}

fn host_tensors() {
    let gpu = gpu();
    let stream = Stream::new(&gpu).unwrap();
    let mut x = Tensor::<f32>::zeros(&[8]).unwrap();
    let error = increment().on(&gpu).arg(&mut x).enqueue(&stream).unwrap_err();
    assert!(error.to_string().contains("K1025") && error.to_string().contains("argument 1 is in the host's memory"), "{error}");
    let error = increment().on(&Device::cpu().unwrap()).arg(&mut x).enqueue(&stream).unwrap_err();
    assert!(error.to_string().contains("a launch on cpu in a stream of cuda:0"), "{error}");
}

fn threads() {
    let (increment, gpu) = (increment(), gpu());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut x = Tensor::<f32>::zeros_on(&gpu, &[128]).unwrap();
                for _ in 0..5 {
                    increment.on(&gpu).arg(&mut x).run().unwrap_or_else(|e| panic!("{e}"));
                }
                assert_eq!(x.to_vec().unwrap(), [5.0; 128]);
            });
        }
    });
}

fn on_the_cpu() {
    let cpu = Device::cpu().unwrap();
    let stream = Stream::new(&cpu).unwrap();
    let mut x = Tensor::<f32>::zeros_on(&cpu, &[128]).unwrap();
    let start = stream.record().unwrap();
    increment().on(&cpu).arg(&mut x).enqueue(&stream).unwrap_or_else(|e| panic!("{e}"));
    let end = stream.record().unwrap();
    assert!(stream.is_idle().unwrap() && end.since(&start).unwrap().as_nanos() > 0);
    let (_, times) = increment().on(&cpu).arg(&mut x).timed(&Timing { warm_up: 1, repeats: 3, cold: false }).unwrap();
    assert_eq!((times.sorted().len(), x.to_vec().unwrap()), (3, vec![5.0; 128]));
    assert!(stream.capture(|_| Ok(())).unwrap_err().to_string().contains("graphs are captured on GPUs"));
}

fn grid_sync() {
    let k = kernel(
        "#[schedule(cooperative)]\nkernel k(x: mut tensor<i32, [N]>, y: mut tensor<i32, [N]>) grid [N] {\n    let i = program_id(0);\n    x[i] = i as i32;\n    \
         grid_sync();\n    y[i] = x[num_programs(0) - 1 - i] + 1;\n    grid_sync();\n    x[i] = y[num_programs(0) - 1 - i] * 10;\n}\n",
    );
    let gpu = gpu();
    let (mut x, mut y) = (Tensor::<i32>::zeros_on(&gpu, &[20]).unwrap(), Tensor::<i32>::zeros_on(&gpu, &[20]).unwrap());
    for _ in 0..3 {
        k.on(&gpu).arg(&mut x).arg(&mut y).run().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(x.to_vec().unwrap(), (0..20).map(|i| 10 * (i + 1)).collect::<Vec<i32>>());
    }
    let many = 1_000_000;
    let (mut x, mut y) = (Tensor::<i32>::zeros_on(&gpu, &[many]).unwrap(), Tensor::<i32>::zeros_on(&gpu, &[many]).unwrap());
    let error = k.on(&gpu).arg(&mut x).arg(&mut y).run().unwrap_err();
    assert!(error.to_string().contains("waits for its whole grid of 1000000 programs"), "{error}");
}

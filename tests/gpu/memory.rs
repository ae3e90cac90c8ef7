//! Tensors on the GPU: copies in and out, views, launches with tensors here and there.

use kiln::{AnyTensor, Device, ScalarType, Tensor};

use crate::support::{Tests, add, gpu, increment, kernel};

pub fn tests() -> Tests {
    vec![
        ("memory::tensors_go_there_and_back", there_and_back),
        ("memory::views_of_the_gpus_memory", views),
        ("memory::launches_take_tensors_of_either_memory", either_memory),
        ("memory::slices_of_cudarc_are_tensors_where_they_are", slices_of_cudarc),
        ("memory::pointers_are_followed", pointers),
        ("memory::a_tensor_may_go_while_work_on_it_is_under_way", dropped_early),
        ("memory::the_host_has_no_slice_of_it", no_slices),
        ("memory::there_is_not_that_much", too_much),
        ("memory::more_than_48_kib_of_shared_memory", much_shared_memory),
    ]
}

fn there_and_back() {
    let gpu = gpu();
    let x = Tensor::<f32>::from_fn(&[3, 5], |i| i as f32).unwrap();
    let there = x.to(&gpu).unwrap();
    assert_eq!(there.device().map(|d| d.name()), Some("cuda:0".to_owned()));
    assert_ne!(there.address(), x.address());
    assert_eq!(there.to_vec().unwrap(), x.to_vec().unwrap());
    assert_eq!(there.get(&[2, 1]).unwrap(), 11.0);
    // There already: the same memory.
    assert_eq!(there.to(&gpu).unwrap().address(), there.address());
    let back = there.to(&Device::cpu().unwrap()).unwrap();
    assert!(back.device().is_none());
    assert_eq!(back.to_vec().unwrap(), x.to_vec().unwrap());
    let copy = there.deep_clone().unwrap();
    assert!(copy.address() != there.address() && copy.device().is_some());
    assert_eq!(copy.to_vec().unwrap(), x.to_vec().unwrap());
    assert_eq!(Tensor::<i64>::zeros_on(&gpu, &[7]).unwrap().to_vec().unwrap(), [0; 7]);
    assert_eq!(Tensor::<u8>::zeros_on(&gpu, &[0, 3]).unwrap().to_vec().unwrap(), [0u8; 0]);
}

fn views() {
    let x = Tensor::<i32>::from_fn(&[4, 6], |i| i as i32).unwrap();
    let there = x.to(&gpu()).unwrap();
    let view = |t: &Tensor<i32>| t.slice(0, 1..4).unwrap().step_by(1, -2).unwrap().transpose().unwrap();
    assert_eq!(view(&there).to_vec().unwrap(), view(&x).to_vec().unwrap());
    assert_eq!(view(&there).get(&[1, 2]).unwrap(), view(&x).get(&[1, 2]).unwrap());
    // Elements between those of the view stay.
    let bytes: Vec<u8> = (100..109i32).flat_map(i32::to_ne_bytes).collect();
    view(&there).copy_from_bytes(&bytes).unwrap();
    view(&x).copy_from_bytes(&bytes).unwrap();
    assert_eq!(there.to_vec().unwrap(), x.to_vec().unwrap());
    assert_eq!(view(&there).deep_clone().unwrap().to_vec().unwrap(), view(&x).to_vec().unwrap());
}

fn either_memory() {
    let (add, gpu) = (add(), gpu());
    let make = || Tensor::<f32>::from_fn(&[100], |i| i as f32).unwrap();
    let expected: Vec<f32> = (0..100).map(|i| i as f32 * 3.0).collect();
    let there = make().to(&gpu).unwrap();
    for (x, mut z) in [
        (make(), Tensor::<f32>::zeros(&[100]).unwrap()),
        (there.clone(), Tensor::zeros(&[100]).unwrap()),
        (make(), Tensor::zeros_on(&gpu, &[100]).unwrap()),
        (there, Tensor::zeros_on(&gpu, &[100]).unwrap()),
    ] {
        add.on(&gpu).arg(&x).arg(&make()).arg(&mut z).arg(2.0f32).run().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(z.to_vec().unwrap(), expected);
    }
    // A part of a tensor: the rest of it stays.
    let whole = Tensor::<f32>::from_fn(&[64], |_| 5.0).unwrap().to(&gpu).unwrap();
    let mut part = whole.slice(0, 16..32).unwrap();
    increment().on(&gpu).arg(&mut part).run().unwrap_or_else(|e| panic!("{e}"));
    let expected: Vec<f32> = (0..64).map(|i| if (16..32).contains(&i) { 6.0 } else { 5.0 }).collect();
    assert_eq!(whole.to_vec().unwrap(), expected);
    // No program at all.
    let (x, mut z) = (Tensor::<f32>::zeros_on(&gpu, &[0]).unwrap(), Tensor::<f32>::zeros_on(&gpu, &[0]).unwrap());
    add.on(&gpu).arg(&x).arg(&x).arg(&mut z).run().unwrap_or_else(|e| panic!("{e}"));
}

fn slices_of_cudarc() {
    let context = cudarc::driver::CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let slice = || stream.clone_htod(&[0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let ours = slice();
    let address = cudarc::driver::DevicePtr::device_ptr(&ours, &stream).0;
    let mut x = Tensor::<f32>::from_cuda_slice(ours, &[6]).unwrap();
    assert_eq!((x.address(), x.device().map(|d| d.name())), (address, Some("cuda:0".to_owned())));
    increment().on(&gpu()).arg(&mut x).run().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(x.to_vec().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let error = Tensor::<f32>::from_cuda_slice(slice(), &[2, 2]).unwrap_err().to_string();
    assert!(error.contains("has 4 elements, but the slice has 6"), "{error}");
}

fn pointers() {
    let gpu = gpu();
    let k = kernel(
        "kernel k(x: ptr<f32>, y: mut ptr<f32>) grid [1] {\n    store(y + arange(0, 4), load(x + arange(0, 4)) * 2.0);\n}\n",
    );
    let x: AnyTensor = Tensor::<f32>::from_fn(&[4], |i| i as f32).unwrap().into();
    for (x, y) in [
        (x.clone(), AnyTensor::zeros(ScalarType::F32, &[4]).unwrap()),
        (x.to(&gpu).unwrap(), AnyTensor::zeros_on(&gpu, ScalarType::F32, &[4]).unwrap()),
    ] {
        // SAFETY: the tensors outlive the launch, and the kernel stays within them.
        let launch = unsafe { k.on(&gpu).pointer(ScalarType::F32, x.address()).pointer(ScalarType::F32, y.address()) };
        launch.run().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(y.typed::<f32>().unwrap().to_vec().unwrap(), [0.0, 2.0, 4.0, 6.0]);
    }
}

fn dropped_early() {
    let (add, gpu) = (add(), gpu());
    let (first, second) = (kiln::Stream::new(&gpu).unwrap(), kiln::Stream::new(&gpu).unwrap());
    let ones = Tensor::<f32>::from_fn(&[512], |_| 1.0).unwrap();
    let mut z = Tensor::<f32>::zeros_on(&gpu, &[512]).unwrap();
    for stream in [&first, &second] {
        let (x, y) = (ones.to(&gpu).unwrap(), ones.to(&gpu).unwrap());
        add.on(&gpu).arg(&x).arg(&y).arg(&mut z).enqueue(stream).unwrap_or_else(|e| panic!("{e}"));
        drop((x, y));
        // May be given the memory that was just given back.
        drop(Tensor::<f32>::zeros_on(&gpu, &[512]).unwrap());
    }
    assert_eq!(z.to_vec().unwrap(), [2.0; 512]);
    first.synchronize().unwrap();
    second.synchronize().unwrap();
}

fn no_slices() {
    let mut x = Tensor::<f32>::zeros_on(&gpu(), &[4]).unwrap();
    for error in [x.read().unwrap_err(), x.write().unwrap_err()] {
        assert!(error.to_string().contains("K1025") && error.to_string().contains("cuda:0"), "{error}");
    }
    // The emulator has a memory of its own, and the CPU cannot follow either.
    for device in [Device::emulator(), Device::cpu().unwrap()] {
        let error = increment().on(&device).arg(&mut x).run().unwrap_err();
        assert!(error.to_string().contains("argument 1 is on cuda:0"), "{error}");
    }
}

fn too_much() {
    let error = Tensor::<f64>::zeros_on(&gpu(), &[1 << 40]).unwrap_err();
    assert!(error.to_string().contains("K1025") && error.to_string().contains("GiB are free"), "{error}");
    // Nothing is broken by it.
    assert_eq!(Tensor::<f64>::zeros_on(&gpu(), &[3]).unwrap().to_vec().unwrap(), [0.0; 3]);
}

fn much_shared_memory() {
    let k = kernel(
        "#[schedule(stages = 4, warps = 4)]\nkernel k(a: tensor<f16, [M, K]>, b: tensor<f16, [K, N]>, c: mut tensor<f32, [M, N]>) grid [1] {\n    \
         let mut acc = zeros::<f32>([64, 128]);\n    for k in (0..K).step_by(64) {\n        acc = dot(a[0..+64, k..+64], b[k..+64, 0..+128], acc);\n    }\n    \
         c[0..+64, 0..+128] = acc;\n}\n",
    );
    let gpu = gpu();
    let a = Tensor::<half::f16>::from_fn(&[64, 256], |i| half::f16::from_f32((i % 3) as f32)).unwrap().to(&gpu).unwrap();
    let b = Tensor::<half::f16>::from_fn(&[256, 128], |i| half::f16::from_f32((i % 2) as f32)).unwrap().to(&gpu).unwrap();
    let mut c = Tensor::<f32>::zeros_on(&gpu, &[64, 128]).unwrap();
    let ran = k.on(&gpu).arg(&a).arg(&b).arg(&mut c).run().unwrap_or_else(|e| panic!("{e}"));
    let shared = ran.compiled().ptx().expect("code for a GPU").shared_bytes;
    assert!(shared > 48 << 10, "{shared} bytes: the test needs a kernel that has to ask for more");
    let (a, b) = (a.to_vec().unwrap(), b.to_vec().unwrap());
    for (i, found) in c.to_vec().unwrap().into_iter().enumerate() {
        let (m, n) = (i / 128, i % 128);
        let expected: f32 = (0..256).map(|k| a[m * 256 + k].to_f32() * b[k * 128 + n].to_f32()).sum();
        assert_eq!(found, expected, "[{m}, {n}]");
    }
}

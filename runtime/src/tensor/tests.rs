//! Views and copies, against the same done with plain vectors.

use proptest::prelude::*;

use super::*;

/// From an index of a view to the index of its parent.
type IndexMap = Box<dyn Fn(&[i64]) -> Vec<i64>>;

fn counting(dims: &[i64]) -> Tensor<i32> {
    Tensor::from_fn(dims, |i| i as i32).unwrap()
}

#[test]
fn views_share_memory_and_copies_do_not() {
    let mut x = counting(&[3, 4]);
    let row = x.index(0, 1).unwrap();
    let column = x.slice(1, 2..3).unwrap();
    let copy = x.deep_clone().unwrap();
    x.write().unwrap()[6] = 100;
    assert_eq!(row.to_vec().unwrap(), [4, 5, 100, 7]);
    assert_eq!(column.to_vec().unwrap(), [2, 100, 10]);
    assert_eq!(copy.get(&[1, 2]).unwrap(), 6);
    assert_eq!(x.transpose().unwrap().to_vec().unwrap(), [0, 4, 8, 1, 5, 9, 2, 100, 10, 3, 7, 11]);
    assert_eq!(x.step_by(1, -3).unwrap().to_vec().unwrap(), [3, 0, 7, 4, 11, 8]);
    assert_eq!(row.broadcast(&[2, 4]).unwrap().to_vec().unwrap(), [4, 5, 100, 7, 4, 5, 100, 7]);
    assert_eq!(x.reshape(&[2, 6]).unwrap().index(0, 1).unwrap().to_vec().unwrap(), [100, 7, 8, 9, 10, 11]);
    assert!(column.transpose().unwrap().copy_from_bytes(bytemuck::cast_slice(&[1i32, 2, 3])).is_ok());
    assert_eq!(x.to_vec().unwrap(), [0, 1, 1, 3, 4, 5, 2, 7, 8, 9, 3, 11]);
}

#[test]
fn mistakes_are_errors() {
    let x = counting(&[3, 4]);
    assert!(x.slice(2, ..).is_err());
    assert!(x.slice(0, 2..5).is_err());
    assert!(x.slice(0, -1..2).is_err());
    assert!(x.index(1, 4).is_err());
    assert!(x.permute(&[0, 0]).is_err());
    assert!(x.permute(&[0]).is_err());
    assert!(x.reshape(&[5]).is_err());
    assert!(x.reshape(&[-3, -4]).is_err());
    assert!(x.transpose().unwrap().reshape(&[12]).is_err());
    assert!(x.broadcast(&[2, 4]).is_err());
    assert!(x.step_by(0, 0).is_err());
    assert!(x.get(&[3, 0]).is_err());
    assert!(Tensor::from_vec(vec![1.0f32], &[2]).is_err());
    assert!(Tensor::<f64>::zeros(&[1 << 40, 1 << 40]).is_err());
    assert!(x.copy_from_bytes(&[0]).is_err());
    assert!(AnyTensor::from_bytes(ScalarType::Bool, &[2], &[1, 2]).is_err());
    assert!(x.typed::<u32>().is_none());
    let storage = x.storage().clone();
    assert!(AnyTensor::from_storage(storage.clone(), ScalarType::I32, 0, &[3, 4], &[5, 1]).is_err());
    assert!(AnyTensor::from_storage(storage.clone(), ScalarType::I32, 2, &[3], &[1]).is_err());
    // Without elements, strides lead nowhere.
    assert!(AnyTensor::from_storage(storage.clone(), ScalarType::I32, 0, &[i64::MAX, 0], &[i64::MIN, 1]).unwrap().is_empty());
    let back = AnyTensor::from_storage(storage, ScalarType::I32, 44, &[3], &[-4]).unwrap();
    assert_eq!(back.typed::<i32>().unwrap().to_vec().unwrap(), [11, 7, 3]);
}

#[test]
fn empty_tensors_are_tensors() {
    let x = Tensor::<f32>::zeros(&[0, 4]).unwrap();
    assert!(x.to_vec().unwrap().is_empty());
    assert_eq!(x.transpose().unwrap().dims(), [4, 0]);
    assert_eq!(x.read().unwrap().len(), 0);
    assert!(counting(&[3]).slice(0, 3..3).unwrap().to_vec().unwrap().is_empty());
}

#[test]
fn a_guard_keeps_others_out() {
    let x = counting(&[4]);
    let mut y = x.clone();
    let reader = x.read().unwrap();
    assert!(matches!(y.write(), Err(TensorError::Busy)));
    drop(reader);
    let writer = y.write().unwrap();
    assert!(x.to_vec().is_err());
    drop(writer);
    assert!(x.to_vec().is_ok());
}

proptest! {
    /// Chains of views against index arithmetic on the side.
    #[test]
    fn view_chains_agree_with_index_arithmetic(dims in prop::collection::vec(1i64..5, 1..4), ops in prop::collection::vec((0u8..4, 0usize..3, 0i64..5), 0..6)) {
        let x = counting(&dims);
        let mut view = x.clone();
        // The side model: each element of the view as an index into the original.
        let mut model: Vec<i32> = x.to_vec().unwrap();
        let mut shape = dims.clone();
        for (kind, axis, amount) in ops {
            let axis = axis % shape.len();
            let at = |model: &[i32], shape: &[i64], index: &[i64]| {
                model[index.iter().zip(shape).fold(0, |n, (i, d)| n * d + i) as usize]
            };
            let indices = |shape: &[i64]| {
                let mut all = vec![vec![]];
                for &d in shape {
                    all = all.iter().flat_map(|p: &Vec<i64>| (0..d).map(move |i| [p.as_slice(), &[i]].concat())).collect();
                }
                all
            };
            let old = shape.clone();
            let source: IndexMap = match kind {
                0 => {
                    let start = amount % (old[axis] + 1);
                    view = view.slice(axis, start..).unwrap();
                    shape[axis] -= start;
                    Box::new(move |i| { let mut i = i.to_vec(); i[axis] += start; i })
                }
                1 => {
                    let step = amount - 6;
                    view = view.step_by(axis, step).unwrap();
                    shape[axis] = (old[axis] + -step - 1) / -step;
                    let last = old[axis] - 1;
                    Box::new(move |i| { let mut i = i.to_vec(); i[axis] = last + i[axis] * step; i })
                }
                2 => {
                    let mut order: Vec<usize> = (0..old.len()).collect();
                    order.rotate_left(axis);
                    view = view.permute(&order).unwrap();
                    shape = order.iter().map(|&a| old[a]).collect();
                    Box::new(move |i| { let mut out = vec![0; i.len()]; for (k, &a) in order.iter().enumerate() { out[a] = i[k]; } out })
                }
                _ => {
                    if old.len() == 1 || old[axis] == 0 { continue; }
                    let index = amount % old[axis];
                    view = view.index(axis, index).unwrap();
                    shape.remove(axis);
                    Box::new(move |i| { let mut i = i.to_vec(); i.insert(axis, index); i })
                }
            };
            model = indices(&shape).iter().map(|i| at(&model, &old, &source(i))).collect();
            prop_assert_eq!(view.dims(), shape.as_slice());
            prop_assert_eq!(&view.to_vec().unwrap(), &model);
        }
    }
}

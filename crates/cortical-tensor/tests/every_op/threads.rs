//! The same bits on any number of threads and in every repeat, forward and backward.

use crate::pick::Pick;
use crate::subject::{Fill, Subject};
use crate::table::table;
use candle_core::{DType, Tensor, Var};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The bits of the result and of every argument's gradient.
fn bits(subject: &Subject, arguments: &[Tensor]) -> candle_core::Result<Vec<u32>> {
    let vars = (arguments.iter())
        .map(Var::from_tensor)
        .collect::<candle_core::Result<Vec<Var>>>()?;
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = (subject.run)(&mut Pick::sensible(), &tensors)?;
    let mut all = vec![y.to_dtype(DType::F32)?];
    if subject.differentiable {
        let upstream = Fill::Normal.tensor(y.dims(), "upstream", DType::F32);
        let grads = (y * upstream)?.sum_all()?.backward()?;
        all.extend(vars.iter().filter_map(|v| grads.get(v).cloned()));
    }
    let mut bits = Vec::new();
    for tensor in all {
        let values = tensor.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
        bits.extend(values.into_iter().map(f32::to_bits));
    }
    Ok(bits)
}

fn pools() -> Vec<(usize, ThreadPool)> {
    let pool = |threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        (threads, pool.expect("a pool"))
    };
    [1, 2, 4, 8].map(pool).into()
}

#[test]
fn every_operation_gives_the_same_bits() {
    let (pools, mut failures) = (pools(), Vec::new());
    for subject in table() {
        let arguments = subject.arguments(subject.large, DType::F32);
        let run = |pool: &ThreadPool| pool.install(|| bits(&subject, &arguments));
        let first = match run(&pools[0].1) {
            Ok(first) => first,
            Err(e) => {
                failures.push(format!("{}: {e}", subject.name));
                continue;
            }
        };
        // Ten repeats, three on each larger pool: threads take the parts in another order every time.
        for (threads, pool) in pools[1..].iter().cycle().take(9).chain([&pools[0]]) {
            let again = run(pool).expect("what ran once");
            if again != first {
                failures.push(format!("{}: other bits on {threads} threads", subject.name));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

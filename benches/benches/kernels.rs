//! Each family of kernels beside its opponent, timed by criterion: `cargo xtask bench [FILTER]`.

use cortical_bench::families::all;
use cortical_bench::workloads::Size;
use cortical_kernels::alloc::CachingAllocator;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

// As in the workloads: memory that comes back at every step needs no fresh pages.
#[global_allocator]
static ALLOCATOR: CachingAllocator = CachingAllocator::new();

fn kernels(criterion: &mut Criterion) {
    for family in all(Size::Full).expect("inputs can be made") {
        let mut group = criterion.benchmark_group(format!("{}/{}", family.module, family.name));
        group.bench_function("ours", |b| b.iter(|| black_box((family.ours)())));
        group.bench_function(family.opponent, |b| b.iter(|| black_box((family.theirs)())));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = kernels
}
criterion_main!(benches);

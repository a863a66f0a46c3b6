//! What does the log cost: an append, with and without waiting for the disk, and a read of everything?

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use headwater_bench::rides;
use headwater_log::storage::DiskStorage;
use headwater_log::{Broker, Durability, Isolation, Options, Partition, TopicConfig};
use headwater_record::{BatchBuilder, Codec};

/// Rides in a batch: about 4 MiB, the bound of a group commit.
const BATCH: u32 = 10_000;
const READ_BATCHES: u32 = 20;

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for ride in rides(BATCH) {
        builder.push(ride.timestamp, Some(&ride.key), Some(&ride.value), b"");
    }
    builder.finish(Codec::None).expect("a batch of rides is small")
}

fn partition(folder: &tempfile::TempDir, durability: Durability) -> (Broker, Arc<Partition>) {
    let options = Options { durability, ..Options::default() };
    let broker = Broker::open(Arc::new(DiskStorage::new(folder.path())), options).expect("an empty folder opens");
    broker.create_topic("rides", 1, TopicConfig::default()).expect("it is new");
    let partition = broker.partition("rides", 0).expect("it was just made");
    (broker, partition)
}

fn append(criterion: &mut Criterion) {
    let batch = batch();
    let mut group = criterion.benchmark_group("append 10,000 rides");
    group.throughput(Throughput::Elements(u64::from(BATCH))).sample_size(20);
    for (name, durability) in [("os", Durability::Os), ("fsync", Durability::Fsync)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (broker, partition) = partition(&folder, durability);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || batch.clone(),
                |batch| {
                    let appended = partition.append(batch).expect("there is space");
                    partition.wait_durable(appended.next_offset).expect("the disk works");
                },
                BatchSize::PerIteration,
            );
        });
        broker.close().expect("it closes");
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (broker, partition) = partition(&folder, Durability::Os);
    for _ in 0..READ_BATCHES {
        partition.append(batch()).expect("there is space");
    }
    let mut group = criterion.benchmark_group("read 200,000 rides");
    group.throughput(Throughput::Elements(u64::from(BATCH * READ_BATCHES))).sample_size(20);
    group.bench_function("in fetches of 4 MiB, verified", |bencher| {
        bencher.iter(|| {
            let (mut offset, mut records) = (0, 0_usize);
            while offset < partition.next_offset() {
                let fetched = partition.read(offset, 4 << 20, Isolation::Uncommitted).expect("we wrote it");
                for batch in &fetched.batches {
                    records += batch.records().expect("it decodes").iter().count();
                }
                offset = fetched.next_offset;
            }
            black_box(records)
        });
    });
    group.finish();
    broker.close().expect("it closes");
}

criterion_group!(benches, append, read);
criterion_main!(benches);

//! What does a record batch cost: to build, to check, to read, in every codec?

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use headwater_bench::{Ride, rides};
use headwater_record::{Batch, BatchBuilder, Codec};

const RECORDS: u32 = 1_000;
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn build(rides: &[Ride], codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new();
    for ride in rides {
        builder.push(ride.timestamp, Some(&ride.key), Some(&ride.value), b"");
    }
    Bytes::from(builder.finish(codec).expect("a batch of rides is small"))
}

fn encode(criterion: &mut Criterion) {
    let rides = rides(RECORDS);
    let mut group = criterion.benchmark_group("encode 1,000 rides");
    group.throughput(Throughput::Elements(u64::from(RECORDS)));
    for codec in CODECS {
        group.bench_function(codec.name(), |bencher| bencher.iter(|| build(black_box(&rides), codec)));
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let rides = rides(RECORDS);
    let mut group = criterion.benchmark_group("verify and decode 1,000 rides");
    group.throughput(Throughput::Elements(u64::from(RECORDS)));
    for codec in CODECS {
        let bytes = build(&rides, codec);
        group.bench_function(codec.name(), |bencher| {
            bencher.iter_batched(
                || bytes.clone(),
                |bytes| {
                    let (batch, _) = Batch::split(&bytes).expect("we built it");
                    batch.verify().expect("nobody changed it");
                    let records = batch.records().expect("it decodes");
                    records
                        .iter()
                        .filter_map(|record| record.expect("it decodes").value)
                        .map(<[u8]>::len)
                        .sum::<usize>()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, encode, decode);
criterion_main!(benches);

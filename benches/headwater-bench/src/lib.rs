//! Workloads of the Rust benchmarks: rides of about 400 bytes of JSON, keyed by pick-up zone.
//!
//! The numbers come from a fixed linear congruence, so every run measures the same bytes. (The Python benchmarks have rides
//! of their own; figures of the two are never compared.)

/// One ride: key, value and timestamp in milliseconds.
#[derive(Debug, Clone)]
pub struct Ride {
    /// The pick-up zone, in digits.
    pub key: Vec<u8>,
    /// The JSON.
    pub value: Vec<u8>,
    /// Event time.
    pub timestamp: i64,
}

/// `count` rides, 10 ms apart.
#[must_use]
pub fn rides(count: u32) -> Vec<Ride> {
    let mut state: u64 = 1;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..count)
        .map(|number| {
            let (zone, to, cents) = (1 + draw(263), 1 + draw(263), 300 + draw(6000));
            Ride {
                key: zone.to_string().into_bytes(),
                value: json(zone, to, cents).into_bytes(),
                timestamp: 1_700_000_000_000 + i64::from(number) * 10,
            }
        })
        .collect()
}

fn json(zone: u64, to: u64, cents: u64) -> String {
    let (dollars, rest) = (cents / 100, cents % 100);
    format!(
        concat!(
            r#"{{"VendorID":1,"tpep_pickup_datetime":"2023-11-14 22:13:20","tpep_dropoff_datetime":"2023-11-14 22:22:20","#,
            r#""passenger_count":2,"trip_distance":2.75,"RatecodeID":1,"store_and_fwd_flag":"N","PULocationID":{},"#,
            r#""DOLocationID":{},"payment_type":1,"fare_amount":{}.{:02},"extra":0.5,"mta_tax":0.5,"tip_amount":2.2,"#,
            r#""tolls_amount":0.0,"improvement_surcharge":0.3,"total_amount":14.5,"congestion_surcharge":2.5}}"#,
        ),
        zone, to, dollars, rest
    )
}

//! A stand-in, in memory, for headwater-record and headwater-log until they land; then this file goes.
#![allow(missing_docs, clippy::all, clippy::unwrap_used, unreachable_pub, dead_code)]
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use bytes::Bytes;
#[allow(missing_docs)]
#[derive(Debug, Clone)]
pub struct Error { pub kind: &'static str, pub message: String }
impl std::fmt::Display for Error { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.message) } }
pub type Row = (u64, i64, Option<Bytes>, Option<Bytes>, Bytes);
#[allow(missing_docs)]
#[derive(Debug)]
pub struct Partition { rows: Mutex<Vec<Row>> }
#[allow(missing_docs)]
impl Partition {
    pub fn append(&self, rows: Vec<(i64, Option<Bytes>, Option<Bytes>, Bytes)>) -> Result<u64, Error> {
        let mut all = self.rows.lock().unwrap(); let base = all.len() as u64;
        for (i, (t, k, v, h)) in rows.into_iter().enumerate() { all.push((base + i as u64, t, k, v, h)); }
        Ok(base)
    }
    pub fn high_watermark(&self) -> u64 { self.rows.lock().unwrap().len() as u64 }
    pub fn read(&self, offset: u64, max: usize) -> Result<Vec<Row>, Error> {
        let all = self.rows.lock().unwrap();
        if offset > all.len() as u64 { return Err(Error { kind: "range", message: format!("expected an offset of 0 to {}, got {offset}", all.len()) }); }
        let mut size = 0;
        Ok(all[offset as usize..].iter().take_while(|r| { size += r.3.as_ref().map_or(0, Bytes::len) + 20; size < max }).cloned().collect())
    }
}
#[allow(missing_docs)]
#[derive(Debug)]
pub struct Topic { pub name: String, pub config: BTreeMap<String, String>, pub partitions: Vec<Arc<Partition>> }
#[allow(missing_docs, clippy::type_complexity)]
#[derive(Debug, Default)]
pub struct Broker { topics: Mutex<BTreeMap<String, Arc<Topic>>>, offsets: Mutex<BTreeMap<String, BTreeMap<(String, u32), (u64, String)>>> }
#[allow(missing_docs, clippy::type_complexity)]
impl Broker {
    pub fn create_topic(&self, name: &str, n: u32, config: BTreeMap<String, String>) -> Result<(), Error> {
        let mut t = self.topics.lock().unwrap();
        if t.contains_key(name) { return Err(Error { kind: "invalid", message: format!("expected a new topic, got {name:?} - which exists; delete it or choose another name") }); }
        t.insert(name.into(), Arc::new(Topic { name: name.into(), config, partitions: (0..n).map(|_| Arc::new(Partition { rows: Mutex::default() })).collect() }));
        Ok(())
    }
    pub fn set_config(&self, name: &str, config: BTreeMap<String, String>) -> Result<(), Error> {
        let old = self.topic(name)?;
        self.topics.lock().unwrap().insert(name.into(), Arc::new(Topic { name: name.into(), config, partitions: old.partitions.clone() }));
        Ok(())
    }
    pub fn delete_topic(&self, name: &str) -> Result<(), Error> { self.topic(name)?; self.topics.lock().unwrap().remove(name); Ok(()) }
    pub fn topics(&self) -> Vec<Arc<Topic>> { self.topics.lock().unwrap().values().cloned().collect() }
    pub fn topic(&self, name: &str) -> Result<Arc<Topic>, Error> {
        self.topics.lock().unwrap().get(name).cloned().ok_or_else(|| Error { kind: "topic", message: format!("expected an existing topic, got {name:?}; create it or fix the name") })
    }
    pub fn commit(&self, group: &str, entries: Vec<(String, u32, u64, String)>) {
        let mut o = self.offsets.lock().unwrap(); let g = o.entry(group.into()).or_default();
        for (t, p, offset, m) in entries { g.insert((t, p), (offset, m)); }
    }
    pub fn fetch(&self, group: &str) -> Vec<(String, u32, u64, String)> {
        self.offsets.lock().unwrap().get(group).map(|g| g.iter().map(|((t, p), (o, m))| (t.clone(), *p, *o, m.clone())).collect()).unwrap_or_default()
    }
    pub fn groups(&self) -> Vec<String> { self.offsets.lock().unwrap().keys().cloned().collect() }
    pub fn delete_group(&self, g: &str) { self.offsets.lock().unwrap().remove(g); }
}
/// codec
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Codec { None, Gzip, Snappy, Lz4, Zstd }
type Pushed = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>);
/// builder
#[derive(Default, Debug)]
pub struct BatchBuilder { rows: Vec<Pushed>, size: usize }
impl BatchBuilder {
    /// new
    pub fn new() -> Self { Self::default() }
    /// push
    pub fn push(&mut self, ts: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[u8]) {
        self.size += 16 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.len();
        self.rows.push((ts, key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec), headers.to_vec()));
    }
    /// size
    pub fn size_bytes(&self) -> usize { self.size }
    /// count
    pub fn len(&self) -> usize { self.rows.len() }
    /// e
    pub fn is_empty(&self) -> bool { self.rows.is_empty() }
    /// take
    pub fn rows(self) -> Vec<(i64, Option<Bytes>, Option<Bytes>, Bytes)> {
        self.rows.into_iter().map(|(t, k, v, h)| (t, k.map(Into::into), v.map(Into::into), h.into())).collect()
    }
}

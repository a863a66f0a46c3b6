//! A disk that stalls: whoever needs it waits, everybody else goes on, and nothing is written twice.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "support/workload.rs"]
mod workload;

use std::io;
use std::sync::{Arc, Condvar, Mutex};

use headwater_log::storage::{File, Lock, MemoryStorage, Storage};
use headwater_record::Codec;

/// How many syncs wait now, and whether they must.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |(_, is_closed)| *is_closed).unwrap();
        state.0 -= 1;
    }

    fn set(&self, is_closed: bool) {
        self.state.lock().unwrap().1 = is_closed;
        self.changed.notify_all();
    }

    fn wait_for_someone(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |(waiting, _)| *waiting == 0).unwrap());
    }
}

/// A directory in which syncs of the files of partition `t-0` pass a gate.
#[derive(Debug, Default)]
struct Stalling(MemoryStorage, Arc<Gate>);

#[derive(Debug)]
struct StallingFile(Arc<dyn File>, Option<Arc<Gate>>);

impl Storage for Stalling {
    fn describe(&self, path: &str) -> String {
        self.0.describe(path)
    }
    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.0.create_folder(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.0.list(path)
    }
    fn open(&self, path: &str, create: bool) -> io::Result<Arc<dyn File>> {
        let gate = path.starts_with("t-0/").then(|| Arc::clone(&self.1));
        Ok(Arc::new(StallingFile(self.0.open(path, create)?, gate)))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove_file(&self, path: &str) -> io::Result<()> {
        self.0.remove_file(path)
    }
    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.0.remove_folder(path)
    }
    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.0.sync_folder(path)
    }
    fn lock(&self, path: &str) -> io::Result<Result<Lock, String>> {
        self.0.lock(path)
    }
}

impl File for StallingFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_at(bytes, position)
    }
    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn sync(&self) -> io::Result<()> {
        self.1.iter().for_each(|gate| gate.pass());
        self.0.sync()
    }
}

#[test]
fn h9_while_a_sync_stalls_others_go_on_and_nothing_is_acknowledged_or_written_twice() {
    let storage = Arc::new(Stalling::default());
    let broker = workload::open(&storage).unwrap();
    let topic = broker.create_topic("t", 2, workload::settings(&[])).unwrap();
    let [stalled, other] = &topic.partitions[..] else { unreachable!() };
    let before = stalled.append(workload::batch(0, 3, Codec::None)).unwrap();
    stalled.wait_durable(before.next_offset).unwrap();
    storage.1.set(true);
    std::thread::scope(|scope| {
        let appended = stalled.append(workload::batch(3, 3, Codec::None)).unwrap();
        let waiting = scope.spawn(move || stalled.wait_durable(appended.next_offset));
        storage.1.wait_for_someone();
        // Readers of the partition see what was durable; others append, are acknowledged and commit.
        assert_eq!(workload::read_all(stalled).len(), 3);
        let appended = other.append(workload::batch(0, 2, Codec::None)).unwrap();
        other.wait_durable(appended.next_offset).unwrap();
        assert_eq!(workload::read_all(other).len(), 2);
        broker.commit_offsets("g", &[("t".into(), 0, 3, String::new())]).unwrap();
        // And what is appended behind the stall waits with it.
        let behind = stalled.append(workload::batch(6, 2, Codec::None)).unwrap();
        assert!(!waiting.is_finished() && stalled.high_watermark() == 3);
        storage.1.set(false);
        waiting.join().unwrap().unwrap();
        stalled.wait_durable(behind.next_offset).unwrap();
    });
    let records = workload::read_all(stalled);
    let expected: Vec<_> = (0..8).map(|number| workload::value(number).into_bytes()).collect();
    assert_eq!(records, expected, "each of them once");
    broker.close().unwrap();
}

//! Which topics a directory has: what `headwater.json` says, and folders of partitions that something else put there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::offsets::OFFSETS_TOPIC;
use crate::sealed::{self, Broken};
use crate::segment::base_of;
use crate::storage::{Storage, read_all, replace};
use crate::{Error, Result, TopicConfig};

pub(crate) const TOPICS: &str = "headwater.json";
/// What this version writes and understands.
const FORMAT: u64 = 1;

/// Name, partition count and settings of a topic.
pub(crate) type Described = (String, u32, TopicConfig);

/// Name, partition count and settings of every topic; None if the directory is new.
pub(crate) fn read_topics(storage: &dyn Storage) -> Result<Option<Vec<Described>>> {
    let path = storage.describe(TOPICS);
    let bytes = match storage.open(TOPICS, false).and_then(|file| read_all(&*file)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(Error::io("read", path.clone()))?,
    };
    let unreadable = |message: String| Error::Unreadable { path: path.clone(), message };
    let topics = sealed::unseal(FORMAT, &bytes).map_err(|broken| {
        unreadable(match broken {
            Broken::Format(found) => format!(
                "expected a directory of format {FORMAT}, got {found} - at {path}; use a newer headwater, nothing was changed"
            ),
            Broken::Damaged(what) => {
                format!("expected the list of topics as it was written, got {what} - at {path}; restore the file")
            }
        })
    })?;
    let topic = |(name, value): (&String, &Value)| -> Result<Described> {
        let broken =
            || unreadable(format!("expected partitions and settings of topic '{name}' - at {path}; restore the file"));
        let partitions = value.get("partitions").and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok());
        let settings = value.get("config").and_then(Value::as_object).ok_or_else(broken)?;
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let settings = settings.iter().map(text).collect::<Option<_>>().ok_or_else(broken)?;
        Ok((name.clone(), partitions.filter(|count| *count > 0).ok_or_else(broken)?, TopicConfig::stored(settings)))
    };
    topics.as_object().map(|topics| topics.iter().map(topic).collect()).transpose()
}

/// Tells one list of topics from another; None without one.
pub(crate) fn fingerprint(storage: &dyn Storage) -> Option<u32> {
    storage.open(TOPICS, false).and_then(|file| read_all(&*file)).ok().map(|bytes| crc32c::crc32c(&bytes))
}

/// Whether a folder was made by headwater (an interrupted creation or deletion), or holds no segment at all.
pub(crate) fn is_leftover(storage: &dyn Storage, folder: &str) -> bool {
    let Ok(names) = storage.list(folder) else { return false };
    names.iter().any(|name| name == crate::checkpoint::NAME) || !names.iter().any(|name| is_segment(name))
}

/// Removes a partition's folder: its segments first, durably, for with segments and without a checkpoint it would pass for
/// somebody else's after a crash.
pub(crate) fn remove_partition(storage: &dyn Storage, folder: &str) -> Result<()> {
    let path = storage.describe(folder);
    let removed = storage.list(folder).and_then(|names| {
        let segments = names.iter().filter(|name| is_segment(name));
        segments.map(|name| format!("{folder}/{name}")).try_for_each(|path| storage.remove_file(&path))?;
        storage.sync_folder(folder)?;
        storage.remove_folder(folder)
    });
    removed.map_err(Error::io("remove a folder", path))
}

/// The topic and the number that the name of a partition's folder says.
pub(crate) fn of_folder(name: &str) -> Option<(&str, u32)> {
    let (topic, digits) = name.rsplit_once('-')?;
    let number: u32 = digits.parse().ok()?;
    (!topic.is_empty() && number.to_string() == digits).then_some((topic, number)) // "+0" and "00" are numbers, too
}

pub(crate) fn is_segment(name: &str) -> bool {
    base_of(name, ".log").is_some()
}

/// Folders of partitions that something else made, as topics; partitions between them that are missing are made.
pub(crate) fn find_foreign(
    storage: &dyn Storage,
    known: &[Described],
    is_writable: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Described>> {
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let names = match storage.list("") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(Error::io("list a folder", storage.describe("")))?,
    };
    for folder in names {
        let Some((topic, number)) = of_folder(&folder) else { continue };
        let is_known = known.iter().any(|(name, _, _)| name == topic);
        let Ok(files) = storage.list(&folder) else { continue };
        if is_known || is_leftover(storage, &folder) || !files.iter().any(|name| is_segment(name)) {
            continue;
        }
        found.entry(topic.to_owned()).or_default().push(number);
    }
    let mut adopted = Vec::new();
    for (topic, numbers) in found {
        let count = numbers.iter().max().map_or(0, |last| last.saturating_add(1));
        if count as usize != numbers.len() {
            warnings.push(format!(
                "topic '{topic}': expected folders of partitions 0 to {}, got {} of them - at {}; the topic is left alone",
                count - 1,
                numbers.len(),
                storage.describe("")
            ));
            continue;
        }
        let action = if is_writable { "it is a topic from now on" } else { "it is read as a topic" };
        warnings.push(format!("topic '{topic}': {count} partition(s) that something else wrote; {action}"));
        let settings = match topic.as_str() {
            OFFSETS_TOPIC => BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
            _ => BTreeMap::new(),
        };
        adopted.push((topic, count, TopicConfig::stored(settings)));
    }
    Ok(adopted)
}

/// Replaces the list of topics.
pub(crate) fn write(storage: &dyn Storage, topics: &Value) -> Result<()> {
    replace(storage, "", TOPICS, &sealed::seal(FORMAT, topics)).map_err(Error::io("write", storage.describe(TOPICS)))
}

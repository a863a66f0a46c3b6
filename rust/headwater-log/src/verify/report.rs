//! What a verification says: how much was read, and what is wrong where.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something that is there and need not be; the next open or nobody minds.
    Note,
    /// Something derived or redundant is wrong: no record is lost, and headwater finds its way around it.
    Warning,
    /// Records are lost or cannot be read.
    Error,
}

impl Severity {
    /// In lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The topic, if it is one's.
    pub topic: Option<String>,
    /// The partition, if it is one's.
    pub partition: Option<u32>,
    /// The first offset that it is about.
    pub offset: Option<u64>,
    /// The file or folder.
    pub path: String,
    /// Where in the file.
    pub position: Option<u64>,
    /// Expected what, got what.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl Finding {
    pub(super) fn of_file(severity: Severity, path: String, what: String, advice: &str) -> Self {
        let advice = advice.to_owned();
        Self { severity, topic: None, partition: None, offset: None, path, position: None, what, advice }
    }

    pub(super) fn at(mut self, offset: u64, position: u64) -> Self {
        (self.offset, self.position) = (Some(offset), Some(position));
        self
    }

    pub(super) fn at_offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// What findings are sorted by: their place.
    pub(super) fn order(&self) -> (&Option<String>, Option<u32>, &str, Option<u64>) {
        (&self.topic, self.partition, &self.path, self.position)
    }
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Topics.
    pub topics: u64,
    /// Partitions.
    pub partitions: u64,
    /// Segments.
    pub segments: u64,
    /// Batches that are good.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of all segments.
    pub bytes: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In order of their places.
    pub findings: Vec<Finding>,
    /// How much was read.
    pub totals: Totals,
}

impl Report {
    /// Whether nothing is wrong; notes do not count.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        let (sum, more) = (&mut self.totals, other.totals);
        sum.topics += more.topics;
        sum.partitions += more.partitions;
        sum.segments += more.segments;
        sum.batches += more.batches;
        sum.records += more.records;
        sum.bytes += more.bytes;
    }
}

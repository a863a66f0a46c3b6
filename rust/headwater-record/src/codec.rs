//! The codecs of a batch's records: gzip, snappy, lz4 frames and zstd, each with a bound on what comes out.
//!
//! Snappy is written in the framing of snappy-java, which Java clients expect, and read in it or raw (librdkafka).

use std::io::{Read, Write};

use crate::{Error, Result};

/// What a batch may decompress to, at most, unless a caller says otherwise.
pub const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;

const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_BLOCK: usize = 32 << 10;
/// The largest window that a zstd frame may ask us to allocate: that of the highest level any client can choose.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy, framed as snappy-java does.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Codec {
    /// From the lowest three bits of a batch's attributes.
    pub fn from_attributes(attributes: i16) -> Result<Self> {
        match attributes & 0x07 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(Error::NotABatch { what: format!("codec {other}") }),
        }
    }

    /// Its number in the attributes.
    #[must_use]
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Its name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// From its name in settings.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd].into_iter().find(|codec| codec.name() == name)
    }

    /// Appends the compressed form of `data` to `out`.
    pub(crate) fn compress(self, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let refused = |what: String| Error::Compression { codec: self.name(), limit: data.len(), what };
        match self {
            Self::None => out.extend_from_slice(data),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder
                    .write_all(data)
                    .and_then(|()| encoder.finish().map(drop))
                    .map_err(|e| refused(e.to_string()))?;
            }
            Self::Snappy => {
                out.extend_from_slice(XERIAL_MAGIC);
                out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
                let mut encoder = snap::raw::Encoder::new();
                for block in data.chunks(XERIAL_BLOCK) {
                    let packed = encoder.compress_vec(block).map_err(|e| refused(e.to_string()))?;
                    out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
                    out.extend_from_slice(&packed);
                }
            }
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(out);
                encoder.write_all(data).map_err(|e| refused(e.to_string()))?;
                encoder.finish().map_err(|e| refused(e.to_string()))?;
            }
            Self::Zstd => zstd::stream::copy_encode(data, out, 0).map_err(|e| refused(e.to_string()))?,
        }
        Ok(())
    }

    /// Decompresses to at most `limit` bytes.
    pub(crate) fn decompress(self, data: &[u8], limit: usize) -> Result<Vec<u8>> {
        let refused = |what: String| Error::Compression { codec: self.name(), limit, what };
        match self {
            Self::None => Ok(data.to_vec()),
            Self::Gzip => bounded(flate2::read::MultiGzDecoder::new(data), limit).map_err(refused),
            Self::Lz4 => bounded(lz4_flex::frame::FrameDecoder::new(data), limit).map_err(refused),
            Self::Zstd => zstd::stream::read::Decoder::new(data)
                .and_then(|mut decoder| decoder.window_log_max(ZSTD_WINDOW_LOG).map(|()| decoder))
                .map_err(|error| error.to_string())
                .and_then(|decoder| bounded(decoder, limit))
                .map_err(refused),
            Self::Snappy => snappy(data, limit).map_err(refused),
        }
    }
}

/// Reads to the end, or to one byte beyond the limit, which is an error.
fn bounded(reader: impl Read, limit: usize) -> std::result::Result<Vec<u8>, String> {
    let mut out = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut out).map_err(|error| error.to_string())?;
    if out.len() > limit { Err("more".into()) } else { Ok(out) }
}

fn snappy(data: &[u8], limit: usize) -> std::result::Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let Some(framed) = data.strip_prefix(XERIAL_MAGIC) else {
        unpack(data, limit, &mut out)?;
        return Ok(out);
    };
    let mut rest = framed.get(8..).ok_or("a torn header")?;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (block, tail) = tail.split_at_checked(length).ok_or("a torn block")?;
        unpack(block, limit, &mut out)?;
        rest = tail;
    }
    if rest.is_empty() { Ok(out) } else { Err("a torn block".into()) }
}

fn unpack(block: &[u8], limit: usize, out: &mut Vec<u8>) -> std::result::Result<(), String> {
    let length = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
    if length > limit.saturating_sub(out.len()) {
        return Err("more".into());
    }
    // No element of the format expands its bytes more than 64 times: a larger claim is a lie, not to be allocated for.
    if length > block.len().saturating_mul(64) {
        return Err("a length that the data cannot have".into());
    }
    let start = out.len();
    out.resize(start + length, 0);
    let unpacked = snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|error| error.to_string())?;
    out.truncate(start + unpacked);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_is_bounded() {
        let data = vec![7_u8; 1 << 20];
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut packed = Vec::new();
            codec.compress(&data, &mut packed).unwrap();
            assert_eq!(codec.decompress(&packed, 1 << 20).unwrap(), data);
            assert!(matches!(codec.decompress(&packed, (1 << 20) - 1), Err(Error::Compression { .. })), "{codec:?}");
            assert!(codec.decompress(&packed[..packed.len() / 2], 1 << 21).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn a_length_that_snappy_cannot_have_is_not_allocated_for() {
        // 2^28 - 1 bytes, claimed by five.
        let refused = Codec::Snappy.decompress(&[0xff, 0xff, 0xff, 0x7f, 0], MAX_DECOMPRESSED_BYTES).unwrap_err();
        assert!(refused.to_string().contains("cannot have"), "{refused}");
    }

    #[test]
    fn raw_snappy_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        assert_eq!(Codec::Snappy.decompress(&packed, 100).unwrap(), b"hello hello hello");
    }
}

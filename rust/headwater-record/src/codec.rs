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
            Self::Lz4 => {
                let mut rest = data;
                let out = bounded(lz4_flex::frame::FrameDecoder::new(&mut rest), limit).map_err(refused)?;
                // Its decoder is content with the first frame.
                if rest.is_empty() { Ok(out) } else { Err(refused("something behind the frame".into())) }
            }
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

    const CODECS: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn packed(codec: Codec, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        codec.compress(data, &mut out).unwrap();
        out
    }

    /// The most memory that this process has had, in bytes.
    #[cfg(target_os = "linux")]
    fn peak_bytes() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a12_a_bomb_is_unpacked_to_the_limit_and_no_further() {
        let limit = 1 << 20;
        // One after the other, members and frames are one stream: a gibibyte in less than two megabytes.
        let mebibyte = vec![0_u8; 1 << 20];
        let mut snappy = packed(Codec::Snappy, &mebibyte);
        let blocks = snappy.split_off(16);
        let bombs = [
            (Codec::Gzip, packed(Codec::Gzip, &mebibyte).repeat(1024)),
            (Codec::Zstd, packed(Codec::Zstd, &mebibyte).repeat(1024)),
            (Codec::Lz4, packed(Codec::Lz4, &vec![0_u8; 128 << 20])),
            (Codec::Snappy, [snappy, blocks.repeat(128)].concat()),
        ];
        let before = peak_bytes();
        for (codec, bomb) in &bombs {
            let refused = codec.decompress(bomb, limit).unwrap_err();
            assert!(matches!(refused, Error::Compression { .. }), "{codec:?}: {refused}");
        }
        let grown = peak_bytes() - before;
        assert!(grown < 32 << 20, "{grown} bytes for a limit of {limit}");
    }

    #[test]
    fn a12_a_size_that_is_only_claimed_is_not_allocated_for() {
        let frame = |descriptor: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd], descriptor, &[1, 0, 0]].concat();
        let claims_4_gib = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        let framed = [XERIAL_MAGIC.as_slice(), &[0, 0, 0, 1, 0, 0, 0, 1], &[0, 0, 0, 6], &claims_4_gib].concat();
        for (codec, lie, what) in [
            (Codec::Zstd, frame(&[0x00, 21 << 3]), "a window of 2 GiB"),
            (Codec::Zstd, frame(&[0xe0, 0, 0, 0, 0, 1, 0, 0, 0]), "one segment of 4 GiB"),
            (Codec::Snappy, claims_4_gib.to_vec(), "a block of 4 GiB"),
            (Codec::Snappy, framed, "a block of 4 GiB in a frame"),
        ] {
            let refused = codec.decompress(&lie, MAX_DECOMPRESSED_BYTES);
            assert!(matches!(refused, Err(Error::Compression { .. })), "{what}: {refused:?}");
        }
    }

    #[test]
    fn a12_an_lz4_frame_whose_content_has_another_size_is_refused() {
        let frame = |bytes: usize| {
            let info = lz4_flex::frame::FrameInfo::new().content_size(Some(bytes as u64));
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&vec![7; bytes]).unwrap();
            encoder.finish().unwrap()
        };
        let header = 4 + 2 + 8 + 1;
        let lie = [&frame(2000)[..header], &frame(1000)[header..]].concat();
        assert!(Codec::Lz4.decompress(&frame(2000), 4096).is_ok());
        assert!(matches!(Codec::Lz4.decompress(&lie, 4096), Err(Error::Compression { .. })));
    }

    #[test]
    fn a13_a_codec_that_nobody_knows_is_refused_by_its_number() {
        for number in 5..8 {
            let refused = Codec::from_attributes(number).unwrap_err();
            assert!(refused.to_string().contains(&format!("codec {number}")), "{refused}");
        }
    }

    #[test]
    fn a13_what_is_torn_gives_nothing_new_and_what_has_something_behind_it_is_refused() {
        let data: Vec<u8> = (0..4000_u32).flat_map(u32::to_le_bytes).collect();
        for codec in CODECS {
            let whole = packed(codec, &data);
            for end in 0..whole.len() {
                // At a block's end some codecs cannot tell; the batch then misses records that its header has counted.
                let found = codec.decompress(&whole[..end], 1 << 20);
                assert!(found.is_err() || data.starts_with(found.as_ref().unwrap()), "{codec:?} cut at {end}");
            }
            let found = codec.decompress(&[&whole[..], b"trailing"].concat(), 1 << 20);
            assert!(found.is_err(), "{codec:?} with something behind it");
        }
    }

    #[test]
    fn raw_snappy_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        assert_eq!(Codec::Snappy.decompress(&packed, 100).unwrap(), b"hello hello hello");
    }
}

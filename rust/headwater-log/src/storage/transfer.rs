//! Reads and writes that a system call does in part, or not yet, are taken up where it stopped.
//!
//! An interrupted call is made again; one that would block (a regular file never says so, a file system behind a network may)
//! is made again a limited number of times, and then it is an error; so is a write that makes no progress.

use std::io;

/// Calls in a row that may say that they would block.
const BLOCKED_MAX: u32 = 1_000;

/// Reads at a position until the buffer is full or the file ends; returns how much.
pub(super) fn read_full(
    buffer: &mut [u8],
    position: u64,
    mut call: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match again(|| call(&mut buffer[read..], position + read as u64))? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}

/// Writes all bytes at a position.
pub(super) fn write_full(
    bytes: &[u8],
    position: u64,
    mut call: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match again(|| call(&bytes[written..], position + written as u64))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => written += count,
        }
    }
    Ok(())
}

fn again(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let mut blocked = 0;
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && blocked < BLOCKED_MAX => {
                blocked += 1;
                std::thread::yield_now();
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c21_a_call_that_never_gets_on_is_an_error() {
        let blocked = write_full(b"x", 0, |_, _| Err(io::ErrorKind::WouldBlock.into())).unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(write_full(b"x", 0, |_, _| Ok(0)).unwrap_err().kind(), io::ErrorKind::WriteZero);
        let blocked = read_full(&mut [0], 0, |_, _| Err(io::ErrorKind::WouldBlock.into())).unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(read_full(&mut [0; 2], 0, |_, at| Ok(usize::from(at == 0))).unwrap(), 1, "the file ends");
    }
}

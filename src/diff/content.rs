//! The bytes of files: whether two hold the same, and a fingerprint to find
//! those that might. Holes cost nothing (`lseek(2)`, `SEEK_DATA`).

use std::{
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::unix::fs::FileExt,
};

use nix::{
    errno::Errno,
    unistd::{Whence, lseek},
};

/// Bytes that are read at once.
const BLOCK: usize = 1 << 17;
/// Bytes of zeros that leave no trace in a fingerprint, written or not.
const PAGE: usize = 4096;

/// Whether two files of this size hold the same bytes.
pub fn is_same(a: &File, b: &File, size: u64) -> io::Result<bool> {
    let (mut from_a, mut from_b) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut at = 0;
    while at < size {
        let (data_a, data_b) = (data_from(a, at, size)?, data_from(b, at, size)?);
        let data = if data_a.start <= data_b.start { data_a } else { data_b };
        at = data.start;
        while at < data.end {
            let length = BLOCK.min(usize::try_from(data.end - at).unwrap_or(BLOCK));
            let (a_here, b_here) = (&mut from_a[..length], &mut from_b[..length]);
            // Who is cut short meanwhile is different.
            if read_all(a, a_here, at)? != length || read_all(b, b_here, at)? != length {
                return Ok(false);
            }
            if a_here != b_here {
                return Ok(false);
            }
            at += length as u64;
        }
    }
    Ok(true)
}

/// A number that files with the same bytes share. The key is this process's
/// own, so that nobody can make two files that collide.
pub fn fingerprint(file: &File, size: u64, key: &RandomState) -> io::Result<u64> {
    let mut hasher = key.build_hasher();
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while at < size {
        let data = data_from(file, at, size)?;
        // Pages are counted from the start, wherever the data begins.
        at = data.start - data.start % PAGE as u64;
        while at < data.end {
            let length = read_all(file, &mut block, at)?;
            if length == 0 {
                break;
            }
            for (index, page) in block[..length].chunks(PAGE).enumerate() {
                if page.iter().any(|&byte| byte != 0) {
                    hasher.write_u64(at + (index * PAGE) as u64);
                    hasher.write(page);
                }
            }
            at += length as u64;
        }
        at = at.max(data.end);
    }
    Ok(hasher.finish())
}

/// The next bytes that are not in a hole, or the end.
fn data_from(file: &File, at: u64, size: u64) -> io::Result<std::ops::Range<u64>> {
    let seek = |whence, from: u64| {
        lseek(file, i64::try_from(from).unwrap_or(i64::MAX), whence).map(i64::unsigned_abs)
    };
    let start = match seek(Whence::SeekData, at) {
        Ok(start) => start.min(size),
        Err(Errno::ENXIO) => return Ok(size..size),
        // A filesystem that does not know its holes has none.
        Err(Errno::EINVAL) => return Ok(at..size),
        Err(errno) => return Err(errno.into()),
    };
    // Data that is gone again, at the same moment, is read as the zeros it is now.
    let end = seek(Whence::SeekHole, start).unwrap_or(size).clamp(start, size);
    Ok(start..end.max((start + 1).min(size)))
}

/// Fills the block as far as the file goes.
fn read_all(file: &File, block: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

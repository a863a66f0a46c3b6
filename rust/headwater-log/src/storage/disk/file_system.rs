//! What a file system makes of our promises: some keep nothing, some sync or lock as somebody else pleases.

use std::io;
use std::path::Path;

use crate::storage::Footing;

/// What stands below a directory.
#[cfg(target_os = "linux")]
pub(super) fn footing(root: &Path) -> io::Result<Footing> {
    use std::os::unix::fs::MetadataExt;
    // The type of that field differs between architectures; the numbers themselves have 32 bits.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "see above")]
    let magic = rustix::fs::statfs(root)?.f_type as u64 & 0xffff_ffff;
    let device = std::fs::metadata(root)?.dev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    // Where nothing can be read of mounts, nothing is known of their options.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Ok(judge(magic, mount_options(&mounts, &device)))
}

/// Nothing is known of other systems' file systems.
#[cfg(not(target_os = "linux"))]
pub(super) fn footing(_root: &Path) -> io::Result<Footing> {
    Ok(Footing::Firm)
}

/// The options of the mount of a device `major:minor`: the last field of its line in Linux's list of mounts.
fn mount_options<'a>(mounts: &'a str, device: &str) -> &'a str {
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(device));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default()
}

/// Judges a file system by its number in `statfs`, and the options that it is mounted with.
fn judge(magic: u64, options: &str) -> Footing {
    const MEMORY: &str = "it lies in memory: an acknowledgement does not outlive the machine, nor a loss of power";
    const REMOTE: &str = "what a sync has confirmed, and who holds the lock, is up to the server; it is not supported";
    let has = |option: &str| options.split(',').any(|other| other == option);
    let (name, what) = match magic {
        0x6969 if ["nolock", "local_lock=all", "local_lock=flock"].into_iter().any(has) => {
            let what = "it is mounted without locks, so that two processes could write at once";
            return Footing::Refused { name: "NFS", what };
        }
        0x6969 => ("NFS", REMOTE),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => ("SMB", REMOTE),
        0x0102_1997 => ("9p", REMOTE),
        0x6573_5546 => ("FUSE", "what a sync has confirmed, and who holds the lock, is up to the program behind it"),
        0x0102_1994 => ("tmpfs", MEMORY),
        0x8584_58f6 => ("ramfs", MEMORY),
        0x794c_7630 if has("volatile") => ("overlay", "it is mounted as volatile: a sync does nothing"),
        0x794c_7630 => ("overlay", "it goes with its container; a volume would stay"),
        _ => return Footing::Firm,
    };
    Footing::Weak { name, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c24_every_file_system_is_judged_by_its_number() {
        let name = |magic, options| match judge(magic, options) {
            Footing::Firm => "firm".to_owned(),
            Footing::Weak { name, .. } => name.to_owned(),
            Footing::Refused { name, .. } => format!("{name} refused"),
        };
        let weak = [
            (0x6969, "NFS"),
            (0xff53_4d42, "SMB"),
            (0xfe53_4d42, "SMB"),
            (0x517b, "SMB"),
            (0x0102_1997, "9p"),
            (0x6573_5546, "FUSE"),
            (0x0102_1994, "tmpfs"),
            (0x8584_58f6, "ramfs"),
            (0x794c_7630, "overlay"),
        ];
        for (magic, expected) in weak {
            assert_eq!(name(magic, "rw,vers=4.2,local_lock=none"), expected);
        }
        // ext4, xfs, btrfs, zfs, f2fs, and whatever comes after them.
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0xf2f5_2010, 0, 1] {
            assert_eq!(name(magic, "rw,nolock,volatile"), "firm");
        }
        for options in ["rw,nolock", "nolock,rw", "rw,local_lock=all", "vers=3,local_lock=flock,addr=1"] {
            assert_eq!(name(0x6969, options), "NFS refused", "{options}");
        }
        assert_eq!(name(0x6969, "rw,local_lock=posix"), "NFS", "we use flock");
        assert_ne!(judge(0x794c_7630, "rw,volatile"), judge(0x794c_7630, "rw"));
    }

    #[test]
    fn c24_options_are_those_of_the_device() {
        let mounts = "23 29 0:22 / /proc rw,nosuid - proc proc rw\n\
                      41 29 0:54 / /mnt/my\\040data rw,relatime shared:1 master:2 - nfs4 host:/data rw,vers=4.2,nolock\n\
                      29 1 8:1 / / rw - ext4 /dev/sda1 rw,errors=remount-ro\n";
        assert_eq!(mount_options(mounts, "0:54"), "rw,vers=4.2,nolock");
        assert_eq!(mount_options(mounts, "8:1"), "rw,errors=remount-ro");
        assert_eq!(mount_options(mounts, "0:5"), "");
    }
}

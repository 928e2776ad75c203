//! The numbers of WASI preview 1: error codes, rights, flags, and where the fields of its structures
//! stand in guest memory. Each is stated here once; the functions use the names.
//!
//! Source: the `wasi_snapshot_preview1` interface description (witx). All structures are little-endian
//! and naturally aligned, so an offset here is the one that C compilers use in the guest.

use std::fmt;
use std::io;

use crate::sys;

macro_rules! errnos {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        /// An error code of WASI preview 1, as guests see it. `SUCCESS` is not one: a function that
        /// succeeds returns `Ok`.
        ///
        /// ```
        /// use wardian_wasi::Errno;
        ///
        /// assert_eq!(Errno::BADF.code(), 8);
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct Errno(u16);

        impl Errno {
            $(
                #[doc = $text]
                pub const $name: Errno = Errno($code);
            )*

            /// The name and the meaning.
            fn describe(self) -> (&'static str, &'static str) {
                match self.0 {
                    $($code => (stringify!($name), $text),)*
                    _ => unreachable!("the field is private and only the constants above exist"),
                }
            }
        }
    };
}

errnos! {
    TOOBIG = 1, "argument list too long";
    ACCES = 2, "permission denied";
    ADDRINUSE = 3, "address in use";
    ADDRNOTAVAIL = 4, "address not available";
    AFNOSUPPORT = 5, "address family not supported";
    AGAIN = 6, "resource unavailable, or operation would block";
    ALREADY = 7, "connection already in progress";
    BADF = 8, "bad file descriptor";
    BADMSG = 9, "bad message";
    BUSY = 10, "device or resource busy";
    CANCELED = 11, "operation cancelled";
    CHILD = 12, "no child processes";
    CONNABORTED = 13, "connection aborted";
    CONNREFUSED = 14, "connection refused";
    CONNRESET = 15, "connection reset";
    DEADLK = 16, "resource deadlock would occur";
    DESTADDRREQ = 17, "destination address required";
    DOM = 18, "argument out of domain of function";
    DQUOT = 19, "disk quota exceeded";
    EXIST = 20, "file exists";
    FAULT = 21, "bad address";
    FBIG = 22, "file too large";
    HOSTUNREACH = 23, "host is unreachable";
    IDRM = 24, "identifier removed";
    ILSEQ = 25, "illegal byte sequence";
    INPROGRESS = 26, "operation in progress";
    INTR = 27, "interrupted function";
    INVAL = 28, "invalid argument";
    IO = 29, "input or output error";
    ISCONN = 30, "socket is connected";
    ISDIR = 31, "is a directory";
    LOOP = 32, "too many levels of symbolic links";
    MFILE = 33, "too many open files";
    MLINK = 34, "too many links";
    MSGSIZE = 35, "message too large";
    MULTIHOP = 36, "multihop attempted";
    NAMETOOLONG = 37, "file name too long";
    NETDOWN = 38, "network is down";
    NETRESET = 39, "connection aborted by network";
    NETUNREACH = 40, "network unreachable";
    NFILE = 41, "too many files open in system";
    NOBUFS = 42, "no buffer space available";
    NODEV = 43, "no such device";
    NOENT = 44, "no such file or directory";
    NOEXEC = 45, "executable file format error";
    NOLCK = 46, "no locks available";
    NOLINK = 47, "link has been severed";
    NOMEM = 48, "not enough space";
    NOMSG = 49, "no message of the desired type";
    NOPROTOOPT = 50, "protocol not available";
    NOSPC = 51, "no space left on device";
    NOSYS = 52, "function not supported";
    NOTCONN = 53, "the socket is not connected";
    NOTDIR = 54, "not a directory";
    NOTEMPTY = 55, "directory not empty";
    NOTRECOVERABLE = 56, "state not recoverable";
    NOTSOCK = 57, "not a socket";
    NOTSUP = 58, "not supported";
    NOTTY = 59, "inappropriate I/O control operation";
    NXIO = 60, "no such device or address";
    OVERFLOW = 61, "value too large to be stored";
    OWNERDEAD = 62, "previous owner died";
    PERM = 63, "operation not permitted";
    PIPE = 64, "broken pipe";
    PROTO = 65, "protocol error";
    PROTONOSUPPORT = 66, "protocol not supported";
    PROTOTYPE = 67, "protocol wrong type for socket";
    RANGE = 68, "result too large";
    ROFS = 69, "read-only file system";
    SPIPE = 70, "invalid seek";
    SRCH = 71, "no such process";
    STALE = 72, "stale file handle";
    TIMEDOUT = 73, "connection timed out";
    TXTBSY = 74, "text file busy";
    XDEV = 75, "cross-device link";
    NOTCAPABLE = 76, "capabilities insufficient";
}

impl Errno {
    /// The number that the guest receives.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// The name as in the interface description, in capitals.
    pub fn name(self) -> &'static str {
        self.describe().0
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe().1)
    }
}

impl std::error::Error for Errno {}

impl From<wardian::OutOfBounds> for Errno {
    fn from(_: wardian::OutOfBounds) -> Errno {
        Errno::FAULT
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        if let Some(errno) = sys::errno(&error) {
            return errno;
        }
        // Without a code of the system: errors made by the standard library and by cap-std, whose
        // refusal to leave a directory has the kind `PermissionDenied`.
        match error.kind() {
            io::ErrorKind::NotFound => Errno::NOENT,
            io::ErrorKind::PermissionDenied => Errno::PERM,
            io::ErrorKind::AlreadyExists => Errno::EXIST,
            io::ErrorKind::WouldBlock => Errno::AGAIN,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Errno::INVAL,
            io::ErrorKind::TimedOut => Errno::TIMEDOUT,
            io::ErrorKind::Interrupted => Errno::INTR,
            io::ErrorKind::Unsupported => Errno::NOTSUP,
            io::ErrorKind::OutOfMemory => Errno::NOMEM,
            io::ErrorKind::BrokenPipe => Errno::PIPE,
            io::ErrorKind::ConnectionReset => Errno::CONNRESET,
            io::ErrorKind::ConnectionAborted => Errno::CONNABORTED,
            io::ErrorKind::ConnectionRefused => Errno::CONNREFUSED,
            io::ErrorKind::NotConnected => Errno::NOTCONN,
            io::ErrorKind::NotADirectory => Errno::NOTDIR,
            io::ErrorKind::IsADirectory => Errno::ISDIR,
            io::ErrorKind::DirectoryNotEmpty => Errno::NOTEMPTY,
            io::ErrorKind::ReadOnlyFilesystem => Errno::ROFS,
            io::ErrorKind::StorageFull => Errno::NOSPC,
            io::ErrorKind::FileTooLarge => Errno::FBIG,
            io::ErrorKind::CrossesDevices => Errno::XDEV,
            io::ErrorKind::TooManyLinks => Errno::MLINK,
            io::ErrorKind::InvalidFilename => Errno::NAMETOOLONG,
            io::ErrorKind::NotSeekable => Errno::SPIPE,
            _ => Errno::IO,
        }
    }
}

/// A set of named bits, with only the operations used here.
macro_rules! flags {
    (
        $(#[$doc:meta])* $vis:vis struct $name:ident: $repr:ty {
            $($(#[$flag_doc:meta])* $flag:ident = $bit:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        $vis struct $name($repr);

        #[allow(dead_code, reason = "each set offers the same operations")]
        impl $name {
            $($(#[$flag_doc])* pub const $flag: $name = $name(1 << $bit);)*
            const ALL: $repr = 0 $(| 1 << $bit)*;

            /// No bit.
            pub const fn empty() -> Self {
                Self(0)
            }

            /// Every bit that has a name.
            pub const fn all() -> Self {
                Self(Self::ALL)
            }

            /// The number that stands for this set.
            pub const fn bits(self) -> $repr {
                self.0
            }

            /// The set for a number, unless it has bits without a name.
            pub const fn from_bits(bits: $repr) -> Option<Self> {
                if bits & !Self::ALL == 0 { Some(Self(bits)) } else { None }
            }

            /// The set for a number, bits without a name being dropped.
            pub const fn from_bits_truncate(bits: $repr) -> Self {
                Self(bits & Self::ALL)
            }

            /// Whether every bit of `other` is set here.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether a bit of `other` is set here.
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// Whether no bit is set.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// The bits of either set.
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// The bits of this set that `other` does not have.
            pub const fn difference(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl std::ops::BitAnd for $name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
        }
    };
}

flags! {
    /// What the guest may do through a directory that its host opened for it.
    ///
    /// ```
    /// use wardian_wasi::DirPerms;
    ///
    /// assert!(DirPerms::all().contains(DirPerms::READ | DirPerms::MUTATE));
    /// ```
    pub struct DirPerms: u8 {
        /// Look things up: open, list, stat, read links.
        READ = 0;
        /// Change the directory: create, remove, rename, link.
        MUTATE = 1;
    }
}

flags! {
    /// What the guest may do with files it opens through a directory.
    ///
    /// ```
    /// use wardian_wasi::FilePerms;
    ///
    /// assert!(!FilePerms::READ.contains(FilePerms::WRITE));
    /// ```
    pub struct FilePerms: u8 {
        /// Read contents.
        READ = 0;
        /// Write contents, set sizes and times.
        WRITE = 1;
    }
}

flags! {
    /// What a guest's file descriptor can be used for. A guest can drop rights and not regain them.
    pub(crate) struct Rights: u64 {
        FD_DATASYNC = 0;
        FD_READ = 1;
        FD_SEEK = 2;
        FD_FDSTAT_SET_FLAGS = 3;
        FD_SYNC = 4;
        FD_TELL = 5;
        FD_WRITE = 6;
        FD_ADVISE = 7;
        FD_ALLOCATE = 8;
        PATH_CREATE_DIRECTORY = 9;
        PATH_CREATE_FILE = 10;
        PATH_LINK_SOURCE = 11;
        PATH_LINK_TARGET = 12;
        PATH_OPEN = 13;
        FD_READDIR = 14;
        PATH_READLINK = 15;
        PATH_RENAME_SOURCE = 16;
        PATH_RENAME_TARGET = 17;
        PATH_FILESTAT_GET = 18;
        PATH_FILESTAT_SET_SIZE = 19;
        PATH_FILESTAT_SET_TIMES = 20;
        FD_FILESTAT_GET = 21;
        FD_FILESTAT_SET_SIZE = 22;
        FD_FILESTAT_SET_TIMES = 23;
        PATH_SYMLINK = 24;
        PATH_REMOVE_DIRECTORY = 25;
        PATH_UNLINK_FILE = 26;
        POLL_FD_READWRITE = 27;
        SOCK_SHUTDOWN = 28;
        SOCK_ACCEPT = 29;
    }
}

impl Rights {
    /// What can be done with a directory.
    pub const DIRECTORY: Rights = Rights::FD_FDSTAT_SET_FLAGS
        .union(Rights::FD_SYNC)
        .union(Rights::FD_DATASYNC)
        .union(Rights::PATH_CREATE_DIRECTORY)
        .union(Rights::PATH_CREATE_FILE)
        .union(Rights::PATH_LINK_SOURCE)
        .union(Rights::PATH_LINK_TARGET)
        .union(Rights::PATH_OPEN)
        .union(Rights::FD_READDIR)
        .union(Rights::PATH_READLINK)
        .union(Rights::PATH_RENAME_SOURCE)
        .union(Rights::PATH_RENAME_TARGET)
        .union(Rights::PATH_FILESTAT_GET)
        .union(Rights::PATH_FILESTAT_SET_SIZE)
        .union(Rights::PATH_FILESTAT_SET_TIMES)
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::FD_FILESTAT_SET_TIMES)
        .union(Rights::PATH_SYMLINK)
        .union(Rights::PATH_REMOVE_DIRECTORY)
        .union(Rights::PATH_UNLINK_FILE);

    /// What can be done with a file.
    pub const FILE: Rights = Rights::FD_DATASYNC
        .union(Rights::FD_READ)
        .union(Rights::FD_SEEK)
        .union(Rights::FD_FDSTAT_SET_FLAGS)
        .union(Rights::FD_SYNC)
        .union(Rights::FD_TELL)
        .union(Rights::FD_WRITE)
        .union(Rights::FD_ADVISE)
        .union(Rights::FD_ALLOCATE)
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::FD_FILESTAT_SET_SIZE)
        .union(Rights::FD_FILESTAT_SET_TIMES)
        .union(Rights::POLL_FD_READWRITE);

    /// The part of `FILE` that a file opened for reading only does not have.
    pub const FILE_WRITING: Rights =
        Rights::FD_WRITE.union(Rights::FD_ALLOCATE).union(Rights::FD_FILESTAT_SET_SIZE);

    /// What everything that opens below a directory can at most have.
    pub const INHERITING: Rights = Rights::DIRECTORY.union(Rights::FILE);

    /// What can be done with standard input. No seeking: guests take "a character device that cannot
    /// seek" as the sign of a terminal.
    pub const STDIN: Rights = Rights::FD_READ
        .union(Rights::FD_FDSTAT_SET_FLAGS)
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::POLL_FD_READWRITE);

    /// What can be done with standard output and standard error.
    pub const STDOUT: Rights = Rights::FD_WRITE
        .union(Rights::FD_SYNC)
        .union(Rights::FD_DATASYNC)
        .union(Rights::FD_FDSTAT_SET_FLAGS)
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::POLL_FD_READWRITE);

    /// What can be done with a connected socket.
    pub const SOCKET: Rights = Rights::FD_READ
        .union(Rights::FD_WRITE)
        .union(Rights::FD_FDSTAT_SET_FLAGS)
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::POLL_FD_READWRITE)
        .union(Rights::SOCK_SHUTDOWN);

    /// What can be done with a listening socket.
    pub const LISTENER: Rights = Rights::FD_READ
        .union(Rights::FD_FDSTAT_SET_FLAGS)
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::POLL_FD_READWRITE)
        .union(Rights::SOCK_ACCEPT);
}

flags! {
    pub(crate) struct FdFlags: u16 {
        APPEND = 0;
        DSYNC = 1;
        NONBLOCK = 2;
        RSYNC = 3;
        SYNC = 4;
    }
}

impl FdFlags {
    /// Those that are fixed when a file is opened.
    pub const SYNCS: FdFlags = FdFlags::DSYNC.union(FdFlags::RSYNC).union(FdFlags::SYNC);
}

flags! {
    pub(crate) struct OFlags: u16 {
        CREAT = 0;
        DIRECTORY = 1;
        EXCL = 2;
        TRUNC = 3;
    }
}

flags! {
    pub(crate) struct LookupFlags: u32 {
        SYMLINK_FOLLOW = 0;
    }
}

flags! {
    pub(crate) struct FstFlags: u16 {
        ATIM = 0;
        ATIM_NOW = 1;
        MTIM = 2;
        MTIM_NOW = 3;
    }
}

flags! {
    pub(crate) struct RiFlags: u16 {
        RECV_PEEK = 0;
        RECV_WAITALL = 1;
    }
}

flags! {
    pub(crate) struct SdFlags: u8 {
        RD = 0;
        WR = 1;
    }
}

flags! {
    pub(crate) struct SubClockFlags: u16 {
        ABSTIME = 0;
    }
}

flags! {
    pub(crate) struct EventRwFlags: u16 {
        FD_READWRITE_HANGUP = 0;
    }
}

/// What a descriptor or a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FileType {
    /// Preview 1 has no number for pipes.
    Unknown = 0,
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketStream = 6,
    SymbolicLink = 7,
}

impl From<cap_std::fs::FileType> for FileType {
    fn from(file_type: cap_std::fs::FileType) -> FileType {
        use cap_fs_ext::FileTypeExt;
        if file_type.is_dir() {
            FileType::Directory
        } else if file_type.is_file() {
            FileType::RegularFile
        } else if file_type.is_symlink() {
            FileType::SymbolicLink
        } else if file_type.is_block_device() {
            FileType::BlockDevice
        } else if file_type.is_char_device() {
            FileType::CharacterDevice
        } else if file_type.is_socket() {
            FileType::SocketStream
        } else {
            FileType::Unknown
        }
    }
}

/// Clock identifiers.
pub(crate) mod clockid {
    pub const REALTIME: u32 = 0;
    pub const MONOTONIC: u32 = 1;
    pub const PROCESS_CPUTIME: u32 = 2;
    pub const THREAD_CPUTIME: u32 = 3;
}

/// Kinds of events and subscriptions.
pub(crate) mod eventtype {
    pub const CLOCK: u8 = 0;
    pub const FD_READ: u8 = 1;
    pub const FD_WRITE: u8 = 2;
}

/// Which of the two interfaces a call came through, where their layouts or numbers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    /// `wasi_snapshot_preview1`.
    Preview1,
    /// `wasi_unstable`, its predecessor.
    Unstable,
}

/// `fdstat`: filetype u8 at 0, flags u16 at 2, base rights u64 at 8, inheriting rights u64 at 16.
pub(crate) const FDSTAT_SIZE: u64 = 24;

/// `prestat`: tag u8 at 0 (0: directory), length of the name u32 at 4.
pub(crate) const PRESTAT_SIZE: u64 = 8;

/// `dirent`: next cookie u64 at 0, inode u64 at 8, length of the name u32 at 16, filetype u8 at 20.
pub(crate) const DIRENT_SIZE: usize = 24;

/// `event`: userdata u64 at 0, errno u16 at 8, type u8 at 10, bytes u64 at 16, flags u16 at 24.
pub(crate) const EVENT_SIZE: u64 = 32;

/// `iovec` and `ciovec`: address u32 at 0, length u32 at 4.
pub(crate) const IOVEC_SIZE: u64 = 8;

/// Offsets of the members of `filestat`.
pub(crate) struct FilestatLayout {
    pub dev: usize,
    pub ino: usize,
    pub filetype: usize,
    pub nlink: usize,
    /// `nlink` was 32 bits wide at first.
    pub nlink_bytes: usize,
    pub size: usize,
    pub atim: usize,
    pub mtim: usize,
    pub ctim: usize,
    /// Of the whole structure.
    pub total_bytes: usize,
}

/// Size of the larger of the two `filestat` structures.
pub(crate) const FILESTAT_MAX_BYTES: usize = 64;

/// Offsets of the members of `subscription`.
pub(crate) struct SubscriptionLayout {
    pub userdata: usize,
    pub tag: usize,
    pub fd: usize,
    pub clock_id: usize,
    pub timeout: usize,
    pub flags: usize,
    /// Of the whole structure.
    pub total_bytes: usize,
}

/// Size of the larger of the two `subscription` structures.
pub(crate) const SUBSCRIPTION_MAX_BYTES: usize = 56;

impl Abi {
    pub fn filestat(self) -> &'static FilestatLayout {
        match self {
            Abi::Preview1 => &FilestatLayout {
                dev: 0,
                ino: 8,
                filetype: 16,
                nlink: 24,
                nlink_bytes: 8,
                size: 32,
                atim: 40,
                mtim: 48,
                ctim: 56,
                total_bytes: 64,
            },
            Abi::Unstable => &FilestatLayout {
                dev: 0,
                ino: 8,
                filetype: 16,
                nlink: 20,
                nlink_bytes: 4,
                size: 24,
                atim: 32,
                mtim: 40,
                ctim: 48,
                total_bytes: 56,
            },
        }
    }

    pub fn subscription(self) -> &'static SubscriptionLayout {
        match self {
            Abi::Preview1 => &SubscriptionLayout {
                userdata: 0,
                tag: 8,
                fd: 16,
                clock_id: 16,
                timeout: 24,
                flags: 40,
                total_bytes: 48,
            },
            // The clock had an identifier of its own, besides the user data, in front.
            Abi::Unstable => &SubscriptionLayout {
                userdata: 0,
                tag: 8,
                fd: 16,
                clock_id: 24,
                timeout: 32,
                flags: 48,
                total_bytes: 56,
            },
        }
    }

    /// What a `whence` number means, or nothing if it means nothing.
    pub fn whence(self, whence: u32) -> Option<Whence> {
        match (self, whence) {
            (Abi::Preview1, 0) | (Abi::Unstable, 2) => Some(Whence::Set),
            (Abi::Preview1, 1) | (Abi::Unstable, 0) => Some(Whence::Cur),
            (Abi::Preview1, 2) | (Abi::Unstable, 1) => Some(Whence::End),
            _ => None,
        }
    }
}

/// What a seek counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    Set,
    Cur,
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_no_right_that_only_files_have() {
        for right in
            [Rights::FD_SEEK, Rights::FD_TELL, Rights::FD_FILESTAT_SET_SIZE, Rights::FD_WRITE]
        {
            assert!(!Rights::DIRECTORY.intersects(right));
            assert!(Rights::INHERITING.contains(right));
        }
    }

    #[test]
    fn errors_have_names_and_texts() {
        assert_eq!(format!("{:?}", Errno::NOTCAPABLE), "NOTCAPABLE");
        assert_eq!(Errno::PIPE.to_string(), "broken pipe");
        assert_eq!(Errno::NOTCAPABLE.code(), 76);
    }

    #[test]
    fn layouts_fit_the_buffers() {
        for abi in [Abi::Preview1, Abi::Unstable] {
            assert!(abi.filestat().total_bytes <= FILESTAT_MAX_BYTES);
            assert!(abi.subscription().total_bytes <= SUBSCRIPTION_MAX_BYTES);
        }
    }
}

//! The descriptors of a guest: what each number stands for, and what may be done with it.
//!
//! Two things limit a descriptor. *Permissions* are the host's and never change; refusing them is
//! `PERM`. *Rights* are the guest's view, which it can narrow for itself (`fd_fdstat_set_rights`);
//! using one that was dropped is `NOTCAPABLE`. A right that the kind of descriptor never had gives the
//! error of the corresponding POSIX call.
//!
//! Invariant: a number is in `free` exactly if its slot is empty and below the length of `slots`; so
//! a new descriptor gets the lowest number, as POSIX programs expect, and none is lost.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};

use crate::dir::OpenDir;
use crate::file::OpenFile;
use wardian::BudgetShare;

use crate::limits;
use crate::stdio::{StdinStream, StdoutStream, StreamState};
use crate::sys;
use crate::types::{Errno, FdFlags, FileType, Rights};

/// What a descriptor stands for.
pub(crate) enum Kind {
    Stdin(Box<dyn StdinStream>),
    Stdout(Box<dyn StdoutStream>),
    File(OpenFile),
    Dir(OpenDir),
    Listener(TcpListener),
    Socket(TcpStream),
}

impl Kind {
    /// Every right that something of this kind can have.
    pub fn rights(&self) -> Rights {
        match self {
            Kind::Stdin(_) => Rights::STDIN,
            Kind::Stdout(_) => Rights::STDOUT,
            Kind::File(file) => file.rights(),
            Kind::Dir(_) => Rights::DIRECTORY,
            Kind::Listener(_) => Rights::LISTENER,
            Kind::Socket(_) => Rights::SOCKET,
        }
    }

    pub fn file_type(&self) -> FileType {
        match self {
            Kind::Stdin(stream) if stream.is_terminal() => FileType::CharacterDevice,
            Kind::Stdout(stream) if stream.is_terminal() => FileType::CharacterDevice,
            Kind::Stdin(_) | Kind::Stdout(_) => FileType::Unknown,
            Kind::File(file) => file.file_type(),
            Kind::Dir(_) => FileType::Directory,
            Kind::Listener(_) | Kind::Socket(_) => FileType::SocketStream,
        }
    }

    /// Whether it could be used now without blocking.
    pub fn state(&self) -> StreamState<'_> {
        let host = match self {
            Kind::Stdin(stream) => return stream.state(),
            Kind::Stdout(stream) => return stream.state(),
            Kind::File(file) => return file.state(),
            Kind::Dir(_) => None,
            Kind::Listener(listener) => sys::host_fd(listener),
            Kind::Socket(socket) => sys::host_fd(socket),
        };
        crate::stdio::host_state(host)
    }
}

/// One open descriptor.
pub(crate) struct Descriptor {
    pub kind: Kind,
    /// What may still be done with this descriptor.
    pub base: Rights,
    /// What descriptors opened through this one can have.
    pub inheriting: Rights,
    pub flags: FdFlags,
}

impl Descriptor {
    /// A descriptor with every right of its kind.
    pub fn new(kind: Kind) -> Descriptor {
        let inheriting = match kind {
            Kind::Dir(_) => Rights::INHERITING,
            Kind::Listener(_) => Rights::SOCKET,
            _ => Rights::empty(),
        };
        Descriptor { base: kind.rights(), inheriting, flags: FdFlags::empty(), kind }
    }

    /// Checks that all of `rights` are there.
    pub fn need(&self, rights: Rights) -> Result<(), Errno> {
        if self.base.contains(rights) { Ok(()) } else { Err(self.refusal(rights)) }
    }

    #[cold]
    fn refusal(&self, rights: Rights) -> Errno {
        const PATHS: Rights = Rights::DIRECTORY.difference(Rights::FILE);
        const SOCKETS: Rights = Rights::SOCK_ACCEPT.union(Rights::SOCK_SHUTDOWN);
        const POSITIONS: Rights = Rights::FD_SEEK.union(Rights::FD_TELL).union(Rights::FD_ADVISE);
        let missing = rights.difference(self.base);
        if self.kind.rights().contains(missing) {
            Errno::NOTCAPABLE
        } else if missing.intersects(SOCKETS) {
            Errno::NOTSOCK
        } else if missing.intersects(PATHS) && !matches!(self.kind, Kind::Dir(_)) {
            Errno::NOTDIR
        } else if missing.contains(Rights::FD_READ) && matches!(self.kind, Kind::Dir(_)) {
            Errno::ISDIR
        } else if missing.intersects(POSITIONS) && !matches!(self.kind, Kind::Dir(_)) {
            Errno::SPIPE
        } else {
            Errno::BADF
        }
    }

    /// The directory, if it is one and has all of `rights`.
    pub fn dir(&self, rights: Rights) -> Result<&OpenDir, Errno> {
        self.need(rights)?;
        match &self.kind {
            Kind::Dir(dir) => Ok(dir),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The file, if it is one and has all of `rights`.
    pub fn file(&self, rights: Rights) -> Result<&OpenFile, Errno> {
        self.need(rights)?;
        match &self.kind {
            Kind::File(file) => Ok(file),
            _ => Err(self.refusal(Rights::FD_SEEK)),
        }
    }
}

/// What a slot takes of a budget.
const SLOT_BYTES: u64 = size_of::<Option<Descriptor>>() as u64;

/// The descriptors of one guest, by number.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Option<Descriptor>>,
    free: BTreeSet<usize>,
    /// What the slots that were added take of a budget.
    pub share: Option<BudgetShare>,
}

impl Table {
    /// Adds a descriptor under the lowest free number.
    pub fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let index = match self.free.pop_first() {
            Some(index) => {
                self.slots[index] = Some(descriptor);
                index
            }
            None if self.slots.len() < limits::DESCRIPTORS => {
                self.take_slot()?;
                self.slots.push(Some(descriptor));
                self.slots.len() - 1
            }
            None => return Err(Errno::MFILE),
        };
        Ok(u32::try_from(index).expect("limits::DESCRIPTORS is below 2^32"))
    }

    /// Takes one more slot of the budget.
    fn take_slot(&mut self) -> Result<(), Errno> {
        match &mut self.share {
            Some(share) => {
                let bytes = share.bytes() + SLOT_BYTES;
                share.resize(bytes).then_some(()).ok_or(Errno::NOMEM)
            }
            None => Ok(()),
        }
    }

    /// Whether one more descriptor fits. To be asked before something is created for it.
    pub fn check_room(&self) -> Result<(), Errno> {
        if !self.free.is_empty() {
            return Ok(());
        }
        if self.slots.len() >= limits::DESCRIPTORS {
            return Err(Errno::MFILE);
        }
        match &self.share {
            Some(share) if !share.budget().has_room(SLOT_BYTES) => Err(Errno::NOMEM),
            _ => Ok(()),
        }
    }

    pub fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.slots.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::BADF)
    }

    pub fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.slots.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::BADF)
    }

    /// Takes a descriptor out; its number is free again.
    pub fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        let descriptor =
            self.slots.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::BADF)?;
        self.free.insert(fd as usize);
        Ok(descriptor)
    }

    /// Makes `to` what `from` is, and frees `from`. Both must be open. What `to` was is closed. A
    /// descriptor renumbered to itself stays.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            let moved = self.remove(from)?;
            *self.get_mut(to)? = moved;
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

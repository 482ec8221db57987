//! What supervisor and child say to each other: small messages of numbers.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::{
    ops::{Evidence, LOG_LENGTH, Stage},
    sys::{
        Call, Errno, Fault,
        socket::{self, Received},
    },
};

/// The longest message: a head of numbers, and the kernel's own words.
const LENGTH: usize = HEAD + LOG_LENGTH;
/// Kind, a flag, a call, a number, an errno.
const HEAD: usize = 12;

/// A call that fails for want of memory may work the next time.
const ATTEMPTS: usize = 3;

/// One message.
#[derive(Debug)]
pub(super) enum Message {
    /// The other's turn, from this step on; and who says so
    Turn(usize, Option<i32>),
    /// The descriptor that comes with this belongs in this slot
    Mount(usize, Option<OwnedFd>),
    /// This step failed
    Fault(usize, Fault, Evidence),
    /// The command is executed now, by the process that says so
    Ready(Option<i32>),
    /// This signal stopped the command
    Stopped(i32),
    /// This signal killed the command
    Killed(i32),
    /// How the command ended cannot be known: this is what waiting for it gave
    Unheard(Errno),
    /// Nobody is there any more
    End,
    /// It could not be read what was said: nothing may follow from it
    Broken,
}

const TURN: u8 = 1;
const MOUNT: u8 = 2;
const FAULT: u8 = 3;
const READY: u8 = 4;
const STOPPED: u8 = 5;
const KILLED: u8 = 6;
const UNHEARD: u8 = 7;

/// Says that it is the other's turn from this step on.
pub(super) fn pass(to: BorrowedFd, step: usize) -> Result<(), Errno> {
    socket::send(to, &head(TURN, step, 0, 0), None)
}

/// Hands a descriptor over for a slot.
pub(super) fn hand_over(to: BorrowedFd, slot: usize, fd: BorrowedFd) -> Result<(), Errno> {
    socket::send(to, &head(MOUNT, slot, 0, 0), Some(fd))
}

/// Says that the command is executed now.
pub(super) fn ready(to: BorrowedFd) -> Result<(), Errno> {
    socket::send(to, &head(READY, 0, 0, 0), None)
}

/// Says which signal stopped the command.
pub(super) fn stopped(to: BorrowedFd, signal: i32) -> Result<(), Errno> {
    socket::send(to, &head(STOPPED, 0, 0, signal), None)
}

/// Says which signal killed the command: the exit status of who waited for it
/// could be the command's own.
pub(super) fn killed(to: BorrowedFd, signal: i32) -> Result<(), Errno> {
    socket::send(to, &head(KILLED, 0, 0, signal), None)
}

/// Says that the end of the command could not be waited for.
pub(super) fn unheard(to: BorrowedFd, errno: Errno) -> Result<(), Errno> {
    socket::send(to, &head(UNHEARD, 0, 0, errno as i32), None)
}

/// Reports a fault, with what only the failing process can know.
pub(super) fn fail(to: BorrowedFd, step: usize, fault: Fault, filtered: bool, stage: &Stage) {
    let (log, length) = stage.log();
    let mut message = [0; LENGTH];
    let head = head(FAULT, step, fault.call as u16, fault.errno as i32);
    let (front, back) = message.split_at_mut(head.len());
    front.copy_from_slice(&head);
    if let Some(flag) = front.get_mut(1) {
        *flag = u8::from(filtered);
    }
    back.copy_from_slice(&log);
    // If nobody listens, nobody is left to be told.
    let _ = socket::send(to, message.get(..head.len() + length).unwrap_or(&head), None);
}

/// Waits for the next message.
pub(super) fn next(from: BorrowedFd) -> Message {
    let mut message = [0; LENGTH];
    // What could not be taken out of the socket is still in it.
    let mut attempts = (0..ATTEMPTS).map(|_| socket::receive(from, &mut message));
    let Some(Received { length, fd, sender }) = attempts.find_map(Result::ok) else {
        return Message::Broken;
    };
    let (head, log) = message.split_at(HEAD);
    let number = |at: usize| -> u32 {
        let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    };
    let step = number(4) as usize;
    match (length, head.first()) {
        (HEAD.., Some(&TURN)) => Message::Turn(step, sender),
        (HEAD.., Some(&MOUNT)) => Message::Mount(step, fd),
        (HEAD.., Some(&READY)) => Message::Ready(sender),
        (HEAD.., Some(&STOPPED)) => Message::Stopped(number(8) as i32),
        (HEAD.., Some(&KILLED)) => Message::Killed(number(8) as i32),
        (HEAD.., Some(&UNHEARD)) => Message::Unheard(Errno::from_raw(number(8) as i32)),
        (HEAD.., Some(&FAULT)) => {
            let call = u16::from_ne_bytes([head[2], head[3]]);
            let errno = Errno::from_raw(number(8) as i32);
            let Some(call) = Call::from_number(call) else {
                return Message::Broken;
            };
            let words = log.get(..length.saturating_sub(HEAD)).unwrap_or_default();
            // Only a fault has words, and only the supervisor is told of one.
            let evidence = Evidence::from_log(words, head[1] != 0);
            Message::Fault(step, Fault { call, errno }, evidence)
        }
        (0, _) => Message::End,
        _ => Message::Broken,
    }
}

fn head(kind: u8, step: usize, call: u16, errno: i32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[0] = kind;
    head[2..4].copy_from_slice(&call.to_ne_bytes());
    head[4..8].copy_from_slice(&(step as u32).to_ne_bytes());
    head[8..12].copy_from_slice(&errno.to_ne_bytes());
    head
}

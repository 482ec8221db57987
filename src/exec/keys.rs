//! What the supervisor does for a command with a terminal of its own.

use crate::sys::process;

use super::{
    relay::{Relay, Turn},
    supervisor::Supervisor,
};

impl Supervisor<'_> {
    pub(super) fn has_relay(&self) -> bool {
        self.relay.borrow().is_some()
    }

    pub(super) fn begin_keys(&self) {
        self.with_relay(Relay::begin);
    }

    pub(super) fn come_to_front(&self) {
        self.with_relay(Relay::come_to_front);
    }

    pub(super) fn step_back(&self) {
        self.with_relay(Relay::step_back);
    }

    /// Whether there is a window of the command's own to be as large as the caller's.
    pub(super) fn resize(&self) -> bool {
        self.with_relay(|relay| relay.resize());
        self.has_relay()
    }

    pub(super) fn time_to_look(&self) -> Option<u16> {
        self.relay.borrow().as_ref().and_then(Relay::time_to_look)
    }

    /// Passes on what is typed and printed. Ctrl-Z stops a command that would
    /// stop for it, had it not a session of its own.
    pub(super) fn pass_keys(&self) {
        let command = self.console.command();
        let would_stop = |front| {
            command.is_some_and(|command| front == command && process::stops_for_key(command))
        };
        let mut relay = self.relay.borrow_mut();
        let turn = relay.as_mut().map(|relay| relay.turn(would_stop));
        drop(relay);
        if turn == Some(Turn::Stop) {
            self.stop_command();
        }
    }

    fn with_relay(&self, act: impl FnOnce(&mut Relay)) {
        if let Some(relay) = self.relay.borrow_mut().as_mut() {
            act(relay);
        }
    }
}

//! Terminal settings as the kernel has them (termios(3)).
//!
//! The C library's `termios` is larger than the kernel's: it has 32 control characters, of which
//! the kernel fills in 19. musl leaves the others as they were in memory. So two structures are
//! never compared whole: only what the kernel has is read, compared and changed.
#![expect(unsafe_code, reason = "nix reads the control characters that the kernel does not fill in")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use nix::errno::Errno;
use nix::sys::termios::{LocalFlags, OutputFlags, SetArg};

/// Number of control characters the kernel has (`asm-generic/termbits.h`: NCCS).
const CONTROL_CHARS: usize = 19;

/// Input, output and local flags, then the control characters.
const FIELDS: usize = 3 + CONTROL_CHARS;
const INPUT: usize = 0;
const OUTPUT: usize = 1;
const LOCAL: usize = 2;

/// Delays of `c_oflag` of more than one bit: each changes as a whole.
const DELAYS: [libc::tcflag_t; 2] = [OutputFlags::CRDLY.bits(), OutputFlags::TABDLY.bits()];

/// All settings of one terminal, to restore them later.
#[derive(Clone)]
pub(crate) struct TtySettings(libc::termios);

impl TtySettings {
    /// Reads the settings of a terminal.
    ///
    /// # Errors
    /// Those of `tcgetattr(3)`: `ENOTTY` if it is not a terminal.
    pub(crate) fn of(terminal: impl AsFd) -> io::Result<Self> {
        // SAFETY: an all-zero termios is a valid value of that plain C structure. The control
        // characters that the kernel does not have stay zero.
        let mut settings: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: tcgetattr fills in the structure it is given.
        Errno::result(unsafe { libc::tcgetattr(terminal.as_fd().as_raw_fd(), &raw mut settings) })?;
        Ok(Self(settings))
    }

    /// Applies these settings to a terminal.
    ///
    /// # Errors
    /// Those of `tcsetattr(3)`.
    pub(crate) fn apply(&self, terminal: impl AsFd, when: SetArg) -> io::Result<()> {
        // SAFETY: tcsetattr reads the structure, all of which has been written.
        let done =
            unsafe { libc::tcsetattr(terminal.as_fd().as_raw_fd(), when as libc::c_int, &raw const self.0) };
        Errno::result(done)?;
        Ok(())
    }

    /// Turns local flags off.
    pub(crate) fn without(mut self, flags: LocalFlags) -> Self {
        self.0.c_lflag &= !flags.bits();
        self
    }

    /// Makes a read return as soon as one byte is there (VMIN 1, VTIME 0).
    pub(crate) fn byte_by_byte(mut self) -> Self {
        self.0.c_cc[libc::VMIN] = 1;
        self.0.c_cc[libc::VTIME] = 0;
        self
    }

    /// Returns the modes in these settings, in a form that can be compared.
    pub(crate) fn modes(&self) -> Modes {
        let mut modes = [0; FIELDS];
        modes[INPUT] = self.0.c_iflag;
        modes[OUTPUT] = self.0.c_oflag;
        modes[LOCAL] = self.0.c_lflag;
        for (mode, character) in modes[LOCAL + 1..].iter_mut().zip(self.0.c_cc) {
            *mode = character.into();
        }
        Modes(modes)
    }

    /// Returns these settings with other modes. The speed and the framing of the line stay.
    pub(crate) fn with(mut self, modes: Modes) -> Self {
        self.0.c_iflag = modes.0[INPUT];
        self.0.c_oflag = modes.0[OUTPUT];
        self.0.c_lflag = modes.0[LOCAL];
        for (character, mode) in self.0.c_cc.iter_mut().zip(&modes.0[LOCAL + 1..]) {
            *character = u8::try_from(*mode).expect("a mode that was a control character, or another one's");
        }
        self
    }
}

/// Flags and control characters of a terminal: what programs change, without the line's speed and
/// framing (`c_cflag`), which a pseudo-terminal does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modes([libc::tcflag_t; FIELDS]);

impl Modes {
    pub(crate) fn output_flags(&self) -> OutputFlags {
        OutputFlags::from_bits_retain(self.0[OUTPUT])
    }

    pub(crate) fn local_flags(&self) -> LocalFlags {
        LocalFlags::from_bits_retain(self.0[LOCAL])
    }
}

/// Changes that a program made on its own terminal, applied to the modes of another one.
///
/// Only differences from the initial modes are carried over, each once. When the program reverts
/// one, the other terminal gets back what it had before, unless that was changed meanwhile.
/// Everything else on it stays as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overlay {
    initial: Modes,
    /// The program's modes that were carried over last.
    carried: Modes,
    /// The bits in which `carried` differs from `initial`.
    changed: [libc::tcflag_t; FIELDS],
    /// Bits of the other terminal before the change.
    before: [libc::tcflag_t; FIELDS],
}

impl Overlay {
    /// Nothing is changed: the program's terminal has its initial modes.
    pub(crate) fn new(initial: Modes) -> Self {
        Self { initial, carried: initial, changed: [0; FIELDS], before: [0; FIELDS] }
    }

    /// Returns `true` if the program's modes differ from those that were carried over last.
    pub(crate) fn is_behind(&self, program: Modes) -> bool {
        self.carried != program
    }

    /// The program's modes that were carried over last.
    pub(crate) fn carried(&self) -> Modes {
        self.carried
    }

    /// Returns the overlay and the modes of the other terminal for the program's modes `program`.
    /// `other` has its present modes.
    pub(crate) fn carry(&self, program: Modes, other: Modes) -> (Self, Modes) {
        let mut next = Self { carried: program, ..*self };
        let mut result = other;
        for field in 0..FIELDS {
            let program = program.0[field];
            let other = other.0[field];
            let was = self.changed[field];
            let is = whole(field, program ^ self.initial.0[field]);
            let fresh = is & !was;
            let moved = is & was & whole(field, program ^ self.carried.0[field]);
            // Reverted by the program, and still as we have set it.
            let undone = was & !is & !whole(field, other ^ self.carried.0[field]);
            next.changed[field] = is;
            next.before[field] = pick(fresh, other, self.before[field]);
            let set = pick(fresh | moved, program, other);
            result.0[field] = pick(undone, self.before[field], set);
        }
        (next, result)
    }

    /// Returns the overlay and the modes of the other terminal, with every carried change undone.
    pub(crate) fn undo(&self, other: Modes) -> (Self, Modes) {
        self.carry(self.initial, other)
    }
}

/// The bits of a difference, with those that only change together.
fn whole(field: usize, difference: libc::tcflag_t) -> libc::tcflag_t {
    match field {
        INPUT | LOCAL => difference,
        OUTPUT => {
            DELAYS.iter().fold(difference, |bits, delay| if bits & delay == 0 { bits } else { bits | delay })
        }
        _ if difference == 0 => 0,
        _ => 0xff,
    }
}

/// The bits `mask` of `one`, and the others of `other`.
fn pick(mask: libc::tcflag_t, one: libc::tcflag_t, other: libc::tcflag_t) -> libc::tcflag_t {
    (one & mask) | (other & !mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: u32 = libc::ECHO;
    const ICANON: u32 = libc::ICANON;
    const OPOST: u32 = libc::OPOST;
    const TAB1: u32 = OutputFlags::TAB1.bits();
    const TAB2: u32 = OutputFlags::TAB2.bits();
    const TAB3: u32 = OutputFlags::TAB3.bits();

    /// Modes of local flags, output flags and the first control character.
    fn modes(local: u32, output: u32, interrupt: u8) -> Modes {
        let mut modes = [0; FIELDS];
        modes[LOCAL] = local;
        modes[OUTPUT] = output;
        modes[LOCAL + 1] = interrupt.into();
        Modes(modes)
    }

    /// The program's modes, the other terminal's as they were set meanwhile (none: as we left
    /// them), and what it has then.
    type Step = (Modes, Option<Modes>, Modes);

    #[test]
    fn overlay_carries_over_what_the_program_changed_and_nothing_else() {
        let cooked = modes(ECHO | ICANON, OPOST, 3);
        let raw = modes(0, 0, 0);
        let quiet = modes(ICANON, OPOST, 3);
        let cases: &[(&str, &[Step])] = &[
            ("nothing", &[(cooked, Some(quiet), quiet)]),
            ("raw and back", &[(raw, Some(cooked), raw), (cooked, None, cooked)]),
            // `stty -echo` on stdin, then a full-screen program: the echo stays off when that ends.
            ("raw over no echo", &[(raw, Some(quiet), raw), (cooked, None, quiet)]),
            // The program has turned the echo on by its input meanwhile: that stays.
            (
                "changed meanwhile",
                &[(raw, Some(quiet), raw), (cooked, Some(modes(ECHO, 0, 0)), modes(ECHO | ICANON, OPOST, 3))],
            ),
            (
                "only what differs",
                &[
                    (modes(ECHO, OPOST, 3), Some(quiet), modes(0, OPOST, 3)),
                    (modes(ECHO, OPOST, 7), None, modes(0, OPOST, 7)),
                    (modes(ECHO, OPOST, 8), None, modes(0, OPOST, 8)),
                    (modes(ECHO | ICANON, OPOST, 8), None, modes(ICANON, OPOST, 8)),
                    (cooked, None, quiet),
                ],
            ),
            (
                "delays as a whole",
                &[
                    (modes(0, TAB3, 3), Some(modes(0, TAB1, 3)), modes(0, TAB3, 3)),
                    (modes(0, TAB2, 3), None, modes(0, TAB2, 3)),
                    (modes(0, OPOST, 3), None, modes(0, OPOST | TAB1, 3)),
                ],
            ),
        ];
        for (name, steps) in cases {
            let mut overlay =
                Overlay::new(if *name == "delays as a whole" { modes(0, 0, 3) } else { cooked });
            let mut real = cooked;
            for (step, (program, other, expected)) in steps.iter().enumerate() {
                let (next, modes) = overlay.carry(*program, other.unwrap_or(real));
                assert_eq!(modes, *expected, "{name}, step {step}");
                assert!(!next.is_behind(*program));
                (overlay, real) = (next, modes);
            }
        }
    }

    #[test]
    fn undo_restores_the_modes() {
        let cooked = modes(ECHO | ICANON, OPOST, 3);
        let (overlay, real) = Overlay::new(cooked).carry(modes(0, 0, 9), modes(ICANON, OPOST, 4));
        assert_eq!(real, modes(0, 0, 9));
        let (overlay, real) = overlay.undo(real);
        assert_eq!(real, modes(ICANON, OPOST, 4));
        assert_eq!(overlay.undo(real).1, real, "once");
    }

    #[test]
    fn modes_ignore_what_the_kernel_does_not_have() {
        // SAFETY: an all-zero termios is a valid value of that plain C structure.
        let settings = TtySettings(unsafe { std::mem::zeroed() });
        let mut surplus = settings.clone();
        surplus.0.c_cc[CONTROL_CHARS..].fill(7);
        assert!(settings.modes() == surplus.modes());
        surplus.0.c_cc[CONTROL_CHARS - 1] = 7;
        assert!(settings.modes() != surplus.modes());
        assert!(settings.with(surplus.modes()).modes() == surplus.modes());
    }
}

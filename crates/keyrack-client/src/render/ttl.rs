//! A bar of what is left of a life.

use keyrack_core::Ttl;

use super::style::{Role, Style};

/// A bar of a life: full when it begins, empty when it ends. It never looks emptier than the life is: a key that lives has a cell.
pub fn bar(left: Ttl, whole: Ttl, style: Style) -> String {
    // As wide as leaves room for the words behind it, two trees deep.
    let cells = match style.width {
        Some(120..) => 40,
        Some(width) => width.saturating_sub(33).clamp(7, 20),
        None => 20,
    };
    bar_of(left, whole, cells, style)
}

/// The same, as wide as is said.
pub(super) fn bar_of(left: Ttl, whole: Ttl, cells: usize, style: Style) -> String {
    let whole = u128::from(whole.as_ms());
    let part = u128::from(left.as_ms()).min(whole) * u128::try_from(cells).unwrap_or(0);
    let full = usize::try_from(part.div_ceil(whole.max(1))).unwrap_or(0);
    let (some, none) = if style.unicode { ("█", "░") } else { ("#", "-") };
    some.repeat(full) + &none.repeat(cells.saturating_sub(full))
}

/// How much of a life is left, as a colour says it: more than a third, more than a tenth, less.
pub fn role(left: Ttl, whole: Ttl) -> Role {
    match (left.as_ms(), whole.as_ms()) {
        (left, whole) if left > whole / 3 => Role::Good,
        (left, whole) if left > whole / 10 => Role::Warn,
        _ => Role::Bad,
    }
}

/// A life as people say it, its two largest units: `8h 59m`, `12m`, `4m 30s`, `45s`. From ten minutes on to the nearest minute, as
/// [`minutes`] has it, below that with the seconds that have begun.
pub fn humanize(ttl: Ttl) -> String {
    let ms = ttl.as_ms();
    let joined = |one: String, rest: u64, unit: &str| {
        if rest == 0 { one } else { format!("{one} {rest}{unit}") }
    };
    let seconds = ms.div_ceil(1000);
    match ms {
        0..=59_000 => format!("{seconds}s"),
        // 10m is nothing less by a second that has begun.
        59_001..=599_000 => joined(format!("{}m", seconds / 60), seconds % 60, "s"),
        _ => {
            let minutes = ms.saturating_add(30_000) / 60_000;
            if minutes < 60 {
                format!("{minutes}m")
            } else {
                joined(format!("{}h", minutes / 60), minutes % 60, "m")
            }
        }
    }
}

/// A life in minutes, as today's tools show it; the seconds of one below a minute.
pub fn minutes(ttl: Ttl) -> String {
    let ms = ttl.as_ms();
    if ms < 60_000 { format!("{}s", ms.div_ceil(1000)) } else { format!("{}m", (ms + 30_000) / 60_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    #[test]
    fn bars() {
        let narrow = Style { width: Some(40), ..Style::ASCII };
        for (left, whole, shown) in [
            (7, 7, "#######"),
            (4, 7, "####---"),
            (1, 1_000_000, "#------"),
            (0, 7, "-------"),
            (8, 7, "#######"),
            (0, 0, "-------"),
            (u64::MAX, u64::MAX, "#######"),
        ] {
            assert_eq!(bar(Ttl(left), Ttl(whole), narrow), shown, "{left} of {whole}");
        }
        assert_eq!(bar(Ttl(1), Ttl(2), Style::PLAIN), "██████████░░░░░░░░░░");
        for (width, cells) in
            [(None, 20), (Some(0), 7), (Some(45), 12), (Some(53), 20), (Some(119), 20), (Some(120), 40)]
        {
            let text = bar(Ttl(1), Ttl(3), Style { width, ..Style::PLAIN });
            assert_eq!(text.chars().count(), cells, "{width:?}");
        }
    }

    #[test]
    fn tones_and_words() {
        for (left, tone_of, words) in [
            (9 * 60 * MINUTE, Role::Good, "9h"),
            (9 * 60 * MINUTE - 1, Role::Good, "9h"),
            (9 * 60 * MINUTE - 30_001, Role::Good, "8h 59m"),
            (180 * MINUTE + 1, Role::Good, "3h"),
            (180 * MINUTE, Role::Warn, "3h"),
            (54 * MINUTE + 1, Role::Warn, "54m"),
            (54 * MINUTE, Role::Bad, "54m"),
            (10 * MINUTE, Role::Bad, "10m"),
            (10 * MINUTE - 1, Role::Bad, "10m"),
            (10 * MINUTE - 1000, Role::Bad, "9m 59s"),
            (75_000, Role::Bad, "1m 15s"),
            (MINUTE, Role::Bad, "1m"),
            (MINUTE - 1, Role::Bad, "1m"),
            (59_000, Role::Bad, "59s"),
            (0, Role::Bad, "0s"),
        ] {
            assert_eq!((role(Ttl(left), Ttl::DEFAULT), humanize(Ttl(left)).as_str()), (tone_of, words));
        }
    }
}

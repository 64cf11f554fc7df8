//! Remaining TTL as a bar and in words.

use keyrack_core::Ttl;

use super::style::{Role, Style};

/// Draws a bar of the remaining part of a TTL. It rounds up: a key that has not expired has a cell.
pub fn bar(remaining: Ttl, whole: Ttl, style: Style) -> String {
    // Leaves room for the words after it, at the second level of a tree.
    let cells = match style.width {
        Some(120..) => 40,
        Some(width) => width.saturating_sub(33).clamp(7, 20),
        None => 20,
    };
    bar_of_width(remaining, whole, cells, style)
}

/// Draws a bar of `cells` columns.
pub(super) fn bar_of_width(remaining: Ttl, whole: Ttl, cells: usize, style: Style) -> String {
    let whole = u128::from(whole.as_ms());
    let part = u128::from(remaining.as_ms()).min(whole) * u128::try_from(cells).unwrap_or(0);
    let full = usize::try_from(part.div_ceil(whole.max(1))).unwrap_or(0);
    let (some, none) = if style.unicode { ("█", "░") } else { ("#", "-") };
    some.repeat(full) + &none.repeat(cells.saturating_sub(full))
}

/// Returns the role of a remaining TTL: good above a third of the whole, a warning above a tenth,
/// else bad.
pub fn role(remaining: Ttl, whole: Ttl) -> Role {
    match (remaining.as_ms(), whole.as_ms()) {
        (left, whole) if left > whole / 3 => Role::Good,
        (left, whole) if left > whole / 10 => Role::Warn,
        _ => Role::Bad,
    }
}

/// Formats a TTL in its two largest units: `8h 59m`, `12m`, `4m 30s`, `45s`. From ten minutes on,
/// rounds to the nearest minute as [`minutes`] does; below that, rounds seconds up.
pub fn humanize(ttl: Ttl) -> String {
    let ms = ttl.as_ms();
    let joined = |one: String, rest: u64, unit: &str| {
        if rest == 0 { one } else { format!("{one} {rest}{unit}") }
    };
    let seconds = ms.div_ceil(1000);
    match ms {
        0..=59_000 => format!("{seconds}s"),
        // 59 001 ms to 599 000 ms: below ten minutes after rounding up.
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

/// Formats a TTL in minutes, as older releases do, or in seconds below a minute.
pub fn minutes(ttl: Ttl) -> String {
    let ms = ttl.as_ms();
    if ms < 60_000 { format!("{}s", ms.div_ceil(1000)) } else { format!("{}m", (ms + 30_000) / 60_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    #[test]
    fn bar_shows_the_remaining_part() {
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
    fn role_and_words_follow_the_remaining_part() {
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

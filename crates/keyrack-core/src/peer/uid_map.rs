//! Map of the user ids of a user namespace (`user_namespaces(7)`).

use std::borrow::Cow;

use super::Uid;

/// Count of ids in the initial user namespace: all but the last one, which means no id.
const ALL_IDS: u64 = u32::MAX as u64;

/// User ids of one user namespace, as `/proc/<pid>/uid_map` shows them to its reader: lines of
/// first id inside, first id outside, count. Outside is the reader's namespace, or the parent when
/// the reader is in this very one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UidMap(Cow<'static, [u8]>);

/// File of the initial user namespace, as the kernel formats it.
const INITIAL: &[u8] = b"         0          0 4294967295\n";

impl UidMap {
    /// Wraps the content of a `uid_map` file. Copies it, except that of the initial namespace,
    /// since one is read for every connection. Benchmark row: "GET of one key, fresh connection,
    /// legacy".
    pub fn new(content: &[u8]) -> Self {
        UidMap(if content == INITIAL { Cow::Borrowed(INITIAL) } else { Cow::Owned(content.to_vec()) })
    }

    /// Returns the content of the file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns `true` if this is the initial user namespace. Only root outside every user namespace
    /// can write such a map for another one.
    pub fn is_initial(&self) -> bool {
        let mut extents = self.extents();
        matches!((extents.next(), extents.next()), (Some(Extent { inside: 0, count: ALL_IDS, .. }), None))
    }

    /// Returns `true` if the namespace has this user id.
    pub fn has_inside(&self, uid: Uid) -> bool {
        self.extents().any(|extent| within(extent.inside, extent.count, uid))
    }

    /// Returns `true` if the namespace has an id for this user of the reader's namespace.
    pub fn has_outside(&self, uid: Uid) -> bool {
        self.extents().any(|extent| within(extent.outside, extent.count, uid))
    }

    fn extents(&self) -> impl Iterator<Item = Extent> {
        let lines = self.0.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        // A line of another form maps nothing.
        lines.filter_map(|line| {
            let mut numbers = std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(str::parse::<u32>);
            let mut next = || numbers.next()?.ok().map(u64::from);
            let extent = Extent { inside: next()?, outside: next()?, count: next()? };
            numbers.next().is_none().then_some(extent)
        })
    }
}

/// One line of a `uid_map`. Wider than the ids, so that no sum overflows.
struct Extent {
    inside: u64,
    outside: u64,
    count: u64,
}

fn within(first: u64, count: u64, uid: Uid) -> bool {
    // The kernel shows the last id of all where it has no id to show.
    first != ALL_IDS && (first..first + count).contains(&u64::from(uid.as_raw()))
}

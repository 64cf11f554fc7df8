//! Window over a stream, addressed by positions in the whole stream.

use std::ops::Range;

use zeroize::{Zeroize, Zeroizing};

/// The last items of a stream. Items that it drops are wiped, and so are allocations that it
/// outgrows.
pub(crate) struct Window<T: Zeroize> {
    items: Zeroizing<Vec<T>>,
    /// Index of the first item that is kept.
    first: usize,
    /// Position of that item in the stream.
    start: usize,
}

impl<T: Zeroize + Copy + Default> Window<T> {
    /// Returns an empty window that begins at this position, with capacity for `room` items.
    pub(crate) fn new(start: usize, room: usize) -> Self {
        Window { items: Zeroizing::new(Vec::with_capacity(room)), first: 0, start }
    }

    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn end(&self) -> usize {
        self.start + self.items.len() - self.first
    }

    /// Returns all items of the window.
    pub(crate) fn all(&self) -> &[T] {
        &self.items[self.first..]
    }

    pub(crate) fn slice(&self, range: Range<usize>) -> &[T] {
        &self.all()[range.start - self.start..range.end - self.start]
    }

    pub(crate) fn slice_mut(&mut self, range: Range<usize>) -> &mut [T] {
        &mut self.items[self.first..][range.start - self.start..range.end - self.start]
    }

    pub(crate) fn push(&mut self, item: T) {
        self.reserve(1);
        self.items.push(item);
    }

    pub(crate) fn extend(&mut self, items: &[T]) {
        self.reserve(items.len());
        self.items.extend_from_slice(items);
    }

    /// Appends the items that `fill` writes into a slice of `count` items. It returns their number.
    pub(crate) fn extend_with(&mut self, count: usize, fill: impl FnOnce(&mut [T]) -> usize) {
        self.reserve(count);
        let before = self.items.len();
        self.items.resize(before + count, T::default());
        let written = fill(&mut self.items[before..]);
        self.items.truncate(before + written);
    }

    /// Appends a copy of a part of the window.
    pub(crate) fn repeat(&mut self, range: Range<usize>) {
        self.reserve(range.len());
        let offset = self.first;
        let start = self.start;
        self.items.extend_from_within(offset + range.start - start..offset + range.end - start);
    }

    /// Ensures capacity for `count` more items. Growth in place would leave a copy that is not
    /// wiped.
    pub(crate) fn reserve(&mut self, count: usize) {
        if self.items.len() + count <= self.items.capacity() {
            return;
        }
        let kept = self.all().len();
        let room = (kept + count).next_power_of_two().max(2 * self.items.capacity());
        let mut larger = Zeroizing::new(Vec::with_capacity(room));
        larger.extend_from_slice(self.all());
        self.items = larger;
        self.first = 0;
    }

    /// Drops all items before a position.
    pub(crate) fn drop_before(&mut self, position: usize) {
        let count = position.min(self.end()).saturating_sub(self.start);
        // Volatile writes, byte by byte, would cost more than the search. The memory stays in use,
        // so the compiler does not remove these writes.
        self.items[self.first..self.first + count].fill(T::default());
        self.first += count;
        self.start += count;
        // The rest moves only if it is the smaller half, which keeps the cost linear.
        if self.first * 2 >= self.items.len() {
            let left = self.items.len() - self.first;
            let first = self.first;
            self.items.copy_within(first.., 0);
            self.items[left.max(first)..].fill(T::default());
            self.items.truncate(left);
            self.first = 0;
        }
    }

    /// Drops all items, and begins again at a position.
    pub(crate) fn restart(&mut self, start: usize) {
        let end = self.end();
        self.drop_before(end);
        self.start = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_keeps_positions_when_items_are_dropped() {
        let mut window = Window::new(10, 4);
        window.extend(b"abcdef");
        assert_eq!((window.start(), window.end(), window.slice(12..14)), (10, 16, &b"cd"[..]));
        window.drop_before(12);
        assert_eq!((window.start(), window.end(), window.all()), (12, 16, &b"cdef"[..]));
        window.drop_before(15);
        window.push(b'g');
        assert_eq!((window.start(), window.end(), window.all()), (15, 17, &b"fg"[..]));
        window.drop_before(99);
        assert_eq!((window.start(), window.end(), window.all()), (17, 17, &b""[..]));
        window.extend_with(5, |room| {
            room[..2].copy_from_slice(b"hi");
            2
        });
        assert_eq!((window.slice(17..19), window.end()), (&b"hi"[..], 19));
    }
}

//! Allocator of one partition: it tracks which bytes of which mapping are in use. It returns
//! addresses and dereferences them only to wipe what is freed. The address of an allocation must
//! not be used after that.
//!
//! Up to 2 KiB, a value has a slot: a page is cut into slots of one size. Up to 64 KiB it has a run
//! of pages of a slab. Beyond that, a mapping of its own. Pages of any slot size and runs share the
//! 64 KiB slabs, so a small budget is not used up by one slab for each size.
#![expect(unsafe_code, reason = "wiping goes through raw addresses")]

use std::ptr::NonNull;

use super::error::{OutOfMemory, Partition};
use super::mapping::Mapping;
use super::mode::MemoryMode;
use super::page::{PAGE, wipe};

/// Bytes of a slab.
pub(super) const SLAB: usize = 64 * 1024;
const PAGES: usize = SLAB / PAGE;
const ALL_FREE: u16 = u16::MAX;

/// Slot sizes: 4096 divided by 256, 128, 85, … 2, rounded down to a multiple of 16.
const SIZES: [usize; 18] =
    [16, 32, 48, 64, 80, 96, 128, 160, 208, 256, 336, 400, 512, 672, 816, 1024, 1360, 2048];
/// The largest value that has a slot.
const LARGEST_SLOT: usize = SIZES[SIZES.len() - 1];

/// Location of an allocation: kind (2 bits), then slab (18), page (4) and slot (8), or the number
/// of its own mapping (30).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AllocId(u32);

enum Kind {
    Slot { slab: usize, page: usize, slot: usize },
    Run { slab: usize, page: usize },
    Own { mapping: usize },
}

const KIND_SHIFT: u32 = 30;
const MOST_SLABS: usize = 1 << 18;
const MOST_OWN: usize = 1 << 30;

impl AllocId {
    fn pack(kind: &Kind) -> Self {
        let (tag, rest) = match *kind {
            Kind::Slot { slab, page, slot } => (0, slab << 12 | page << 8 | slot),
            Kind::Run { slab, page } => (1, slab << 12 | page << 8),
            Kind::Own { mapping } => (2, mapping),
        };
        let rest = u32::try_from(rest).expect("slabs and mappings are counted within 30 bits");
        Self(tag << KIND_SHIFT | rest)
    }

    fn unpack(self) -> Kind {
        let rest = (self.0 & ((1 << KIND_SHIFT) - 1)) as usize;
        let (slab, page, slot) = (rest >> 12, rest >> 8 & 0xf, rest & 0xff);
        match self.0 >> KIND_SHIFT {
            0 => Kind::Slot { slab, page, slot },
            1 => Kind::Run { slab, page },
            _ => Kind::Own { mapping: rest },
        }
    }
}

/// Use of one page of a slab. Meaningless while the page is free.
#[derive(Clone, Copy)]
struct Page {
    /// The slot size's index; unused in a run.
    class: u8,
    /// Slots in use; in a run's first page, the number of its pages.
    used: u16,
    /// Index of this page in its class's list of pages with free slots, if it is there.
    listed: u32,
    /// One bit for each slot in use.
    taken: [u64; 4],
}

const NOT_LISTED: u32 = u32::MAX;
const UNUSED: Page = Page { class: 0, used: 0, listed: NOT_LISTED, taken: [0; 4] };

impl Page {
    fn slots(self) -> usize {
        PAGE / SIZES[usize::from(self.class)]
    }

    fn take_slot(&mut self) -> usize {
        let word = self.taken.iter().position(|&w| w != u64::MAX).expect("a listed page has a free slot");
        let bit = self.taken[word].trailing_ones() as usize;
        self.taken[word] |= 1 << bit;
        self.used += 1;
        word * 64 + bit
    }

    fn give_slot(&mut self, slot: usize) {
        let mask = 1 << (slot % 64);
        assert!(self.taken[slot / 64] & mask != 0, "a slot given back twice");
        self.taken[slot / 64] &= !mask;
        self.used -= 1;
    }
}

struct Slab {
    mapping: Mapping,
    /// One bit for each free page.
    free: u16,
    pages: [Page; PAGES],
}

impl Slab {
    /// The first of `pages` free pages in a row.
    fn find(&self, pages: usize) -> Option<usize> {
        let starts = (1..pages).fold(self.free, |starts, n| starts & self.free >> n);
        (starts != 0).then(|| starts.trailing_zeros() as usize)
    }
}

fn page_mask(first: usize, pages: usize) -> u16 {
    (ALL_FREE >> (PAGES - pages)) << first
}

/// An allocation: at least the bytes asked for, all zero.
#[derive(Clone, Copy)]
pub(super) struct Allocation {
    pub(super) id: AllocId,
    pub(super) at: NonNull<u8>,
    pub(super) capacity: usize,
}

pub(super) struct Arena {
    partition: Partition,
    mode: MemoryMode,
    limit: usize,
    mapped: usize,
    slabs: Vec<Option<Box<Slab>>>,
    own: Vec<Option<Mapping>>,
    /// For each slot size, the pages that have free slots, as `slab << 4 | page`.
    partial: [Vec<u32>; SIZES.len()],
}

impl Arena {
    pub(super) fn new(partition: Partition, mode: MemoryMode, limit: usize) -> Self {
        let (slabs, own) = (Vec::new(), Vec::new());
        Self { partition, mode, limit, mapped: 0, slabs, own, partial: [const { Vec::new() }; SIZES.len()] }
    }

    /// Bytes mapped now.
    pub(super) fn mapped(&self) -> usize {
        self.mapped
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Allocates `len` bytes. `len` is not 0.
    pub(super) fn allocate(&mut self, len: usize) -> Result<Allocation, OutOfMemory> {
        if len <= LARGEST_SLOT {
            self.allocate_slot(len)
        } else if len <= SLAB {
            self.allocate_run(len.div_ceil(PAGE))
        } else {
            self.allocate_own(len)
        }
    }

    /// Wipes the first `touched` bytes of an allocation, or all of it if it is smaller, and frees
    /// it.
    ///
    /// # Safety
    /// `id` came from [`Self::allocate`] of this arena and was not freed since; no reference into
    /// it is alive; and no byte after the first `touched` was written to.
    pub(super) unsafe fn give_back(&mut self, id: AllocId, touched: usize) {
        match id.unpack() {
            Kind::Slot { slab: number, page, slot } => {
                let slab = self.slab_mut(number);
                let class = usize::from(slab.pages[page].class);
                let size = SIZES[class];
                // SAFETY: the slot is mapped, and the caller holds no reference into it.
                unsafe { wipe(slab.mapping.at(page * PAGE + slot * size), size.min(touched)) };
                slab.pages[page].give_slot(slot);
                let left = slab.pages[page];
                if left.used == 0 {
                    self.unlist(number, page);
                    self.free_pages(number, page, 1);
                } else if left.listed == NOT_LISTED {
                    self.list(number, page);
                }
            }
            Kind::Run { slab: number, page } => {
                let slab = self.slab_mut(number);
                let pages = usize::from(slab.pages[page].used);
                // SAFETY: the run is mapped, and the caller holds no reference into it.
                unsafe { wipe(slab.mapping.at(page * PAGE), touched.min(pages * PAGE)) };
                self.free_pages(number, page, pages);
            }
            Kind::Own { mapping } => {
                let mapping = self.own[mapping].take().expect("a mapping given back twice");
                self.mapped -= mapping.len();
            }
        }
    }

    /// Returns the address of an allocation that was not freed.
    pub(super) fn at(&self, id: AllocId) -> NonNull<u8> {
        match id.unpack() {
            Kind::Slot { slab, page, slot } => {
                let slab = self.slab(slab);
                slab.mapping.at(page * PAGE + slot * SIZES[usize::from(slab.pages[page].class)])
            }
            Kind::Run { slab, page } => self.slab(slab).mapping.at(page * PAGE),
            Kind::Own { mapping } => {
                self.own[mapping].as_ref().expect("a place in use has its mapping").at(0)
            }
        }
    }

    /// Returns every mapping.
    pub(super) fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.slabs.iter().flatten().map(|slab| &slab.mapping).chain(self.own.iter().flatten())
    }

    fn allocate_slot(&mut self, len: usize) -> Result<Allocation, OutOfMemory> {
        let class = SIZES.iter().position(|&size| size >= len).expect("len is at most the largest slot");
        if self.partial[class].is_empty() {
            match self.take_pages(1) {
                Ok((number, page)) => {
                    let fresh =
                        Page { class: u8::try_from(class).expect("few slot sizes"), used: 0, ..UNUSED };
                    self.slab_mut(number).pages[page] = fresh;
                    self.list(number, page);
                }
                Err(error) => {
                    // No page is left: use a larger slot.
                    let larger = (class + 1..SIZES.len()).find(|&class| !self.partial[class].is_empty());
                    return larger.map(|class| self.take_slot(class)).ok_or(error);
                }
            }
        }
        Ok(self.take_slot(class))
    }

    fn take_slot(&mut self, class: usize) -> Allocation {
        let listed = *self.partial[class].last().expect("the caller saw a page with a free slot") as usize;
        let (number, page) = (listed >> 4, listed & 0xf);
        let slab = self.slab_mut(number);
        let slot = slab.pages[page].take_slot();
        let at = slab.mapping.at(page * PAGE + slot * SIZES[class]);
        let now = slab.pages[page];
        if usize::from(now.used) == now.slots() {
            self.unlist(number, page);
        }
        Allocation { id: AllocId::pack(&Kind::Slot { slab: number, page, slot }), at, capacity: SIZES[class] }
    }

    fn allocate_run(&mut self, pages: usize) -> Result<Allocation, OutOfMemory> {
        let (number, page) = self.take_pages(pages)?;
        let slab = self.slab_mut(number);
        slab.pages[page] = Page { used: u16::try_from(pages).expect("at most 16 pages"), ..UNUSED };
        let at = slab.mapping.at(page * PAGE);
        Ok(Allocation { id: AllocId::pack(&Kind::Run { slab: number, page }), at, capacity: pages * PAGE })
    }

    fn allocate_own(&mut self, len: usize) -> Result<Allocation, OutOfMemory> {
        let len = len.checked_next_multiple_of(PAGE).ok_or(self.out_of_memory(None))?;
        let mapping = self.map(len)?;
        let at = mapping.at(0);
        let number = vacancy(&mut self.own, MOST_OWN).ok_or(self.out_of_memory(None))?;
        self.own[number] = Some(mapping);
        self.mapped += len;
        Ok(Allocation { id: AllocId::pack(&Kind::Own { mapping: number }), at, capacity: len })
    }

    /// Takes free pages in a row, from a slab in use if one has them, else from the spare, else
    /// from a new one.
    fn take_pages(&mut self, pages: usize) -> Result<(usize, usize), OutOfMemory> {
        let mut found = None;
        for (number, slab) in self.slabs.iter().enumerate() {
            let Some(slab) = slab else { continue };
            if let Some(page) = slab.find(pages) {
                found = Some((number, page));
                if slab.free != ALL_FREE {
                    break;
                }
            }
        }
        let (number, page) = match found {
            Some(found) => found,
            None => (self.add_slab()?, 0),
        };
        self.slab_mut(number).free &= !page_mask(page, pages);
        Ok((number, page))
    }

    fn add_slab(&mut self) -> Result<usize, OutOfMemory> {
        let mapping = self.map(SLAB)?;
        let number = vacancy(&mut self.slabs, MOST_SLABS).ok_or(self.out_of_memory(None))?;
        self.slabs[number] = Some(Box::new(Slab { mapping, free: ALL_FREE, pages: [UNUSED; PAGES] }));
        self.mapped += SLAB;
        Ok(number)
    }

    /// Maps `len` bytes if the limit has room for them, giving the spare slab up for that if need
    /// be.
    fn map(&mut self, len: usize) -> Result<Mapping, OutOfMemory> {
        if len > self.limit - self.mapped {
            self.drop_empty_slabs(0);
        }
        if len > self.limit - self.mapped {
            return Err(self.out_of_memory(None));
        }
        Mapping::new(len, self.mode).map_err(|errno| self.out_of_memory(Some(errno as i32)))
    }

    fn free_pages(&mut self, number: usize, page: usize, pages: usize) {
        let slab = self.slab_mut(number);
        slab.free |= page_mask(page, pages);
        if slab.free == ALL_FREE {
            self.drop_empty_slabs(1);
        }
    }

    /// Unmaps the slabs nothing lies in, but for the first `keep`.
    fn drop_empty_slabs(&mut self, keep: usize) {
        let empty = self.slabs.iter_mut().filter(|slab| slab.as_ref().is_some_and(|s| s.free == ALL_FREE));
        for slab in empty.skip(keep) {
            *slab = None;
            self.mapped -= SLAB;
        }
    }

    fn list(&mut self, number: usize, page: usize) {
        let class = usize::from(self.slab(number).pages[page].class);
        let position = u32::try_from(self.partial[class].len()).expect("fewer pages than 2^22");
        let listed = u32::try_from(number << 4 | page).expect("slabs are counted within 18 bits");
        self.partial[class].push(listed);
        self.slab_mut(number).pages[page].listed = position;
    }

    fn unlist(&mut self, number: usize, page: usize) {
        let Page { class, listed, .. } = self.slab(number).pages[page];
        if listed == NOT_LISTED {
            return;
        }
        let pages = &mut self.partial[usize::from(class)];
        pages.swap_remove(listed as usize);
        if let Some(&moved) = pages.get(listed as usize) {
            let moved = moved as usize;
            self.slab_mut(moved >> 4).pages[moved & 0xf].listed = listed;
        }
        self.slab_mut(number).pages[page].listed = NOT_LISTED;
    }

    fn slab(&self, number: usize) -> &Slab {
        self.slabs[number].as_ref().expect("a slab in use is mapped")
    }

    fn slab_mut(&mut self, number: usize) -> &mut Slab {
        self.slabs[number].as_mut().expect("a slab in use is mapped")
    }

    fn out_of_memory(&self, errno: Option<i32>) -> OutOfMemory {
        OutOfMemory { partition: self.partition, limit: self.limit, errno }
    }
}

/// The number of a free place in `list`, which grows by one if it has none and fewer than `most`.
fn vacancy<T>(list: &mut Vec<Option<T>>, most: usize) -> Option<usize> {
    list.iter().position(Option::is_none).or_else(|| {
        (list.len() < most).then(|| {
            list.push(None);
            list.len() - 1
        })
    })
}

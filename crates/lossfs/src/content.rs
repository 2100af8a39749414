//! The bytes of one file: as readers see them, and as they would be after a power loss.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::rng::Rng;

/// What reaches the disk whole or not at all, in bytes.
pub(crate) const PAGE_BYTES: usize = 4096;

const PAGE: u64 = PAGE_BYTES as u64;

type Page = [u8; PAGE_BYTES];

/// Sparse content. A missing page reads as zeros; the part of a page behind `size` is always zero.
#[derive(Clone, Debug, Default)]
struct Pages {
    size: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

impl Pages {
    fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let end = self.size.min(offset.saturating_add(length as u64));
        if offset >= end {
            return Vec::new();
        }
        let mut bytes = vec![0; to_usize(end - offset)];
        for (&index, page) in self.pages.range(offset / PAGE..=(end - 1) / PAGE) {
            let start = index * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            bytes[to_usize(from - offset)..to_usize(to - offset)]
                .copy_from_slice(&page[to_usize(from - start)..to_usize(to - start)]);
        }
        bytes
    }

    /// Cuts to `size` or fewer bytes; never grows.
    fn cut(&mut self, size: u64) {
        if size >= self.size {
            return;
        }
        self.size = size;
        self.pages.split_off(&size.div_ceil(PAGE));
        let used = to_usize(size % PAGE);
        if used > 0
            && let Some(page) = self.pages.get_mut(&(size / PAGE))
        {
            Arc::make_mut(page)[used..].fill(0);
        }
    }

    /// Takes page `index` from `source`, also where that has a hole.
    fn take_page(&mut self, index: u64, source: &Pages) {
        match source.pages.get(&index) {
            Some(page) => self.pages.insert(index, Arc::clone(page)),
            None => self.pages.remove(&index),
        };
    }
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("offsets inside content held in memory fit the address space")
}

/// What a crash did to one file, in pages of 4 KiB whose change was not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DataLoss {
    pub(crate) pages_dropped: u64,
    pub(crate) pages_kept: u64,
}

/// The content of a regular file. Durable pages are shared with the live ones until these change.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileData {
    live: Pages,
    durable: Pages,
    /// The pages in which `live` may differ from `durable`.
    dirty: BTreeSet<u64>,
}

impl FileData {
    pub(crate) fn size(&self) -> u64 {
        self.live.size
    }

    /// The bytes a page would hold on a disk, for `st_blocks`.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.live.pages.len() as u64 * PAGE
    }

    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        self.live.read(offset, length)
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let inside = to_usize(at % PAGE);
            let (now, later) = rest.split_at(rest.len().min(PAGE_BYTES - inside));
            let page = self.live.pages.entry(at / PAGE).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[inside..inside + now.len()].copy_from_slice(now);
            self.dirty.insert(at / PAGE);
            at += now.len() as u64;
            rest = later;
        }
        if !data.is_empty() {
            self.live.size = self.live.size.max(at);
        }
    }

    pub(crate) fn truncate(&mut self, size: u64) {
        if size < self.live.size {
            let first_changed = size / PAGE;
            self.dirty.extend(self.live.pages.range(first_changed..).map(|(&index, _)| index));
            self.live.cut(size);
        }
        self.live.size = size;
    }

    /// Makes the content durable as it is now.
    pub(crate) fn sync(&mut self) {
        for index in std::mem::take(&mut self.dirty) {
            self.durable.take_page(index, &self.live);
        }
        self.durable.size = self.live.size;
    }

    /// Forgets what was not synced; with `torn`, a random part of it survives.
    pub(crate) fn crash(&mut self, torn: Option<&mut Rng>) -> DataLoss {
        let mut loss = DataLoss::default();
        if let Some(rng) = torn {
            loss.pages_kept = self.tear(rng);
        }
        loss.pages_dropped = self.dirty.len() as u64 - loss.pages_kept;
        self.dirty.clear();
        self.live = self.durable.clone();
        loss
    }

    /// Lets a random subset of the dirty pages and a possible size reach the disk. Returns the pages kept.
    fn tear(&mut self, rng: &mut Rng) -> u64 {
        if self.dirty.is_empty() && self.live.size == self.durable.size {
            return 0;
        }
        let size = self.torn_size(rng);
        // One inclination per file: otherwise every file would keep about half of its pages.
        let in_eight = [1, 4, 7][to_usize(rng.up_to(2))];
        let mut kept = 0;
        for &index in &self.dirty {
            if rng.eighths(in_eight) {
                self.durable.take_page(index, &self.live);
                kept += 1;
            }
        }
        self.durable.size = self.live.size.max(self.durable.size);
        self.durable.cut(size);
        kept
    }

    /// The old size, the new one or, while growing, a page boundary in between: file systems take the size
    /// along as pages are written.
    fn torn_size(&self, rng: &mut Rng) -> u64 {
        let (old, new) = (self.durable.size, self.live.size);
        match rng.up_to(2) {
            0 => old,
            1 => new,
            _ if new > old => {
                (((old / PAGE) + rng.up_to(new.div_ceil(PAGE) - old / PAGE)) * PAGE).clamp(old, new)
            }
            _ => new,
        }
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;

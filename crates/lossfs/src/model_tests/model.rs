//! The obvious model: every directory and file keeps a copy made when it was last synced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Op, PathParts, Snapshot, WRITE_BYTES, World, with_first_paths};
use crate::Rules;

#[derive(Clone, Debug)]
enum Thing {
    File { live: Vec<u8>, durable: Vec<u8> },
    Directory { live: BTreeMap<&'static str, usize>, durable: BTreeMap<&'static str, usize> },
}

/// One name of one directory set or removed.
pub(super) type Setting = (usize, &'static str, Option<usize>);

/// Every directory has a copy of its names, every file of its bytes, made when it was last synced.
#[derive(Clone, Debug)]
pub(super) struct Model {
    things: Vec<Thing>,
    rules: Rules,
    /// What each operation set, without what has been synced since.
    pub(super) log: Vec<Vec<Setting>>,
}

impl Model {
    pub(super) fn new(rules: Rules) -> Model {
        let root = Thing::Directory { live: BTreeMap::new(), durable: BTreeMap::new() };
        Model { things: vec![root], rules, log: Vec::new() }
    }

    fn names(&self, thing: usize) -> Option<&BTreeMap<&'static str, usize>> {
        match &self.things[thing] {
            Thing::Directory { live, .. } => Some(live),
            Thing::File { .. } => None,
        }
    }

    fn find(&self, path: &[&'static str]) -> Option<usize> {
        path.iter().try_fold(0, |thing, part| self.names(thing)?.get(part).copied())
    }

    /// The directory and name of a path, and what it means.
    fn place(&self, path: &[&'static str]) -> Option<(usize, &'static str, Option<usize>)> {
        let (last, parents) = path.split_last()?;
        let parent = self.find(parents)?;
        Some((parent, *last, self.names(parent)?.get(last).copied()))
    }

    fn set(&mut self, settings: Vec<Setting>) {
        for &(parent, name, thing) in &settings {
            let Thing::Directory { live, .. } = &mut self.things[parent] else { panic!("no directory") };
            match thing {
                Some(thing) => live.insert(name, thing),
                None => live.remove(name),
            };
        }
        self.log.push(settings);
    }

    fn make(&mut self, path: &[&'static str], thing: Thing) -> Option<()> {
        let (parent, name, old) = self.place(path)?;
        if old.is_some() {
            return None;
        }
        self.things.push(thing);
        self.set(vec![(parent, name, Some(self.things.len() - 1))]);
        Some(())
    }

    fn rename(&mut self, from: &PathParts, to: &PathParts) -> Option<()> {
        let (old_parent, old_name, thing) = self.place(from)?;
        let (new_parent, new_name, target) = self.place(to)?;
        let thing = thing?;
        if to.len() > from.len() && to.starts_with(from) {
            return None;
        }
        if target == Some(thing) {
            return Some(());
        }
        match target.map(|target| (self.names(thing), self.names(target))) {
            None | Some((None, None)) => {}
            Some((Some(_), Some(names))) if names.is_empty() => {}
            Some(_) => return None,
        }
        self.set(vec![(old_parent, old_name, None), (new_parent, new_name, Some(thing))]);
        Some(())
    }

    fn try_apply(&mut self, op: &Op) -> Option<()> {
        match op {
            Op::Create(path) => self.make(path, Thing::File { live: vec![], durable: vec![] }),
            Op::Mkdir(path) => {
                self.make(path, Thing::Directory { live: BTreeMap::new(), durable: BTreeMap::new() })
            }
            Op::Write(path, at, fill) => {
                let thing = self.find(path)?;
                let Thing::File { live, .. } = &mut self.things[thing] else { return None };
                let at = usize::from(*at);
                live.resize(live.len().max(at + WRITE_BYTES), 0);
                live[at..at + WRITE_BYTES].fill(*fill);
                Some(())
            }
            Op::Truncate(path, size) => {
                let thing = self.find(path)?;
                let Thing::File { live, .. } = &mut self.things[thing] else { return None };
                live.resize(usize::from(*size), 0);
                Some(())
            }
            Op::Link(from, to) => {
                let thing = self.find(from)?;
                let (parent, name, old) = self.place(to)?;
                if old.is_some() || self.names(thing).is_some() {
                    return None;
                }
                self.set(vec![(parent, name, Some(thing))]);
                Some(())
            }
            Op::Rename(from, to) => self.rename(from, to),
            Op::Exchange(from, to) => {
                let (parent, name, thing) = self.place(from)?;
                let (other_parent, other_name, other) = self.place(to)?;
                let (thing, other) = (thing?, other?);
                if from != to && (from.starts_with(to) || to.starts_with(from)) {
                    return None;
                }
                if thing != other {
                    self.set(vec![(parent, name, Some(other)), (other_parent, other_name, Some(thing))]);
                }
                Some(())
            }
            Op::Unlink(path) => {
                let (parent, name, thing) = self.place(path)?;
                if self.names(thing?).is_some() {
                    return None;
                }
                self.set(vec![(parent, name, None)]);
                Some(())
            }
            Op::Rmdir(path) => {
                let (parent, name, thing) = self.place(path)?;
                if !self.names(thing?)?.is_empty() {
                    return None;
                }
                self.set(vec![(parent, name, None)]);
                Some(())
            }
            Op::SyncFile(path) => self.sync_file(path),
            Op::SyncDirectory(path) => {
                let thing = self.find(path)?;
                let Thing::Directory { live, durable } = &mut self.things[thing] else { return None };
                *durable = live.clone();
                for operation in &mut self.log {
                    operation.retain(|(parent, ..)| *parent != thing);
                }
                Some(())
            }
            Op::Crash => {
                self.crash(0);
                Some(())
            }
        }
    }

    fn sync_file(&mut self, path: &[&'static str]) -> Option<()> {
        let synced = self.find(path)?;
        let Thing::File { live, durable } = &mut self.things[synced] else { return None };
        *durable = live.clone();
        if self.rules.file_sync_keeps_names {
            for thing in &mut self.things {
                if let Thing::Directory { live, durable } = thing {
                    durable.extend(live.iter().filter(|(_, named)| **named == synced));
                }
            }
        }
        Some(())
    }

    /// Drops what is not durable, after the first `kept` operations with something un-synced became so.
    pub(super) fn crash(&mut self, kept: usize) {
        let log = std::mem::take(&mut self.log);
        for (parent, name, thing) in log.into_iter().filter(|o| !o.is_empty()).take(kept).flatten() {
            let Thing::Directory { durable, .. } = &mut self.things[parent] else { panic!("no directory") };
            match thing {
                Some(thing) => durable.insert(name, thing),
                None => durable.remove(name),
            };
        }
        let mut placed = BTreeSet::from([0]);
        let mut open = VecDeque::from([0]);
        while let Some(thing) = open.pop_front() {
            let Thing::Directory { durable, .. } = &self.things[thing] else { panic!("no directory") };
            let mut names = durable.clone();
            names.retain(|_, &mut child| {
                matches!(self.things[child], Thing::File { .. }) || {
                    open.push_back(child);
                    placed.insert(child) || {
                        open.pop_back();
                        false
                    }
                }
            });
            self.things[thing] = Thing::Directory { live: names.clone(), durable: names };
        }
        for thing in &mut self.things {
            if let Thing::File { live, durable } = thing {
                *live = durable.clone();
            }
        }
    }
}

impl World for Model {
    fn apply(&mut self, op: &Op) -> bool {
        self.try_apply(op).is_some()
    }

    fn snapshot(&self) -> Snapshot {
        let mut found = BTreeMap::new();
        let mut open = vec![(String::new(), 0)];
        while let Some((path, thing)) = open.pop() {
            let names = self.names(thing).unwrap();
            for (name, &child) in names {
                let path = format!("{path}/{name}");
                match &self.things[child] {
                    Thing::Directory { .. } => {
                        open.push((path.clone(), child));
                        found.insert(path, None);
                    }
                    Thing::File { live, .. } => {
                        found.insert(path, Some((live.clone(), child)));
                    }
                }
            }
        }
        with_first_paths(found)
    }
}

//! Blobs on their way: the hold that keeps them, and copying a few at once within bounds of memory.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use gristmill_db::{Db, DbError, Tx, blob};
use gristmill_model::Digest;
use gristmill_storage::{Blob, BlobReader, Storage, StorageError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How much of a blob is in memory at once; smaller ones are there whole.
pub(super) const PIECE_BYTES: u64 = 4 << 20;
/// Blobs under way at once: they wait for syncs and for answers of other machines more than they compute.
pub(super) const AT_ONCE: usize = 16;
/// How long a hold lasts without being prolonged.
const HOLD: Duration = gristmill_db::clock::HOLD_MAX;
/// How often it is prolonged.
const HOLD_AGAIN: Duration = Duration::from_secs(60);
/// Digests read at once.
const PAGE: i64 = 20_000;

/// Keeps the collector from taking blobs, until it is dropped. A thread prolongs it.
pub(super) struct Hold {
    db: Db,
    id: String,
    /// The thread ends with it.
    end: Option<Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Hold {
    pub(super) fn take(db: &Db) -> anyhow::Result<Hold> {
        let id = format!("{:032x}", db.random());
        let this = id.clone();
        db.transact_blocking(move |tx| blob::hold(tx, &this, HOLD))?;
        let (end, ended) = channel::<()>();
        let (this, of) = (id.clone(), db.clone());
        let thread = std::thread::Builder::new().name("hold".to_owned()).spawn(move || {
            while ended.recv_timeout(HOLD_AGAIN) == Err(RecvTimeoutError::Timeout) {
                // Where it is lost, `prove` says so; where the database fails, the next time may do.
                if let Err(error) = prolong(&of, &this) {
                    tracing::warn!(%error, "the hold on the blobs is not prolonged; it is tried again");
                }
            }
        })?;
        Ok(Hold { db: db.clone(), id, end: Some(end), thread: Some(thread) })
    }

    /// Proves that no blob can have gone since it was taken.
    pub(super) fn prove(&self) -> anyhow::Result<()> {
        let held = prolong(&self.db, &self.id)?;
        ensure!(held, "the hold on the blobs ran out, as this machine was asleep; begin again");
        Ok(())
    }
}

/// Whether there was something to prolong.
fn prolong(db: &Db, id: &str) -> Result<bool, DbError> {
    let id = id.to_owned();
    db.transact_blocking(move |tx| blob::hold_on(tx, &id, HOLD))
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It panics nowhere, and the hold runs out by itself.
            let _ = thread.join();
        }
        let this = self.id.clone();
        // Where this fails it runs out by itself.
        if let Err(error) = self.db.transact_blocking(move |tx| blob::let_go(tx, &this)) {
            tracing::warn!(%error, "the hold on the blobs is not let go; it runs out by itself");
        }
    }
}

/// All blobs that rows refer to, in order: 32 bytes of memory each.
pub(super) fn needed(tx: &mut Tx<'_>) -> Result<Vec<Digest>, DbError> {
    let mut all: Vec<Digest> = Vec::new();
    loop {
        let page = blob::needed(tx, all.last().copied(), PAGE)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The outcomes of what is begun, in the order in which it was, a few under way at once.
pub(super) struct Ahead<T> {
    handle: Handle,
    under_way: VecDeque<JoinHandle<T>>,
}

impl<T: Send + 'static> Ahead<T> {
    pub(super) fn new(handle: &Handle) -> Ahead<T> {
        Ahead { handle: handle.clone(), under_way: VecDeque::new() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.under_way.len() < AT_ONCE
    }

    pub(super) fn begin(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.under_way.push_back(self.handle.spawn(work));
    }

    /// The outcome of the oldest; `None` where nothing is under way.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<T>> {
        let Some(oldest) = self.under_way.pop_front() else { return Ok(None) };
        Ok(Some(self.handle.block_on(oldest).context("a part of the work ended badly")?))
    }
}

/// A blob that was opened, with its first piece.
pub(super) struct Opened {
    pub(super) digest: Digest,
    pub(super) reader: BlobReader,
    pub(super) first: Vec<u8>,
}

/// Opens a blob and reads the first piece; `None` where there is none.
pub(super) async fn open(storage: Storage, digest: Digest) -> anyhow::Result<Option<Opened>> {
    let reader = match storage.open_blob(&digest).await {
        Ok(reader) => reader,
        Err(StorageError::BlobMissing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let first = reader.read_range(0..reader.len().min(PIECE_BYTES)).await?;
    Ok(Some(Opened { digest, reader, first }))
}

/// Copies one blob to another storage; its size, `None` where it is missing or not what its name says.
pub(super) async fn copy(from: Storage, to: Storage, digest: Digest) -> anyhow::Result<Option<u64>> {
    let Some(opened) = open(from, digest).await? else { return Ok(None) };
    let size = opened.reader.len();
    let stored = if size <= PIECE_BYTES {
        if Digest::of(&opened.first) != digest {
            return Ok(None);
        }
        to.put_bytes(opened.first).await?
    } else {
        let mut staged = to.stage().await?;
        let (mut piece, mut at) = (opened.first, 0);
        loop {
            at += piece.len() as u64;
            let writing = tokio::task::spawn_blocking(move || {
                let written = std::io::Write::write_all(&mut staged, &piece);
                written.map(|()| staged)
            });
            staged = writing.await?.map_err(|error| StorageError::from_io("writing a blob", error))?;
            if at == size {
                break;
            }
            piece = opened.reader.read_range(at..size.min(at + PIECE_BYTES)).await?;
        }
        staged.commit().await?
    };
    Ok((stored.digest == digest).then_some(stored.size))
}

/// Looks for blobs in a storage; those that are not there.
pub(super) fn absent(storage: &Storage, handle: &Handle, digests: &[Digest]) -> anyhow::Result<Vec<Digest>> {
    let (mut ahead, mut absent) = (Ahead::new(handle), Vec::new());
    let mut waiting = digests.iter().copied();
    loop {
        while ahead.has_room()
            && let Some(digest) = waiting.next()
        {
            let storage = storage.clone();
            ahead.begin(async move { storage.contains(&digest).await.map(|there| (digest, there)) });
        }
        match ahead.next()? {
            None => return Ok(absent),
            Some(looked) => {
                let (digest, there) = looked?;
                if !there {
                    absent.push(digest);
                }
            }
        }
    }
}

/// An error where blobs are missing.
pub(super) fn refuse_missing(missing: &[Digest], what: &str) -> anyhow::Result<()> {
    let Some(first) = missing.first() else { return Ok(()) };
    bail!(
        "{} blobs that rows refer to are missing or damaged in the storage, the first of them {first}; {what}",
        missing.len()
    )
}

/// Stores a small blob of which only these bytes are the right ones.
pub(super) async fn put(storage: Storage, digest: Digest, bytes: Vec<u8>) -> anyhow::Result<Blob> {
    let stored = storage.put_bytes(bytes).await?;
    ensure!(stored.digest == digest, "blob {digest} in it holds other bytes");
    Ok(stored)
}

//! The end of blobs: marked, deleted, forgotten.
//!
//! A job stores bytes first and records them a moment later. Its two defences are the mark, which makes
//! the recording fail so that the job stores its bytes again, and the file's age, which storing renews:
//! a young file is never deleted, only its mark or its row goes.

use gristmill_db::{DbError, Tx, blob};
use gristmill_model::Digest;
use gristmill_storage::{BlobEntry, StorageError};

use super::{Moments, PAGE, PLAN_ROWS_MAX, Report};
use crate::app::App;

/// What may be done with a blob's file.
enum Fate {
    /// It is old: it may go.
    Old(BlobEntry),
    /// Somebody stored it lately.
    Young,
    /// There is no file.
    Absent,
}

async fn fate(app: &App, digest: Digest, moments: Moments) -> Result<Fate, StorageError> {
    let page = app.storage.list_blobs(predecessor(digest), 1).await?;
    Ok(match page.first().filter(|entry| entry.blob.digest == digest) {
        None => Fate::Absent,
        Some(entry) if entry.touched < moments.grace_before => Fate::Old(*entry),
        Some(_) => Fate::Young,
    })
}

/// The digest just before this one; `None` before the first.
fn predecessor(digest: Digest) -> Option<Digest> {
    let mut bytes = *digest.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (less, borrows) = byte.overflowing_sub(1);
        *byte = less;
        if !borrows {
            return Some(Digest::from_bytes(bytes));
        }
    }
    None
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// In a transaction that is taken back: which blobs a collection would look at.
pub(super) fn plan(tx: &mut Tx<'_>, moments: Moments) -> Result<Vec<Digest>, DbError> {
    let limit = i64::try_from(PLAN_ROWS_MAX).expect("a small number");
    let mut blobs = blob::deleting(tx, limit)?;
    blobs.extend(blob::unused(tx, moments.grace_before, limit)?.into_iter().map(|(digest, _)| digest));
    Ok(blobs)
}

/// Counts what of a plan would really be deleted, and the files that no row knows.
pub(super) async fn measure(
    app: &App,
    planned: &[Digest],
    moments: Moments,
    report: &mut Report,
) -> anyhow::Result<()> {
    for digest in planned {
        if let Fate::Old(entry) = fate(app, *digest, moments).await? {
            add(report, entry);
        }
    }
    let mut unknown = Unknown::default();
    while let Some(page) = unknown.next_page(app, moments).await? {
        page.into_iter().for_each(|entry| add(report, entry));
    }
    Ok(())
}

fn add(report: &mut Report, entry: BlobEntry) {
    report.blobs += 1;
    report.bytes += entry.blob.size;
}

/// Finishes what a collection that died had marked.
pub(super) async fn finish_deleting(app: &App, moments: Moments, report: &mut Report) -> anyhow::Result<()> {
    loop {
        let marked = app.db.read(|tx| blob::deleting(tx, rows(PAGE))).await?;
        if marked.is_empty() {
            return Ok(());
        }
        delete_marked(app, marked, moments, report).await?;
    }
}

/// Marks and deletes what nothing refers to.
pub(super) async fn delete_unused(app: &App, moments: Moments, report: &mut Report) -> anyhow::Result<()> {
    let mut limit = PAGE;
    loop {
        let page = app.db.read(move |tx| blob::unused(tx, moments.grace_before, rows(limit))).await?;
        let is_last = page.len() < limit;
        let mut old = Vec::new();
        for (digest, _) in &page {
            if !matches!(fate(app, *digest, moments).await?, Fate::Young) {
                old.push(*digest);
            }
        }
        let young = page.len() - old.len();
        let marked = app.db.transact(move |tx| {
            let mut marked = Vec::with_capacity(old.len());
            for digest in &old {
                if blob::mark_deleting(tx, *digest)? {
                    marked.push(*digest);
                }
            }
            Ok::<_, DbError>(marked)
        });
        let marked = marked.await?;
        let nothing_done = marked.is_empty();
        delete_marked(app, marked, moments, report).await?;
        if is_last || nothing_done && young == 0 {
            return Ok(());
        }
        // Young ones fill the front of the next page too.
        limit = PAGE + young;
    }
}

/// Deletes marked blobs and forgets them.
async fn delete_marked(
    app: &App,
    marked: Vec<Digest>,
    moments: Moments,
    report: &mut Report,
) -> anyhow::Result<()> {
    for digest in &marked {
        // Looked at again: a job may have stored it since. Then the file stays and only the row goes,
        // so that the job can record it anew.
        if let Fate::Old(entry) = fate(app, *digest, moments).await?
            && app.storage.delete_blob(digest).await?
        {
            add(report, entry);
        }
    }
    let forgetting = app.db.transact(move |tx| marked.iter().try_for_each(|digest| blob::gone(tx, *digest)));
    Ok(forgetting.await?)
}

/// Deletes files that no transaction got round to recording.
pub(super) async fn delete_unknown(app: &App, moments: Moments, report: &mut Report) -> anyhow::Result<()> {
    let mut unknown = Unknown::default();
    while let Some(page) = unknown.next_page(app, moments).await? {
        for entry in page {
            let digest = entry.blob.digest;
            if matches!(fate(app, digest, moments).await?, Fate::Old(_))
                && app.storage.delete_blob(&digest).await?
            {
                add(report, entry);
            }
        }
    }
    Ok(())
}

/// Goes through the storage for old files that the database does not know.
#[derive(Default)]
struct Unknown {
    after: Option<Digest>,
}

impl Unknown {
    /// The unknown ones of the next page of files; `None` at the end.
    async fn next_page(&mut self, app: &App, moments: Moments) -> anyhow::Result<Option<Vec<BlobEntry>>> {
        let page = app.storage.list_blobs(self.after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.blob.digest);
        let old: Vec<BlobEntry> =
            page.into_iter().filter(|entry| entry.touched < moments.grace_before).collect();
        let unknown = app.db.read(move |tx| {
            let mut unknown = Vec::new();
            for entry in &old {
                if !blob::is_known(tx, entry.blob.digest)? {
                    unknown.push(*entry);
                }
            }
            Ok(unknown)
        });
        Ok(Some(unknown.await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_before() {
        let digest = |last: [u8; 2]| {
            let mut bytes = [0; 32];
            bytes[30..].copy_from_slice(&last);
            Digest::from_bytes(bytes)
        };
        assert_eq!(predecessor(digest([0, 7])), Some(digest([0, 6])));
        assert_eq!(predecessor(digest([1, 0])), Some(digest([0, 255])));
        assert_eq!(predecessor(digest([0, 0])), None);
    }
}

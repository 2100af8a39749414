//! [`BlobBody`]: a part of a blob on its way to a client, in bounded pieces.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::HttpBody;
use bytes::{Bytes, BytesMut};
use gristmill_storage::BlobReader;
use hyper::body::{Frame, SizeHint};
use tokio::task::JoinHandle;

/// The most bytes held for one client: large enough that the calls do not count.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes `[at, end)` of a blob. Reads the next piece only once the client took the one before, into
/// the same memory where that is free again.
pub(super) struct BlobBody {
    blob: BlobReader,
    at: u64,
    end: u64,
    buffer: BytesMut,
    reading: Option<JoinHandle<io::Result<BytesMut>>>,
}

impl BlobBody {
    /// The bytes from `at` to before `end`, which must lie within the blob.
    pub(super) fn new(blob: BlobReader, at: u64, end: u64) -> BlobBody {
        debug_assert!(at <= end && end <= blob.len(), "the caller asked for a part of the blob");
        BlobBody { blob, at, end, buffer: BytesMut::new(), reading: None }
    }

    fn left(&self) -> u64 {
        self.end - self.at
    }

    fn read_next(&mut self) -> JoinHandle<io::Result<BytesMut>> {
        let length = usize::try_from(self.left()).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let (blob, at, mut buffer) = (self.blob.clone(), self.at, std::mem::take(&mut self.buffer));
        tokio::task::spawn_blocking(move || {
            buffer.clear();
            buffer.resize(length, 0);
            blob.read_exact_at(&mut buffer, at)?;
            Ok(buffer)
        })
    }
}

impl HttpBody for BlobBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.read_next(),
        };
        let Poll::Ready(read) = Pin::new(&mut reading).poll(context) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let read = read.unwrap_or_else(|stopping| Err(io::Error::other(stopping)));
        match read {
            Ok(mut buffer) => {
                let piece = buffer.split().freeze();
                self.at += piece.len() as u64;
                self.buffer = buffer;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Err(error) => {
                let blob = self.blob.blob().digest;
                tracing::error!(%error, blob.digest = %blob, "a blob could not be read to its end; its client was cut off");
                // Nothing comes after an error.
                self.at = self.end;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

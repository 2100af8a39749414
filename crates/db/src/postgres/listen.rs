//! [`Listener`]: hears when any program on the same database has made work.

use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_postgres::AsyncMessage;

use super::url::PostgresUrl;

/// How long to wait before connecting again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often the server is asked whether it is still there; it has as long to answer.
const STILL_THERE: Duration = Duration::from_secs(20);

/// A thread that listens until this is dropped.
pub(crate) struct Listener {
    _stop: oneshot::Sender<()>,
}

impl Listener {
    /// Calls `wake` for each notification, and after each new connection, because some may have been missed.
    pub(crate) fn start(url: PostgresUrl, wake: Box<dyn Fn() + Send>) -> Listener {
        let (stop, stopped) = oneshot::channel::<()>();
        let listening = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    return tracing::error!(%error, "nothing listens for other programs' work; it is found a moment later");
                }
            };
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped => {}
                    () = listen(&url, &*wake) => {}
                }
            });
        };
        std::thread::Builder::new()
            .name("listener".to_owned())
            .spawn(listening)
            .expect("the system can start a thread");
        Listener { _stop: stop }
    }
}

async fn listen(url: &PostgresUrl, wake: &dyn Fn()) {
    let mut is_said = false;
    loop {
        let why = match tokio::time::timeout(CONNECT_MAX, url.connect()).await {
            Ok(Ok(connected)) => {
                if std::mem::take(&mut is_said) {
                    tracing::info!("other programs' work is heard of again");
                }
                hear(connected, wake).await;
                None
            }
            Ok(Err(error)) => Some(super::error::of(&error).to_string()),
            Err(_) => Some(format!("no answer within {} s", CONNECT_MAX.as_secs())),
        };
        if let Some(error) = why.filter(|_| !std::mem::replace(&mut is_said, true)) {
            tracing::warn!(
                error,
                "the database tells nothing of other programs' work, which is found a moment later"
            );
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Until the connection ends.
async fn hear((client, mut connection): super::url::Connected, wake: &dyn Fn()) {
    let hearing = async {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if matches!(message, AsyncMessage::Notification(_)) {
                wake();
            }
        }
    };
    let asking = async {
        if client
            .batch_execute("SET application_name = 'gristmill, listening'; LISTEN gristmill")
            .await
            .is_err()
        {
            return;
        }
        wake();
        loop {
            tokio::time::sleep(STILL_THERE).await;
            if !matches!(tokio::time::timeout(STILL_THERE, client.batch_execute("")).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    tokio::select! {
        () = hearing => {}
        () = asking => {}
    }
}

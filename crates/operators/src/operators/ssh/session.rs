//! A connection to a server, which is closed when nobody holds it any more.

use std::{borrow::Cow, sync::Arc, time::Duration};

use russh::{
    Channel, Disconnect, MethodKind, Preferred,
    client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse, Msg},
    keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate},
};
use tokio::{net::TcpStream, time::timeout};

use super::{
    fault::{Broken, Fault},
    known::Trust,
    server::Server,
};

/// How long a server may take to let one in, once it is there: it may ask a directory about the account.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a server may take to say good-bye.
const FAREWELL: Duration = Duration::from_secs(5);

/// A connection whose account is let in.
pub(super) struct Session {
    handle: Option<Handle<Client>>,
}

/// What hears the server.
pub(super) struct Client {
    trust: Trust,
    host: String,
    port: u16,
}

impl client::Handler for Client {
    type Error = Broken;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.trust.judge(key, &self.host, self.port).map_err(Broken::Untrusted)?;
                Ok(true)
            }
            // None was asked for.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }
}

impl Session {
    /// Connects and logs in.
    pub(super) async fn open(server: &Server) -> Result<Self, Fault> {
        let late =
            |what: &str, limit: Duration| server.fault(format!("the server has not {what} within {limit:?}"));
        let connecting = TcpStream::connect((&*server.host, server.port));
        let stream = timeout(server.patience, connecting)
            .await
            .map_err(|_| late("answered", server.patience))?
            .map_err(|error| {
                server.fault(format!(
                    "no server answers ({error}): check its host and port, and whether it runs"
                ))
            })?;
        // Small messages go at once; where that can't be had, they go a little later.
        let _ = stream.set_nodelay(true);
        let client = Client { trust: server.trust.clone(), host: server.host.clone(), port: server.port };
        let meeting = client::connect_stream(config(server), stream, client);
        let handle =
            timeout(server.patience, meeting).await.map_err(|_| late("answered", server.patience))?;
        let mut session = Self { handle: Some(handle.map_err(|broken| server.broken(broken))?) };
        timeout(PATIENCE, session.log_in(server))
            .await
            .map_err(|_| late("let the account in", PATIENCE))??;
        Ok(session)
    }

    async fn log_in(&mut self, server: &Server) -> Result<(), Fault> {
        let Some(handle) = &mut self.handle else { return Ok(()) };
        let broken = |error: russh::Error| server.broken(error.into());
        let account = &server.account;
        let mut remaining = None;
        if let Some(key) = &account.key {
            let hash = handle.best_supported_rsa_hash().await.map_err(broken)?.flatten();
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            match handle.authenticate_publickey(&account.login, key).await.map_err(broken)? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => remaining = Some(remaining_methods),
            }
        }
        if let Some(password) = &account.password {
            match handle.authenticate_password(&account.login, password).await.map_err(broken)? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => {
                    let may_ask = remaining_methods.contains(&MethodKind::KeyboardInteractive);
                    remaining = Some(remaining_methods);
                    if may_ask && answer(handle, &account.login, password).await.map_err(broken)? {
                        return Ok(());
                    }
                }
            }
        }
        if handle.is_closed() {
            return Err(broken(russh::Error::Disconnect));
        }
        let takes = remaining.iter().flat_map(|methods| methods.iter()).map(<&str>::from).collect::<Vec<_>>();
        let takes = if takes.is_empty() { "nothing more".to_owned() } else { takes.join(", ") };
        let tried = match (&account.key, &account.password) {
            (Some(_), Some(_)) => "neither its key nor its password",
            (Some(_), None) => "not by its key",
            (None, _) => "not by its password",
        };
        Err(server.fault(format!(
            "the server does not let the account in, {tried} (it takes {takes}): check the connection's login, \
             password and key"
        )))
    }

    fn handle(&self) -> Result<&Handle<Client>, russh::Error> {
        self.handle.as_ref().ok_or(russh::Error::Disconnect)
    }

    /// A channel, on which a command runs or files are moved.
    pub(super) async fn channel(&self, server: &Server) -> Result<Channel<Msg>, Fault> {
        let opened = async { self.handle()?.channel_open_session().await };
        timeout(PATIENCE, opened)
            .await
            .map_err(|_| server.fault(format!("the server has opened no channel within {PATIENCE:?}")))?
            .map_err(|error| server.broken(error.into()))
    }

    /// Says good-bye.
    pub(super) async fn close(mut self) {
        if let Some(handle) = self.handle.take() {
            disconnect(handle).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let (Some(handle), Ok(runtime)) = (self.handle.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(disconnect(handle));
        }
    }
}

async fn disconnect(handle: Handle<Client>) {
    // A server that is gone has nothing to be told.
    let _ = timeout(FAREWELL, handle.disconnect(Disconnect::ByApplication, "", "")).await;
    let _ = timeout(FAREWELL, handle).await;
}

fn config(server: &Server) -> Arc<client::Config> {
    let defaults = Preferred::default();
    let key = Cow::Owned(server.trust.kinds(&defaults.key));
    Arc::new(client::Config {
        preferred: Preferred { key, ..defaults },
        keepalive_interval: server.keepalive,
        ..client::Config::default()
    })
}

/// Answers what the server asks by the password; many servers ask for it in this way alone.
async fn answer(handle: &mut Handle<Client>, login: &str, password: &str) -> Result<bool, russh::Error> {
    let mut said = handle.authenticate_keyboard_interactive_start(login, None).await?;
    // It may ask once more with nothing to be answered, and once for what is no password.
    for _ in 0..4 {
        match said {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| password.to_owned()).collect();
                said = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    Ok(false)
}

//! TLS for whoever comes over the network, by rustls. The certificate is read anew when its files change, as they do when
//! it is renewed.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use axum::serve::Listener;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, info, warn};

/// Who has not agreed on keys by then is gone.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// So many agree on keys at once; more wait to be let in.
const HANDSHAKES_AT_ONCE: usize = 256;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where a certificate is, in PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, and behind it those of who has signed it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Files {
    fn read(&self) -> Result<Arc<ServerConfig>> {
        let certificate = || format!("can't use the certificate {}", self.certificate.display());
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("can't use the key {}", self.key.display()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config =
            config.with_context(|| format!("{} with the key {}", certificate(), self.key.display()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// When they were written last; one that is gone for now was not.
    fn written(&self) -> Option<[SystemTime; 2]> {
        let of = |path: &PathBuf| path.metadata().and_then(|metadata| metadata.modified()).ok();
        Some([of(&self.certificate)?, of(&self.key)?])
    }
}

/// Listens where others reach this machine.
pub struct TlsListener {
    address: SocketAddr,
    agreed: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// With the certificate of these files, an error where it can't be used.
    pub async fn bind(address: SocketAddr, files: Files) -> Result<Self> {
        let config = files.read()?;
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("can't listen at {address}"))?;
        let address = listener.local_addr()?;
        let (sender, agreed) = mpsc::channel(HANDSHAKES_AT_ONCE);
        tokio::spawn(accept(listener, files, config, sender));
        Ok(Self { address, agreed })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.agreed.recv().await {
            Some(agreed) => agreed,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// Lets connections in, and has each agree on keys by itself: one that is slow holds up no other.
async fn accept(
    mut listener: TcpListener,
    files: Files,
    mut config: Arc<ServerConfig>,
    agreed: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
    let mut written = files.written();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, Listener::accept(&mut listener).await)
        };
        tokio::select! {
            (place, (stream, from)) = accepted => {
                let (acceptor, agreed) = (TlsAcceptor::from(config.clone()), agreed.clone());
                tokio::spawn(async move {
                    match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
                        // Nobody to serve it where the server is going.
                        Ok(Ok(stream)) => drop(agreed.send((stream, from)).await),
                        Ok(Err(error)) => debug!(%from, %error, "no TLS"),
                        Err(_) => debug!(%from, "no TLS within its time"),
                    }
                    drop(place);
                });
            }
            _ = look.tick() => {
                let now = files.written();
                if now.is_none() || now == written {
                    continue;
                }
                written = now;
                match files.read() {
                    Ok(renewed) => {
                        info!(certificate = %files.certificate.display(), "the certificate was renewed");
                        config = renewed;
                    }
                    Err(error) => {
                        warn!(error = format!("{error:#}"), "the certificate stays as it was, until its files change");
                    }
                }
            }
        }
    }
}

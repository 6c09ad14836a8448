//! A network between a worker and a server that can be cut: what is on its way then comes when it is mended, as TCP
//! has it.

use std::path::PathBuf;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
};

/// Passes on what comes to its address.
pub struct Proxy {
    cut: watch::Sender<bool>,
}

impl Proxy {
    /// One to this address, and the address that it has itself.
    pub async fn to(target: String) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, is_cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                let (target, mut is_cut) = (target.clone(), is_cut.clone());
                tokio::spawn(async move {
                    mended(&mut is_cut).await;
                    let Ok(there) = TcpStream::connect(target).await else { return };
                    both_ways(here, there, is_cut).await;
                });
            }
        });
        (Self { cut }, address)
    }

    /// One at a socket of this machine, to another.
    pub async fn at(socket: PathBuf, target: PathBuf) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (cut, is_cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                let (target, mut is_cut) = (target.clone(), is_cut.clone());
                tokio::spawn(async move {
                    mended(&mut is_cut).await;
                    let Ok(there) = UnixStream::connect(target).await else { return };
                    both_ways(here, there, is_cut).await;
                });
            }
        });
        Self { cut }
    }

    /// Lets nothing through, and tells neither end.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn both_ways(
    here: impl AsyncRead + AsyncWrite,
    there: impl AsyncRead + AsyncWrite,
    is_cut: watch::Receiver<bool>,
) {
    let (from_here, to_here) = tokio::io::split(here);
    let (from_there, to_there) = tokio::io::split(there);
    tokio::join!(pass(from_here, to_there, is_cut.clone()), pass(from_there, to_here, is_cut));
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut is_cut: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        mended(&mut is_cut).await;
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    mended(&mut is_cut).await;
    let _ = to.shutdown().await;
}

async fn mended(is_cut: &mut watch::Receiver<bool>) {
    // Without the proxy nothing is cut any more.
    let _ = is_cut.wait_for(|cut| !cut).await;
}

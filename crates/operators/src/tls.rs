//! TLS by rustls with ring, and whom it trusts.

use std::sync::Arc;

#[cfg(feature = "ftp")]
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

/// Trusts whom the machine trusts; on a machine without certificates, nobody.
pub(crate) fn trusting_the_system() -> Result<ClientConfig, String> {
    Ok(match builder()?.with_platform_verifier() {
        Ok(config) => config.with_no_client_auth(),
        Err(_) => builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
    })
}

/// Trusts these certificates, and whoever has one of them as issuer.
#[cfg(feature = "ftp")]
pub(crate) fn trusting(pem: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("it is no PEM ({error})"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("it has no certificate in PEM".into());
    }
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

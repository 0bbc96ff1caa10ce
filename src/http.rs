//! Calls to other people's HTTP servers: witnesses, webhooks, ticket systems. Each is bounded in time, follows no redirect
//! and takes no proxy from the environment. For `https` the system's trusted roots count.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

/// A connection that was idle for longer is not used again: the peer may be about to close it.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// A client whose calls block, each for at most `limit`.
pub fn agent(limit: Duration) -> Agent {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(limit))
        .max_idle_age(IDLE_MAX)
        .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Whether a text is a URL that can be called: `http://` or `https://`, a host, no user name.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(text: &str) -> Result<(), &'static str> {
    let url: ureq::http::Uri = text.parse().map_err(|_| "it is no URL")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("it begins with neither http:// nor https://");
    }
    if url.host().is_none_or(str::is_empty) {
        return Err("it names no host");
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a user name and a password do not belong there");
    }
    Ok(())
}

//! The way by which this process makes requests of its own: what holds for each of them.

use std::sync::Once;

/// A client in the making: it follows no redirect, because a token goes to where it was meant for and nowhere else,
/// and asks no proxy of the environment. TLS is rustls with the machine's roots.
pub fn http_client() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    // The one that pingora's rustls has too. Where another is installed already, that one serves as well.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
}

/// The same for a place that is only reached in clear text: it does without the machine's roots, which not every
/// machine has.
pub fn http_client_without_tls() -> reqwest::ClientBuilder {
    http_client().tls_certs_only([])
}

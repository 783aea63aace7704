//! Where documents are asked for: at a service's own servers, or elsewhere.

use std::time::Duration;

use weir_https::{Client, Roots, Setup, Why};
use weir_link::Upstream;

use super::LONGEST;

/// How long a whole document may take.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Asks the upstream servers one after another for a path, as the host that clients know them by.
pub(super) async fn upstream(upstream: &Upstream, host: &str, path: &str) -> Result<Vec<u8>, Why> {
    let roots = match &upstream.ca {
        Some(pem) => Roots::given(pem)?,
        None => Roots::of_system()?,
    };
    let mut setup = setup(roots);
    let url = format!("https://{}{path}", upstream.server_name);
    let mut last = Why::Unreachable("the service has no upstream server".to_owned());
    for server in &upstream.servers {
        setup.pinned = Some((&upstream.server_name, *server));
        match Client::new(&setup)?.get(&url, Some(host)).await {
            Err(why) if why.is_of_this_server() => last = why,
            answered => return answered,
        }
    }
    Err(last)
}

/// Asks an address.
pub(super) async fn elsewhere(url: &str) -> Result<Vec<u8>, Why> {
    let client = Client::new(&setup(Roots::of_system()?))?;
    client.get(url, None).await
}

fn setup<'a>(roots: Roots) -> Setup<'a> {
    Setup {
        roots,
        pinned: None,
        proxy: None,
        within: READ_WITHIN,
        longest: LONGEST,
    }
}

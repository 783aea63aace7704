//! The page for a person whose sign-in is blocked. No scripts, no assets, nothing from elsewhere; it
//! reads well aloud, enlarged, in the dark, and printed.

use super::{Answer, common, escape};

pub(super) fn blocked(status: u16, reason: &str, reference: &str) -> Answer {
    let reason = escape(reason);
    let reference = escape(reference);
    let body = format!(
        "<!DOCTYPE html>\n\
<html lang=\"en\">\n\
<head>\n\
<meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
<meta name=\"robots\" content=\"noindex\">\n\
<title>Sign-in blocked</title>\n\
<style>{STYLE}</style>\n\
</head>\n\
<body>\n\
<main>\n\
<h1>Sign-in blocked</h1>\n\
<p>{reason}</p>\n\
<h2>What you can do</h2>\n\
<ul>\n\
<li>Sign in from a device that your organisation manages.</li>\n\
<li>On a managed device, make sure that its network client is connected, then try again.</li>\n\
<li>If you think that this is a mistake, contact your help desk and give them the reference below.</li>\n\
</ul>\n\
<h2>Reference</h2>\n\
<p><code>{reference}</code></p>\n\
</main>\n\
</body>\n\
</html>\n"
    );
    let mut headers = common("text/html; charset=utf-8");
    headers.push(("content-security-policy", POLICY.to_owned()));
    headers.push(("referrer-policy", "no-referrer".to_owned()));
    headers.push(("x-frame-options", "DENY".to_owned()));
    Answer {
        status,
        headers,
        body,
    }
}

/// Contrast is 13:1 or better in both colour schemes.
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0;font:1.125rem/1.6 system-ui,sans-serif;color:#1b1b1b;background:#fff}\
main{max-width:38rem;margin:0 auto;padding:3rem 1.5rem}\
h1{font-size:1.75rem;line-height:1.25}\
h2{font-size:1.25rem;margin-top:2rem}\
code{font-size:1.125rem;user-select:all}\
@media(prefers-color-scheme:dark){body{color:#f2f2f2;background:#16181c}}";

/// The style may stand in the page; nothing else may be loaded, sent or framed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

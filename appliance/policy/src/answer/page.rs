//! The pages for a person whose sign-in is blocked, or gets no answer. No scripts, no assets, nothing from elsewhere; it
//! reads well aloud, enlarged, in the dark, and printed.

use super::{Answer, common, escape};

pub(super) fn blocked(status: u16, reason: &str, reference: &str) -> Answer {
    let advice = [
        "Sign in from a device that your organisation manages.",
        "On a managed device, make sure that its network client is connected, then try again.",
        "If you think that this is a mistake, contact your help desk and give them the reference below.",
    ];
    page(status, "Sign-in blocked", reason, &advice, reference)
}

pub(super) fn unavailable(status: u16, reason: &str, reference: &str) -> Answer {
    let advice = [
        "Wait a moment, then try again.",
        "If it stays like this, contact your help desk and give them the reference below.",
    ];
    let title = "The sign-in service does not answer";
    page(status, title, reason, &advice, reference)
}

/// `title` and `advice` are HTML.
fn page(status: u16, title: &str, reason: &str, advice: &[&str], reference: &str) -> Answer {
    let advice: String = advice
        .iter()
        .flat_map(|step| ["<li>", step, "</li>\n"])
        .collect();
    let reason = escape(reason);
    let reference = escape(reference);
    let body = format!(
        "<!DOCTYPE html>\n\
<html lang=\"en\">\n\
<head>\n\
<meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
<meta name=\"robots\" content=\"noindex\">\n\
<title>{title}</title>\n\
<style>{STYLE}</style>\n\
</head>\n\
<body>\n\
<main>\n\
<h1>{title}</h1>\n\
<p>{reason}</p>\n\
<h2>What you can do</h2>\n\
<ul>\n\
{advice}\
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

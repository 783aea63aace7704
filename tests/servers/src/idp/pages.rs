//! The pages that a browser sees at a federation service, plain as AD FS's own: the form, the auto-posted answer,
//! errors, sign-out; and their assets.

use http::StatusCode;

use crate::http::{Response, answer, escape, html};
use crate::idp::product::Shape;

/// The sign-in form. `action` is posted to; `error` is shown above the fields, `user` fills in the first.
pub fn sign_in(organisation: &str, action: &str, user: &str, error: Option<&str>) -> Response {
    let (shown, text) = match error {
        Some(text) => (r#" role="alert""#, escape(text)),
        None => (r#" hidden="hidden""#, String::new()),
    };
    page(
        "Sign In",
        organisation,
        &format!(
            r#"<form method="post" id="loginForm" autocomplete="off" novalidate="novalidate" action="{action}">
<h2 id="loginMessage">Sign in</h2>
<div id="error" class="fieldMargin error smallText"{shown}><span id="errorText">{text}</span></div>
<div><label id="userNameInputLabel" for="userNameInput">User account</label>
<input id="userNameInput" name="UserName" type="email" value="{user}" spellcheck="false" autocomplete="username"
 placeholder="someone@example.com" class="text fullWidth"/></div>
<div><label id="passwordInputLabel" for="passwordInput">Password</label>
<input id="passwordInput" name="Password" type="password" autocomplete="current-password" class="text fullWidth"/></div>
<div id="kmsiArea"><input type="checkbox" name="Kmsi" id="kmsiInput" value="true"/>
<label for="kmsiInput">Keep me signed in</label></div>
<button type="submit" id="submitButton" class="submit">Sign in</button>
<input id="optionForms" type="hidden" name="AuthMethod" value="FormsAuthentication"/>
</form>"#,
            action = escape(action),
            user = escape(user),
        ),
    )
}

/// The sign-in form of other products: the same, in their own words for the fields.
pub fn plain_sign_in(
    shape: &Shape,
    organisation: &str,
    action: &str,
    user: &str,
    error: Option<&str>,
) -> Response {
    let fields = format!(
        r#"<label for="user">User name</label><input id="user" name="{}" type="text" value="{}" autocomplete="username"/>
<label for="password">Password</label><input id="password" name="{}" type="password" value=""
 autocomplete="current-password"/>"#,
        shape.user,
        escape(user),
        shape.password,
    );
    plain(shape, organisation, action, &fields, error)
}

/// The second page: a form for a code.
pub fn second_factor(
    shape: &Shape,
    organisation: &str,
    action: &str,
    error: Option<&str>,
) -> Response {
    let fields = format!(
        r#"<label for="code">Enter the code of your authenticator</label><input id="code" name="{}" type="text"
 inputmode="numeric" value="" autocomplete="one-time-code"/>"#,
        shape.code,
    );
    plain(shape, organisation, action, &fields, error)
}

fn plain(
    shape: &Shape,
    organisation: &str,
    action: &str,
    fields: &str,
    error: Option<&str>,
) -> Response {
    let error = error.map_or_else(String::new, |text| {
        format!(r#"<p id="errorText" role="alert">{}</p>"#, escape(text))
    });
    html(
        StatusCode::OK,
        format!(
            r#"<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"/><title>Sign In</title></head><body>
<h1>{organisation}</h1>{error}<form method="post" id="loginForm" action="{action}">{fields}{more}
<button type="submit" id="submitButton">Sign in</button></form></body></html>"#,
            organisation = escape(organisation),
            action = escape(action),
            more = shape.more,
        ),
    )
}

/// A page that posts `fields` to `action` by itself.
pub fn auto_post(shape: &Shape, action: &str, fields: &[(&str, &str)]) -> Response {
    let inputs = fields
        .iter()
        .map(|(name, value)| {
            shape
                .field
                .replace("{name}", &(shape.escape)(name))
                .replace("{value}", &(shape.escape)(value))
        })
        .collect::<Vec<String>>()
        .concat();
    let [before, after, end] = shape.post;
    let action = (shape.escape)(action);
    html(
        StatusCode::OK,
        format!("{before}{action}{after}{inputs}{end}"),
    )
}

/// An error, as AD FS shows it: a page with status 200, an activity id and the reason.
pub fn error(organisation: &str, reason: &str) -> Response {
    let id = uuid::Uuid::new_v4();
    page(
        "Error",
        organisation,
        &format!(
            r#"<h2>An error occurred</h2><p id="errorMessage" role="alert">An error occurred. Contact your administrator
 for more information.</p><h3>Error details</h3><ul><li>Activity ID: {id}</li><li>Error details: {}</li></ul>"#,
            escape(reason),
        ),
    )
}

/// The applications that can be signed in to from here: identifiers and names. The choice goes to `action`.
pub fn applications(organisation: &str, action: &str, names: &[(&str, &str)]) -> Response {
    let options = names
        .iter()
        .map(|(id, name)| {
            format!(
                r#"<option value="{}">{}</option>"#,
                escape(id),
                escape(name)
            )
        })
        .collect::<Vec<String>>()
        .concat();
    page(
        "Sign In",
        organisation,
        &format!(
            r#"<form method="get" id="idpForm" action="{}"><h2>You are not signed in.</h2>
<label for="idp_RelyingPartyDropDownList">Sign in to one of the following sites:</label>
<select id="idp_RelyingPartyDropDownList" name="loginToRp">{options}</select>
<button type="submit" class="submit">Sign in</button></form>"#,
            escape(action),
        ),
    )
}

/// Signed out; the relying parties' own sign-out pages are fetched in frames.
pub fn signed_out(organisation: &str, cleanups: &[String]) -> Response {
    let frames = cleanups
        .iter()
        .map(|url| format!(r#"<iframe class="hidden" title="signing out" width="0" height="0" src="{}"></iframe>"#, escape(url)))
        .collect::<Vec<String>>()
        .concat();
    page(
        "Sign Out",
        organisation,
        &format!(r#"<h2 id="signoutMessage">You have successfully signed out.</h2>{frames}"#),
    )
}

/// A page with a message and, for signed-in browsers, a form of one text field.
pub fn device(organisation: &str, action: &str, message: &str) -> Response {
    page(
        "Device",
        organisation,
        &format!(
            r#"<form method="post" id="deviceForm" action="{}"><h2>Sign in on another device</h2><p role="status">{}</p>
<label for="userCode">Code</label><input id="userCode" name="UserCode" class="text fullWidth"/>
<button type="submit" class="submit">Continue</button></form>"#,
            escape(action),
            escape(message),
        ),
    )
}

/// A file below `/adfs/portal`.
pub fn asset(path: &str) -> Option<Response> {
    let (kind, body) = match path {
        "/adfs/portal/css/style.css" => ("text/css", STYLE),
        "/adfs/portal/script/jquery-1.12.4.min.js" => ("application/x-javascript", ""),
        "/adfs/portal/logo/logo.svg" | "/adfs/portal/illustration/illustration.svg" => {
            ("image/svg+xml", PICTURE)
        }
        _ => return None,
    };
    Some(answer(StatusCode::OK, kind, body))
}

fn page(title: &str, organisation: &str, content: &str) -> Response {
    html(
        StatusCode::OK,
        format!(
            r#"<!DOCTYPE html>
<html lang="en-US"><head><meta http-equiv="X-UA-Compatible" content="IE=10.000"/>
<meta name="viewport" content="width=device-width, initial-scale=1.0"/><meta charset="utf-8"/>
<meta name="robots" content="noindex, nofollow"/><title>{title}</title>
<link rel="stylesheet" type="text/css" href="/adfs/portal/css/style.css?id=D74D4D6943F32AE6F7F11D14D601DBB0E1A58919176EE512150366B6279AAF99"/></head>
<body dir="ltr" class="body"><div id="fullPage"><div id="brandingWrapper"></div><main id="contentWrapper"><div id="content">
<h1 id="header">{organisation}</h1>
<div id="workArea">{content}</div></div></main></div></body></html>"#,
            organisation = escape(organisation),
        ),
    )
}

const STYLE: &str = "*{box-sizing:border-box}body{margin:0;font:16px/1.5 'Segoe UI',Arial,sans-serif;color:#222;background:#2672ec}\
#fullPage{min-height:100vh;display:flex}#brandingWrapper{flex:1}#contentWrapper{background:#fff;width:500px;max-width:100%;\
padding:80px 60px}h1{font-size:1.6em;font-weight:300;margin:0 0 1em}h2{font-size:1em;font-weight:600}label{display:block;\
margin-top:.8em;font-size:.85em}#kmsiArea label{display:inline}.text{width:100%;height:36px;padding:4px 8px;border:1px solid \
#666}.submit{margin-top:1.4em;height:36px;min-width:100px;border:0;background:#2672ec;color:#fff;font-weight:600}\
.error{color:#b30000;font-size:.9em}.hidden{border:0;position:absolute}:focus{outline:2px solid #000;outline-offset:2px}";

const PICTURE: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40\" height=\"40\"><rect width=\"40\" \
height=\"40\" fill=\"#2672ec\"/></svg>";

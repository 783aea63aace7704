//! A token that somebody tampered with: fetched by curl as a browser would, changed in one byte, posted to the relying
//! party; then the same token unchanged, so that the byte alone made the difference.

use anyhow::{Context, Result, bail};

use super::Stage;
use super::curl::Call;
use super::form::Form;
use super::row::Row;
use super::rows::passive;

/// What the relying party said, in words.
pub async fn flipped_byte(stage: &Stage<'_>, row: &Row) -> Result<String> {
    let plan = &stage.lab.plan;
    let domain = plan
        .domains
        .iter()
        .find(|domain| domain.service == row.service);
    let domain = domain.context("the service is federated")?;
    let user = plan.users.iter().find(|user| user.domain() == domain.name);
    let user = user.context("the domain has a user")?;
    let jar = stage.lab.home(row.class).join("flipped-byte.cookies");
    let jar = jar.to_str().context("the lab's directory is not UTF-8")?;
    let cookies = ["--cookie", jar, "--cookie-jar", jar];
    let page = passive(row.service);
    let page = page.split("&wctx").next().unwrap_or(&page);
    let credentials = [
        ("UserName", user.upn.as_str()),
        ("Password", user.password.as_str()),
        ("AuthMethod", "FormsAuthentication"),
    ];
    let send = |call: Call| async move { call.send(stage, Some(row.class), row.family).await };
    let signed_in = send(Call::form(page, &credentials).with(&cookies)).await?;
    if signed_in.status != 302 {
        bail!(
            "the form was not taken: {} {}",
            signed_in.status,
            signed_in.complaint
        );
    }
    let answer = send(Call::get(page).with(&cookies)).await?;
    let form = Form::first(&answer.body).context("the service gave no form")?;
    let token = form.field("wresult").context("the service gave no token")?;
    // The first letter of the user's name in the signed assertion.
    let at = token
        .find(&user.upn)
        .context("the token does not name the user")?;
    let mut bytes = token.to_owned().into_bytes();
    bytes[at] ^= 0x01;
    let forged = String::from_utf8(bytes).context("one bit turned ASCII into something else")?;
    let reply = format!("https://{}/login.srf", plan.cloud.application.host);
    let post = |token: &str| Call::form(&reply, &[("wa", "wsignin1.0"), ("wresult", token)]);
    let refused = send(post(&forged)).await?;
    let accepted = send(post(token)).await?;
    // Refused for its signature: a token that cannot be read, or is for nobody, would be refused too.
    let for_signature = refused
        .body
        .contains("the token&#39;s signature does not verify");
    Ok(match (refused.status, for_signature, accepted.status) {
        (403, true, 303) => "refused; intact: accepted".to_owned(),
        (changed, _, intact) => format!("changed: {changed}; intact: {intact}"),
    })
}

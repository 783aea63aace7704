//! The device code flow: a device shows a code, a person types it in a browser where they sign in.

use http::{Method as Verb, StatusCode};
use rand::Rng;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::http::{Parameters, Request, Response, answer, json as json_answer, noted};
use crate::idp::oauth::{Grant, Refused, invalid, lock, oauth_error};
use crate::idp::session::{Session, opaque};
use crate::idp::users::Asker;
use crate::idp::{Idp, pages};
use crate::plan::OAuthClient;

/// A device that waits.
#[derive(Debug, Clone)]
pub(super) struct Device {
    user_code: String,
    client: String,
    resource: String,
    approved: Option<Session>,
    expires: OffsetDateTime,
}

impl Idp {
    /// `/adfs/oauth2/devicecode`.
    pub(super) fn device_code(&self, request: &Request) -> Response {
        if request.method != Verb::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "", "");
        }
        let fields = request.form();
        let Some(client) = fields.get("client_id").and_then(|id| self.client(id)) else {
            return oauth_error(
                "invalid_client",
                "MSIS9607: The 'client_id' parameter in the request is invalid.",
            );
        };
        let device_code = opaque(200);
        let user_code: String = (0..9)
            .map(|_| char::from(b'A' + rand::rng().random_range(0..26)))
            .collect();
        let device = Device {
            user_code: user_code.clone(),
            client: client.id.clone(),
            resource: fields
                .get("resource")
                .unwrap_or("urn:microsoft:userinfo")
                .to_owned(),
            approved: None,
            expires: OffsetDateTime::now_utc() + LIFETIME,
        };
        lock(&self.oauth.devices).insert(device_code.clone(), device);
        let page = self.url("/adfs/oauth2/deviceauth");
        json_answer(
            StatusCode::OK,
            &json!({
                "device_code": device_code, "user_code": user_code, "verification_uri": page, "verification_url": page,
                "expires_in": LIFETIME.whole_seconds(), "interval": 5,
                "message": format!("To sign in, open {page} in a browser and enter the code {user_code}."),
            }),
        )
    }

    /// `/adfs/oauth2/deviceauth`: sign in, then type the code.
    pub(super) fn device_auth(&self, request: &Request, asker: &Asker) -> Response {
        let here = request
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let Some((session, user)) = self.session_for(request, None) else {
            return self.ask_password(request, here, "", asker);
        };
        let fields = request.form();
        let Some(typed) = fields.get("UserCode") else {
            return pages::device(
                &self.organisation(),
                here,
                "Enter the code that your device shows.",
            );
        };
        let mut devices = lock(&self.oauth.devices);
        match devices
            .values_mut()
            .find(|device| device.user_code.eq_ignore_ascii_case(typed.trim()))
        {
            Some(device) => {
                device.approved = Some(session);
                let note = format!("device approved by {}", user.upn);
                noted(
                    pages::device(
                        &self.organisation(),
                        here,
                        "You are signed in on your device.",
                    ),
                    note,
                )
            }
            None => pages::device(&self.organisation(), here, "This code is not known."),
        }
    }

    /// The device's own request for tokens.
    pub(super) fn redeem_device(
        &self,
        fields: &Parameters,
        client: &OAuthClient,
        asker: &Asker,
    ) -> Result<Response, Refused> {
        let now = OffsetDateTime::now_utc();
        let code = fields.get("device_code").unwrap_or_default();
        let mut devices = lock(&self.oauth.devices);
        let device = devices
            .get(code)
            .filter(|device| device.client == client.id && device.expires > now)
            .cloned()
            .ok_or_else(|| invalid("MSIS9612: The device code is invalid or has expired."))?;
        let Some(session) = device.approved else {
            return Err((
                "authorization_pending",
                "MSIS9679: The user has not signed in yet.".to_owned(),
            ));
        };
        devices.remove(code);
        drop(devices);
        let user = self
            .plan
            .user(&session.upn)
            .ok_or_else(|| invalid("MSIS9612: The user is gone."))?;
        let grant = Grant {
            client: device.client,
            session,
            resource: device.resource,
            redirect: String::new(),
            nonce: None,
            challenge: None,
            expires: now,
        };
        Ok(self.tokens(grant, user, asker))
    }
}

const LIFETIME: Duration = Duration::minutes(15);

//! How tokens are asked for, kept, renewed and given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use url::{Url, form_urlencoded};
use uuid::Uuid;
use weir_entra::clock::Clock;
use weir_entra::cloud::Cloud;
use weir_entra::credential::{Assigned, Credential, ManagedIdentity, Registration, Secret};
use weir_entra::health::{Finding, Reason};
use weir_entra::network::NetworkError;
use weir_entra::token::{By, TokenError, Tokens};

use crate::credentials::certificate;
use crate::support::{
    Asked, Authority, CLIENT, Reply, SECRET, Server, TENANT, Turned, issued, registration,
    serve_plain, token, token_path, trusting,
};

struct Login {
    server: Server,
    clock: Arc<Turned>,
    tokens: Tokens,
    cloud: Cloud,
}

impl Login {
    async fn start(script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let clock = Arc::<Turned>::default();
        let server = authority.serve(&clock, script).await;
        let network = trusting(&authority);
        let tokens = Tokens::new(&network, Arc::clone(&clock) as Arc<dyn Clock>);
        Self {
            cloud: Cloud::custom(&server.origin, "https://graph.example").expect("origins"),
            tokens: tokens.expect("a client"),
            server,
            clock,
        }
    }

    fn registration(&self) -> Registration {
        registration(self.cloud.clone())
    }

    fn count(&self) -> usize {
        self.server.asked().len()
    }
}

fn good(_: &Asked, nth: usize) -> Reply {
    issued(&token(TENANT, &[], nth))
}

fn refused(code: u32, error: &str, words: &str) -> Reply {
    Reply::status(
        401,
        &json!({
            "error": error,
            "error_description": format!("AADSTS{code}: {words}\r\nTrace ID: 0f1e\r\nCorrelation ID: 9b7a"),
            "error_codes": [code], "trace_id": "0f1e", "correlation_id": "9b7a",
        }),
    )
}

fn form(asked: &Asked) -> BTreeMap<String, String> {
    form_urlencoded::parse(asked.body.as_bytes())
        .into_owned()
        .collect()
}

#[tokio::test]
async fn a_secret_is_sent_as_a_form_to_the_tenant_itself() {
    let login = Login::start(good).await;
    login
        .tokens
        .get(&login.registration())
        .await
        .expect("a token");
    let asked = &login.server.asked()[0];
    assert_eq!((&*asked.method, &*asked.target), ("POST", &*token_path()));
    assert_eq!(
        asked.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    let expected = [
        ("client_id", CLIENT.to_string()),
        ("client_secret", SECRET.to_owned()),
        ("grant_type", "client_credentials".to_owned()),
        ("scope", "https://graph.example/.default".to_owned()),
    ];
    assert_eq!(
        form(asked),
        expected
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    );
}

#[tokio::test]
async fn a_certificate_proves_itself_anew_each_time() {
    let login = Login::start(good).await;
    let (certificate, verify) = certificate();
    let thumbprint = certificate.thumbprint().to_owned();
    let registration = Registration {
        credential: Credential::Certificate(certificate),
        ..login.registration()
    };
    for _ in 0..2 {
        login.tokens.get(&registration).await.expect("a token");
        login.tokens.forget(&registration);
    }
    let mut ids = BTreeSet::new();
    for asked in login.server.asked() {
        let form = form(&asked);
        assert!(!form.contains_key("client_secret"));
        assert_eq!(
            form["client_assertion_type"],
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        let (header, claims) = verify(&form["client_assertion"]);
        assert_eq!(
            header,
            json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint })
        );
        assert_eq!(claims["aud"], login.cloud.token_url(TENANT));
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&json!(CLIENT), &json!(CLIENT))
        );
        let now = login.clock.now().unix_timestamp();
        assert_eq!(claims["nbf"], now);
        assert_eq!(claims["exp"], now + 600);
        ids.insert(claims["jti"].to_string());
    }
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn all_who_wait_take_the_one_token() {
    let login = Arc::new(Login::start(good).await);
    let registration = Arc::new(login.registration());
    let waiting = (0..20).map(|_| {
        let (login, registration) = (Arc::clone(&login), Arc::clone(&registration));
        tokio::spawn(async move { login.tokens.get(&registration).await.expect("a token") })
    });
    let mut tokens = Vec::new();
    for waiting in waiting.collect::<Vec<_>>() {
        tokens.push(waiting.await.expect("it ends"));
    }
    assert_eq!(login.count(), 1);
    assert!(tokens.iter().all(|token| Arc::ptr_eq(token, &tokens[0])));
}

#[tokio::test]
async fn a_token_is_renewed_after_four_fifths_of_its_life() {
    let login = Login::start(good).await;
    let registration = login.registration();
    login.tokens.get(&registration).await.expect("a token");
    login.clock.turn(Duration::from_secs(2870));
    login.tokens.get(&registration).await.expect("a token");
    assert_eq!(login.count(), 1);
    // All of the jitter is over.
    login.clock.turn(Duration::from_secs(200));
    login.tokens.get(&registration).await.expect("a token");
    assert_eq!(login.count(), 2);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_used_until_it_ends() {
    let login = Login::start(|_, nth| match nth {
        1 => issued(&token(TENANT, &[], 1)),
        _ => refused(7_000_222, "invalid_client", "The secret has expired."),
    })
    .await;
    let registration = login.registration();
    let first = login.tokens.get(&registration).await.expect("a token");
    login.clock.turn(Duration::from_secs(3100));
    let second = login.tokens.get(&registration).await.expect("the old one");
    assert!(Arc::ptr_eq(&first, &second));
    let state = login.tokens.state(&registration);
    assert!(state.good_for.is_some() && state.failing_since.is_some());
    assert!(matches!(state.failed, Some(TokenError::Refused(_))));
    login.clock.turn(Duration::from_mins(8));
    let error = login
        .tokens
        .get(&registration)
        .await
        .expect_err("it has ended");
    assert!(matches!(error, TokenError::Refused(refusal) if refusal.codes == [7_000_222]));
}

#[tokio::test]
async fn a_refusal_is_shared_and_not_asked_for_again_at_once() {
    let login = Arc::new(Login::start(|_, _| refused(7_000_215, "invalid_client", "No.")).await);
    let registration = Arc::new(login.registration());
    let waiting = (0..10).map(|_| {
        let (login, registration) = (Arc::clone(&login), Arc::clone(&registration));
        tokio::spawn(async move { login.tokens.get(&registration).await })
    });
    for waiting in waiting.collect::<Vec<_>>() {
        assert!(waiting.await.expect("it ends").is_err());
    }
    assert_eq!(login.count(), 1);
    assert!(login.tokens.get(&registration).await.is_err());
    assert_eq!(login.count(), 1);
    login.clock.turn(Duration::from_secs(2));
    assert!(login.tokens.get(&registration).await.is_err());
    assert_eq!(login.count(), 2);
    // Twice as long, and so on.
    login.clock.turn(Duration::from_millis(1500));
    assert!(login.tokens.get(&registration).await.is_err());
    assert_eq!(login.count(), 2);
    assert_eq!(login.tokens.state(&registration).failures, 2);
    // Somebody mended it, and says so.
    login.tokens.forget(&registration);
    assert!(login.tokens.get(&registration).await.is_err());
    assert_eq!(login.count(), 3);
}

#[tokio::test]
async fn what_was_asked_for_before_it_was_forgotten_is_not_kept() {
    let told = Arc::new(Notify::new());
    let later = Arc::clone(&told);
    let login = Login::start(move |asked, nth| match nth {
        1 => Reply::Later(Arc::clone(&later), Box::new(good(asked, nth))),
        _ => good(asked, nth),
    })
    .await;
    let registration = Arc::new(login.registration());
    let login = Arc::new(login);
    let flight = {
        let (login, registration) = (Arc::clone(&login), Arc::clone(&registration));
        tokio::spawn(async move { login.tokens.get(&registration).await })
    };
    while login.count() == 0 {
        tokio::task::yield_now().await;
    }
    login.tokens.forget(&registration);
    told.notify_one();
    flight.await.expect("it ends").expect("a token");
    assert_eq!(login.tokens.state(&registration).good_for, None);
    login
        .tokens
        .get(&registration)
        .await
        .expect("a newer token");
    assert_eq!(login.count(), 2);
}

#[tokio::test]
async fn what_passes_is_waited_for() {
    let login = Login::start(|_, nth| match nth {
        1 => Reply::Raw(b"HTTP/1.1 502 Bad\r\ncontent-length: 4\r\n\r\n<p/>".to_vec()),
        2 => Reply::status(
            400,
            &json!({ "error": "temporarily_unavailable", "error_codes": [90055] }),
        )
        .with("retry-after", "7"),
        3 => Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"acc".to_vec()),
        _ => issued(&token(TENANT, &[], nth)),
    })
    .await;
    login
        .tokens
        .get(&login.registration())
        .await
        .expect("a token");
    assert_eq!(
        login.clock.slept(),
        [500, 7000, 2000].map(Duration::from_millis)
    );
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_none() {
    let long = format!("{{\"access_token\": \"{}\"}}", "x".repeat(300 << 10));
    let bodies = [
        json!({ "token_type": "Bearer", "expires_in": 0, "access_token": "t" }).to_string(),
        json!({ "token_type": "pop", "expires_in": 10, "access_token": "t" }).to_string(),
        json!({ "token_type": "Bearer", "expires_in": 10, "access_token": "" }).to_string(),
        json!({ "token_type": "Bearer", "expires_in": 10, "access_token": "a\r\nb" }).to_string(),
        json!({ "token_type": "Bearer", "expires_in": "soon", "access_token": "t" }).to_string(),
        json!({ "token_type": "Bearer", "expires_in": 10 }).to_string(),
        "<html>Sign in to the hotel</html>".to_owned(),
        String::new(),
        long,
    ];
    for body in bodies {
        let shown: String = body.chars().take(60).collect();
        let login =
            Login::start(move |_, _| Reply::Whole(200, Vec::new(), body.clone().into_bytes()))
                .await;
        let error = login.tokens.get(&login.registration()).await;
        let error = error.map(drop).expect_err(&shown);
        let is_refused = matches!(
            &error,
            TokenError::Malformed(_) | TokenError::Network(NetworkError::TooLong(_))
        );
        assert!(is_refused, "{shown}: {error}");
    }
}

#[tokio::test]
async fn each_credential_has_a_token_of_its_own() {
    let login = Login::start(good).await;
    let one = login.registration();
    let other = Secret::new(b"another", None).expect("a secret");
    let two = Registration {
        credential: Credential::Secret(other),
        ..login.registration()
    };
    let three = Registration {
        tenant: Uuid::from_u128(3),
        ..login.registration()
    };
    for registration in [&one, &two, &three, &one, &two, &three] {
        login.tokens.get(registration).await.expect("a token");
    }
    assert_eq!(login.count(), 3);
}

#[tokio::test]
async fn a_machine_of_azure_asks_its_own_service() {
    let clock = Arc::<Turned>::default();
    let service = serve_plain(&clock, |_, nth| match nth {
        // It is being renewed.
        1 => Reply::status(410, &json!({ "error": "gone" })),
        _ => Reply::json(&json!({
            "access_token": "machine", "expires_in": "86399", "expires_on": "1784086399",
            "resource": "https://graph.example", "token_type": "Bearer",
        })),
    })
    .await;
    let login = Login::start(good).await;
    let address = format!("{}/metadata/identity/oauth2/token", service.origin);
    let registration = |assigned| Registration {
        credential: Credential::ManagedIdentity(ManagedIdentity::at(
            Url::parse(&address).expect("an address"),
            assigned,
        )),
        ..login.registration()
    };
    let identity = registration(Assigned::Client(CLIENT));
    login.tokens.get(&identity).await.expect("a token");
    let asked = service.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("metadata"), Some("true"));
    let url = Url::parse(&format!("http://machine{}", asked[1].target)).expect("an address");
    let query: Vec<_> = url.query_pairs().into_owned().collect();
    let expected = [
        ("api-version", "2018-02-01".to_owned()),
        ("client_id", CLIENT.to_string()),
        ("resource", "https://graph.example".to_owned()),
    ];
    assert_eq!(
        query,
        expected.map(|(name, value)| (name.to_owned(), value))
    );
    assert_eq!(login.count(), 0);
    let good_for = login.tokens.state(&identity).good_for.expect("a token");
    assert!(good_for > Duration::from_hours(20));
}

#[tokio::test]
async fn a_machine_without_an_identity_says_what_to_do() {
    let clock = Arc::<Turned>::default();
    let service = serve_plain(&clock, |_, _| {
        Reply::status(
            400,
            &json!({ "error": "invalid_request", "error_description": "Identity not found" }),
        )
    })
    .await;
    let login = Login::start(good).await;
    let address = Url::parse(&service.origin).expect("an address");
    let registration = Registration {
        credential: Credential::ManagedIdentity(ManagedIdentity::at(address, Assigned::System)),
        ..login.registration()
    };
    let error = login
        .tokens
        .get(&registration)
        .await
        .expect_err("there is none");
    assert!(matches!(&error, TokenError::Refused(refusal) if refusal.by == By::Machine));
    assert_eq!(service.asked().len(), 1);
    let finding = Finding::of_token(&error, &registration);
    assert_eq!(finding.reason, Reason::NoManagedIdentity);
}

#[tokio::test]
async fn no_secret_is_shown_even_when_the_other_side_says_it() {
    let login = Login::start(|asked, _| {
        let body: BTreeMap<String, String> = form_urlencoded::parse(asked.body.as_bytes())
            .into_owned()
            .collect();
        refused(
            7_000_215,
            "invalid_client",
            &format!("'{}' is wrong", body["client_secret"]),
        )
    })
    .await;
    let registration = login.registration();
    let error = login.tokens.get(&registration).await.expect_err("refused");
    let finding = Finding::of_token(&error, &registration);
    let shown = format!(
        "{registration:?} {error:?} {error} {finding:?} {finding} {:?} {:?}",
        login.tokens,
        login.tokens.state(&registration),
    );
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(shown.contains("is wrong"), "{shown}");
    assert!(!shown.contains("Trace ID"), "{shown}");

    let login = Login::start(good).await;
    let token = login
        .tokens
        .get(&login.registration())
        .await
        .expect("a token");
    let shown = format!("{token:?} {:?}", login.tokens);
    assert!(!shown.contains("eyJ"), "{shown}");
}

#[tokio::test]
async fn the_clock_is_held_against_the_date_of_the_answer() {
    let is_late = Arc::new(AtomicBool::new(false));
    let late = Arc::clone(&is_late);
    let login = Login::start(move |_, nth| {
        // The test's clock says 07:41:12.
        let date = if late.load(Ordering::Relaxed) {
            "Sat, 22 Aug 2026 07:47:12 GMT"
        } else {
            "Sat, 22 Aug 2026 07:41:12 GMT"
        };
        issued(&token(TENANT, &[], nth)).with("date", date)
    })
    .await;
    let registration = login.registration();
    assert_eq!(login.tokens.skew(), None);
    login.tokens.get(&registration).await.expect("a token");
    let skew = login.tokens.skew().expect("an answer came");
    assert_eq!(skew, time::Duration::ZERO);
    assert_eq!(Finding::of_skew(skew, &registration), None);

    is_late.store(true, Ordering::Relaxed);
    login.tokens.forget(&registration);
    login.tokens.get(&registration).await.expect("a token");
    let skew = login.tokens.skew().expect("an answer came");
    assert_eq!(skew, time::Duration::minutes(6));
    let finding = Finding::of_skew(skew, &registration).expect("too much");
    assert_eq!(finding.reason, Reason::ClockWrong);
    assert!(finding.words.contains("360 s behind"), "{}", finding.words);
}

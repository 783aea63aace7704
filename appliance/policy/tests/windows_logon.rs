//! Windows logon from elsewhere: for whom, where and how often it passes when a setting lets it.

mod common;

use common::{BLOCKED, Known, MANAGED, RELAY, Request, UNMANAGED, WINDOWS, compile, msal, strict};
use weir_policy::{
    DecisionKind, Directory, Policy, ProfileSpec, RowSpec, SignIn, WindowsLogonSetting,
};

#[test]
fn windows_logon_is_exempt_only_for_microsoft_365_with_a_certain_user_at_named_endpoints() {
    let mut spec = strict();
    spec.windows_logon = WindowsLogonSetting::Pass;
    let policy = compile(&spec);
    let good = msal("13", "alice@corp.example").agent(WINDOWS);
    let rule = |request: &Request| {
        let facts = request
            .facts(&policy, UNMANAGED)
            .expect("a readable request");
        policy
            .decide(&facts, &Known)
            .without_token()
            .rule
            .to_string()
    };
    assert_eq!(rule(&good), "office365-strict/windows-logon-exempt");
    let text = String::from_utf8(good.body.clone().expect("a body")).expect("text");
    for body in [
        text.replace("urn:federation:MicrosoftOnline", "urn:federation:other"),
        text.replace("alice@corp.example", ""),
        text.replace("</wsse:Security>", "<wsse:UsernameToken><wsse:Username>b</wsse:Username></wsse:UsernameToken></wsse:Security>"),
        text.replace("</s:Envelope>", ""),
    ] {
        let mut changed = good.clone();
        changed.body = Some(body.into_bytes());
        assert_eq!(rule(&changed), "office365-strict/windows-logon-unmanaged");
    }
    let mut elsewhere = good;
    elsewhere.target = "/adfs/services/trust/13/certificatemixed".into();
    assert_eq!(rule(&elsewhere), "office365-strict/windows-logon-unmanaged");
}

/// What a directory answers: whether it knows the user, and whether the rate allows one more.
struct Answers(Option<bool>, bool);

impl Directory for Answers {
    fn knows(&self, _: &str) -> Option<bool> {
        self.0
    }

    fn admit(&self, sign_in: &SignIn<'_>) -> bool {
        assert_eq!(sign_in.service, "sts");
        assert!(sign_in.user.is_none_or(|user| user == "alice@corp.example"));
        self.1
    }

    fn would_admit(&self, sign_in: &SignIn<'_>) -> bool {
        self.admit(sign_in)
    }
}

#[test]
fn windows_logon_passes_for_users_that_a_directory_knows_within_the_rate() {
    let mut spec = strict();
    spec.windows_logon = WindowsLogonSetting::Pass;
    let policy = compile(&spec);
    let active = msal("13", "Alice@Corp.example").agent(WINDOWS);
    let mex = Request::get("/adfs/services/trust/mex").agent(WINDOWS);
    for (directory, for_active, for_mex) in [
        (
            Answers(Some(true), true),
            "+windows-logon-exempt",
            "+windows-logon-mex",
        ),
        (
            Answers(Some(true), false),
            "-windows-logon-rate",
            "-windows-logon-rate",
        ),
        (
            Answers(Some(false), true),
            "-windows-logon-unmanaged",
            "+windows-logon-mex",
        ),
        (
            Answers(Some(false), false),
            "-windows-logon-unmanaged",
            "-windows-logon-rate",
        ),
        (
            Answers(None, true),
            "-windows-logon-unmanaged",
            "-windows-logon-unmanaged",
        ),
    ] {
        for (request, expected) in [(&active, for_active), (&mex, for_mex)] {
            let facts = request
                .facts(&policy, UNMANAGED)
                .expect("a readable request");
            let decision = policy.decide(&facts, &directory).without_token();
            let sign = if decision.kind == DecisionKind::Pass {
                '+'
            } else {
                '-'
            };
            let rule = decision.rule.strip_prefix("office365-strict/");
            assert_eq!(format!("{sign}{}", rule.expect("a full name")), expected);
            assert_eq!(
                policy.explain(&facts, &directory).0.without_token(),
                decision
            );
        }
    }
}

#[test]
fn only_a_sign_in_that_would_pass_counts_against_the_rate() {
    struct Never;
    impl Directory for Never {
        fn knows(&self, _: &str) -> Option<bool> {
            Some(true)
        }
        fn admit(&self, sign_in: &SignIn<'_>) -> bool {
            panic!("{sign_in:?} counts")
        }
        fn would_admit(&self, sign_in: &SignIn<'_>) -> bool {
            panic!("{sign_in:?} is asked for")
        }
    }
    let mut spec = strict();
    spec.windows_logon = WindowsLogonSetting::Pass;
    let policy = compile(&spec);
    let sign_in = msal("13", "alice@corp.example");
    let mut elsewhere = sign_in.clone().agent(WINDOWS);
    elsewhere.target = "/adfs/services/trust/13/certificatemixed".into();
    for (request, peer) in [
        (sign_in.clone(), UNMANAGED),
        (sign_in.clone().agent(WINDOWS), MANAGED),
        (sign_in.clone().agent(WINDOWS), BLOCKED),
        (sign_in.agent(WINDOWS), RELAY),
        (elsewhere, UNMANAGED),
    ] {
        let facts = request.facts(&policy, peer).expect("a readable request");
        policy.decide(&facts, &Never);
        policy.explain(&facts, &Never);
    }
}

#[test]
fn where_windows_logon_is_let_through_is_for_the_profile_to_say() {
    let own = ProfileSpec {
        rows: vec![RowSpec {
            path: "/sts/*/logon".into(),
            flow: "active".into(),
            reads: vec!["password".into(), "ws-trust-1.3".into()],
            ..RowSpec::default()
        }],
        ..ProfileSpec::default()
    };
    for (profile, path, rule) in [
        ("simplesamlphp".into(), SIMPLE, "windows-logon-exempt"),
        (
            "pingfederate".into(),
            "/idp/sts.wst",
            "windows-logon-exempt",
        ),
        (
            weir_policy::ProfileChoice::Own(Box::new(own)),
            "/sts/eu/logon",
            "windows-logon-exempt",
        ),
        (
            "adfs".into(),
            "/adfs/services/trust/13/certificatemixed",
            "windows-logon-unmanaged",
        ),
    ] {
        let mut spec = strict();
        spec.windows_logon = WindowsLogonSetting::Pass;
        spec.profile = profile;
        let policy = compile(&spec);
        let mut request = msal("2005", "alice@corp.example").agent(WINDOWS);
        request.target = path.to_owned();
        let facts = request.facts(&policy, UNMANAGED).expect("readable");
        let decision = policy.decide(&facts, &Known).without_token();
        assert_eq!(*decision.rule, format!("office365-strict/{rule}"), "{path}");
    }
}

const SIMPLE: &str = "/simplesaml/module.php/adfs/ws-trust/2005/services/usernamemixed";

#[test]
fn windows_logon_cannot_be_let_through_where_there_is_no_path_for_it() {
    for profile in ["okta", "shibboleth"] {
        let mut spec = strict();
        spec.profile = profile.into();
        compile(&spec);
        spec.windows_logon = WindowsLogonSetting::Pass;
        let errors = Policy::compile(&spec).expect_err("nobody would get in");
        let [error] = &errors[..] else {
            panic!("{errors:?}")
        };
        assert_eq!(error.field, "windows_logon");
        assert!(error.message.contains("would let nobody in"), "{error}");
    }
}

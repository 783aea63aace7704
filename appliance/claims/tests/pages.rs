//! Tokens in pages whose form a browser sends by itself.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use weir_claims::carrier::{Answer, Answering, By, Carried, Kind, answer};

const URL: &str = "https://sts.corp.example/adfs/ls/?wa=wsignin1.0";
const ACTION: &str = "https://login.microsoftonline.com/login.srf";
const RSTR: &str =
    "<t:RequestSecurityTokenResponse xmlns:t=\"http://schemas.xmlsoap.org/ws/2005/02/trust\"/>";

fn read_as(content_type: &str, body: &[u8]) -> Carried {
    let headers = [("content-type", content_type.as_bytes())];
    let page = Answer {
        url: URL,
        status: 200,
        headers: &headers,
        body,
    };
    answer(Answering::Passive, &page)
}

fn read(body: &str) -> Carried {
    read_as("text/html; charset=utf-8", body.as_bytes())
}

/// As AD FS writes it.
fn adfs(fields: &str) -> String {
    format!(
        "<html><head><title>Working...</title></head><body><form method=\"POST\" name=\"hiddenform\" \
         action=\"https://login.microsoftonline.com:443/login.srf\"><input type=\"hidden\" name=\"wa\" \
         value=\"wsignin1.0\" />{fields}<noscript><p>Script is disabled. Click Submit to continue.</p>\
         <input type=\"submit\" value=\"Submit\" /></noscript></form><script language=\"javascript\">\
         window.setTimeout('document.forms[0].submit()', 0);</script></body></html>"
    )
}

fn wresult(xml: &str) -> String {
    let escaped = xml
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;");
    format!("<input type=\"hidden\" name=\"wresult\" value=\"{escaped}\" />")
}

fn page(before: &str, inside: &str, after: &str) -> String {
    let token = wresult(RSTR);
    format!("<body>{before}<form method=post action='{ACTION}'>{inside}{token}</form>{after}")
}

fn is_unreadable(page: &str) -> bool {
    matches!(read(page), Carried::Unreadable(_))
}

#[test]
fn the_page_of_adfs_carries_its_wresult() {
    let wctx =
        "<input type=\"hidden\" name=\"wctx\" value=\"estsredirect=2&amp;estsrequest=rQI\" />";
    let Carried::Token(found) = read(&adfs(&(wresult(RSTR) + wctx))) else {
        panic!("no token");
    };
    assert_eq!((found.kind, found.text.as_str()), (Kind::Wresult, RSTR));
    assert_eq!(found.others, ["wa", "wctx"]);
    let action = ACTION.to_owned();
    assert_eq!(found.by, By::Form { action });
    assert!(!format!("{found:?}").contains("RequestSecurityToken"));
}

#[test]
fn pages_of_other_servers_carry_their_response() {
    let xml =
        "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\">ä</samlp:Response>";
    let packed = BASE64_STANDARD.encode(xml);
    let lines: Vec<&str> = packed
        .as_bytes()
        .chunks(76)
        .map(|line| str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    let shibboleth = format!(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\" /></head><body onload=\"document.forms[0].submit()\">\
         <noscript><p><strong>Note:</strong> press Continue.</p></noscript>\
         <form action=\"https&#x3a;&#x2f;&#x2f;sp.example&#x2f;Shibboleth.sso\" method=\"post\"><div>\
         <input type=\"hidden\" name=\"RelayState\" value=\"ss&#x3a;mem\"/>\
         <input type=\"hidden\" name=\"SAMLResponse\" value=\"{packed}\"/></div>\
         <noscript><div><input type=\"submit\" value=\"Continue\"/></div></noscript></form></body></html>"
    );
    let simple = format!(
        "<body><form id=\"lang\" method=\"get\"><select name=\"language\"><option value=\"de\">Deutsch</select></form>\
         <form method=\"post\" action=\"https://sp.example/Shibboleth.sso\"><!-- a click, not submit() -->\
         <input type=\"submit\" id=\"postLoginSubmitButton\"><input type=\"hidden\" name=\"SAMLResponse\" \
         value=\"{}\"><noscript><button type=\"submit\">Submit</button></noscript></form></body>",
        lines.join("\r\n")
    );
    let okta = format!(
        "<form id=appForm action=\"https&#x3a;&#x2f;&#x2f;sp.example&#x2f;Shibboleth.sso\" method=POST>\
         <input name=SAMLResponse type=hidden value=\"{}\"></form>\
         <script>document.getElementById('appForm').submit();</script>",
        packed.replace('+', "&#x2b;").replace('=', "&#x3d;")
    );
    for body in [shibboleth, simple, okta] {
        let Carried::Token(found) = read(&body) else {
            panic!("no token in {body}: {:?}", read(&body));
        };
        assert_eq!((found.kind, found.text.as_str()), (Kind::SamlResponse, xml));
        let action = "https://sp.example/Shibboleth.sso".to_owned();
        assert_eq!(found.by, By::Form { action });
    }
}

#[test]
fn form_post_hands_on_tokens_and_codes() {
    let hidden = |name: &str, value: &str| {
        format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\" />")
    };
    let both = hidden("code", "c") + &hidden("id_token", "eyJh.eyJi.c2ln") + &hidden("state", "s");
    let Carried::Token(found) = read(&adfs(&both)) else {
        panic!("no token");
    };
    assert_eq!(
        (found.kind, found.text.as_str()),
        (Kind::IdToken, "eyJh.eyJi.c2ln")
    );
    assert_eq!(found.others, ["wa", "code", "state"]);
    assert!(matches!(
        read(&adfs(&hidden("code", "c"))),
        Carried::Code(_)
    ));
    assert!(matches!(
        read(&adfs(&hidden("SAMLart", "AAQ"))),
        Carried::Code(_)
    ));
    // `response_mode=form_post.jwt`, which the client may ask for.
    for signed in ["eyJh.eyJi.c2ln", "eyJh.b.c.d.e"] {
        assert!(matches!(
            read(&adfs(&hidden("response", signed))),
            Carried::Code(_)
        ));
    }
    assert!(matches!(
        read(&adfs(&hidden("ticket", "ST-1856339-aA5Yuvrxzpv8Tau1cYQ7"))),
        Carried::Code(_)
    ));
    let outside = format!("{}{}", adfs(""), hidden("response", "eyJh.eyJi.c2ln"));
    assert!(is_unreadable(&outside));
    assert_eq!(read(&adfs(&hidden("response", "yes"))), Carried::Nothing);
    assert!(matches!(
        read(&adfs(&hidden("id_token", "a.b.c.d.e"))),
        Carried::Opaque(_)
    ));
    assert!(matches!(
        read(&adfs(&hidden("access_token", "opaque"))),
        Carried::Opaque(_)
    ));
    let twice = hidden("id_token", "a.b.c") + &hidden("ID_TOKEN", "a.b.d");
    assert_eq!(read(&adfs(&twice)), Carried::Several);
    let two = wresult(RSTR) + &hidden("SAMLResponse", "PHg+");
    assert_eq!(read(&adfs(&two)), Carried::Several);
}

#[test]
fn pages_to_sign_in_carry_nothing() {
    let form = "<html><body><form method=\"post\" id=\"loginForm\" autocomplete=\"off\" \
        action=\"https://sts.corp.example:443/adfs/oauth2/authorize?client_id=a&amp;response_type=code+id_token&amp;\
        response_mode=form_post&amp;state=eyJhbGciOiJub25lIn0&amp;code_challenge=x\">\
        <input id=\"userNameInput\" name=\"UserName\" type=\"email\" value=\"\"/>\
        <input id=\"passwordInput\" name=\"Password\" type=\"password\"/>\
        <input type=\"hidden\" name=\"AuthMethod\" value=\"FormsAuthentication\"/></form>\
        <script>if (error.code === 5) { Login.submitLoginRequest(); } var s = {\"stateToken\":\"eyJ6aXAiOiJERUYi\"};\
        </script>";
    assert_eq!(read(form), Carried::Nothing);
    // One-time codes are asked for, not handed on.
    assert_eq!(
        read("<form method=post><input type=text name=code autofocus></form>"),
        Carried::Nothing
    );
    assert_eq!(
        read("<p>The SAMLResponse is not valid.</p>"),
        Carried::Nothing
    );
    assert_eq!(read(""), Carried::Nothing);
    assert_eq!(
        read_as("text/html", b"<p>Gr\xfc\xdfe</p>"),
        Carried::Nothing
    );
    assert_eq!(
        read_as("application/json", b"{\"status\":\"MFA_REQUIRED\"}"),
        Carried::Nothing
    );
}

#[test]
fn what_a_script_sends_on_whole_is_unreadable() {
    for script in [
        "location.href = 'https://app.example/#access_token=opaque&token_type=bearer'",
        r#"var to = "https://app.example/?state=s\u0026code=c";"#,
        // `response_mode=okta_post_message`, which the client may ask for.
        "var data = {}; data.code = 'Wc0xFOvHZQ5wYxdGUnPs'; window.opener.postMessage(data, 'https://app.example')",
        r#"parent.postMessage({"state": "s", "code" : "Wc0xFOvHZQ5wYxdGUnPs"}, to)"#,
    ] {
        assert!(
            is_unreadable(&format!("<script>{script}</script>")),
            "{script}"
        );
    }
    for script in [
        r#"top.postMessage({"language": {"code": "en"}, "errorCode": "E0000000000000000000"}, to)"#,
        r#"var config = {"code": "a_word_that_means_something"};"#,
    ] {
        assert_eq!(
            read(&format!("<script>{script}</script>")),
            Carried::Nothing,
            "{script}"
        );
    }
}

#[test]
fn json_for_a_page_that_holds_a_code_is_unreadable() {
    let carried = |json: &str| read_as("application/json;charset=UTF-8", json.as_bytes());
    for json in [
        // `response_mode=pi.flow`, which the client may ask for.
        r#"{"status":"COMPLETED","authorizeResponse":{"code":"pmDuJqZVwBNCdmGEsWqHwTkQ"}}"#,
        r#"{"value":[{"name":"interaction_code","value":"kYBuUV1C"}]}"#,
    ] {
        assert!(matches!(carried(json), Carried::Unreadable(_)), "{json}");
    }
    for json in [
        r#"{"code":"VALIDATION_ERROR","details":[{"code":"CREDENTIAL_VALIDATION_FAILED"}]}"#,
        r#"{"errorCode":"E0000004","status":"MFA_REQUIRED"}"#,
    ] {
        assert_eq!(carried(json), Carried::Nothing, "{json}");
    }
}

#[test]
fn what_moves_a_field_to_another_form_is_unreadable() {
    assert!(matches!(read(&page("", "", "")), Carried::Token(_)));
    assert!(matches!(
        read(&page(
            "<select><option>a</select><svg><path d='m'/></svg>",
            "",
            ""
        )),
        Carried::Token(_)
    ));
    let around = [
        ("<base href='https://evil.example/'>", "", ""),
        ("<form action=/a>", "", ""),
        ("<form action=/a><div></form></div><form>", "", ""),
        ("<div><form action=/a></div>", "", ""),
        ("<template>", "", "</template>"),
        ("<svg>", "", "</svg>"),
        ("<math>", "", "</math>"),
        ("<select>", "", "</select>"),
        ("<frameset>", "", ""),
        ("<datalist>", "", "</datalist>"),
        ("<fieldset disabled>", "", "</fieldset>"),
        ("", "<svg>", ""),
        ("<div>", "</div>", ""),
        ("", "<select>", ""),
        ("", "<table><tr><td></form>", ""),
        (
            "",
            "<button formaction='https://evil.example/'>Go</button>",
            "",
        ),
        ("", "", "<input type=submit form=f>"),
        ("", "", "<p class=a class=b>"),
        ("<meta http-equiv=refresh content='0;url=/'>", "", ""),
        (
            "<meta http-equiv=refresh content='0;url=https://sp.example/?SAMLResponse=a'>",
            "",
            "",
        ),
        (
            "",
            "",
            "<script>document.forms[0].action='https://evil.example'</script>",
        ),
        (
            "",
            "",
            "<script>document.forms[0].wresult.value='x'</script>",
        ),
        ("", "", "<p onclick=\"document.forms[0].action='x'\">"),
        ("", "", "<!-- <input name=wresult> -->"),
        ("", "", "<noscript><input name='wresult'></noscript>"),
        ("", "<noscript></FORM></noscript>", ""),
        ("", "", "<textarea name=SAMLResponse></textarea>"),
        (
            "",
            "",
            "<iframe srcdoc='&lt;input name=id_token>'></iframe>",
        ),
        ("", "", "<input type=hidden name=wresult value=x>"),
        ("", "", "<input type=hidden name='wre&shy;sult' value=x>"),
        ("", "<input type=hidden name='w&#xad;result' value=x>", ""),
        ("<select><xmp><script>", "", "</script></xmp></select>"),
    ];
    for (before, inside, after) in around {
        let body = page(before, inside, after);
        assert!(is_unreadable(&body), "{body}: {:?}", read(&body));
    }
    // The end of the form, and its attributes.
    for (from, to) in [
        ("</form>", ""),
        ("method=post", "method=get"),
        ("method=post", "method=post method=get"),
        ("method=post", "method=post enctype=text/plain"),
        ("method=post", "method=post accept-charset=utf-7"),
        ("action='https", "action='&https&copy"),
        ("type=\"hidden\"", "type=\"text\""),
        ("type=\"hidden\"", "type=\"hidden\" disabled"),
        ("type=\"hidden\"", "type=\"hidden\" form=\"f\""),
        (" value=", " data-value="),
        ("&lt;t:", "&ltt:"),
        ("&lt;t:", "&#0;&lt;t:"),
    ] {
        let body = page("", "", "</div>").replacen(from, to, 1);
        assert!(is_unreadable(&body), "{body}: {:?}", read(&body));
    }
    let second = page("", "", "") + &page("", "", "");
    assert!(is_unreadable(&second));
}

#[test]
fn only_utf_8_is_read() {
    let plain = page("", "", "");
    let marked = [b"\xef\xbb\xbf".as_slice(), plain.as_bytes()].concat();
    // The mark has the last word.
    for charset in ["utf-8", "utf-16", "iso-8859-1"] {
        let found = read_as(&format!("text/html; charset={charset}"), &marked);
        assert!(matches!(found, Carried::Token(_)), "{charset}");
    }
    assert!(matches!(
        read_as("text/html", plain.as_bytes()),
        Carried::Token(_)
    ));
    assert!(matches!(
        read_as("text/html; charset=iso-8859-1", plain.as_bytes()),
        Carried::Token(_)
    ));
    let umlaut = page("ä", "", "");
    let latin = [b"\xe4".as_slice(), plain.as_bytes()].concat();
    let wide: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(plain.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    for (content_type, body) in [
        ("text/html", umlaut.as_bytes()),
        ("text/html; charset=iso-8859-1", umlaut.as_bytes()),
        ("text/html; charset=utf-8", &latin),
        ("text/html; charset=utf-7", plain.as_bytes()),
        ("text/html; charset=utf-8", &wide),
        (
            "text/html",
            page("<meta charset=iso-2022-jp>", "", "").as_bytes(),
        ),
        ("text/html", page("\0", "", "").as_bytes()),
        ("application/xhtml+xml", plain.as_bytes()),
        ("application/json", plain.as_bytes()),
        ("", plain.as_bytes()),
    ] {
        let found = read_as(content_type, body);
        assert!(
            matches!(found, Carried::Unreadable(_)),
            "{content_type}: {found:?}"
        );
    }
}

#[test]
fn pages_are_bounded() {
    let large = page("", "", &" ".repeat(2 << 20));
    assert!(is_unreadable(&large));
    assert!(is_unreadable(&page(
        &"<a>".repeat(100_000),
        "",
        &"</b>".repeat(100_000)
    )));
    assert!(is_unreadable(&page(
        "",
        "",
        &format!("<a {}>", "b ".repeat(200_000))
    )));
    let many = page(&"<p>a</p>".repeat(10_000), "", "");
    assert!(matches!(read(&many), Carried::Token(_)));
}

/// Pieces that decide how a page is read.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "<form>",
        "</form>",
        "<form method=post action='https://a.example/'>",
        "<svg>",
        "</svg>",
        "<math>",
        "<select>",
        "</select>",
        "<template>",
        "</template>",
        "<table>",
        "<tr>",
        "</table>",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "<noscript>",
        "</noscript>",
        "<textarea>",
        "</textarea>",
        "<title>",
        "</title>",
        "<p>",
        "</p>",
        "<div ",
        "'",
        "\"",
        ">",
        "<![CDATA[",
        "]]>",
        "&lt;",
        "<plaintext>",
        "<base href=x>",
        "<frameset>",
        "<input name='wresult'>",
        "=",
    ];
    prop_oneof![
        3 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => "[ -~]{0,12}",
        1 => "\\PC{0,6}",
    ]
}

proptest! {
    #[test]
    fn noise_never_panics(pieces in prop::collection::vec(piece(), 0..24), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        read(&pieces.concat());
        read_as("text/html", &bytes);
    }

    /// Whatever stands in front that does not swallow it, and whatever is behind.
    #[test]
    fn an_input_named_wresult_is_never_nothing(
        before in prop::collection::vec(piece(), 0..12),
        name in prop::sample::select(vec!["wresult", "WRESULT", "wre&#115;ult", "&#x77;result", "SAMLResponse", "id_token"]),
        after in prop::collection::vec(piece(), 0..12),
    ) {
        let input = format!("<input type=hidden name='{name}' value='&lt;a/>'>");
        // Text, comments and quotes in front may make the input no input.
        let before: String = before.into_iter().filter(|piece| {
            (piece.starts_with('<') && piece.ends_with('>'))
                && !["<!--", "<![CDATA[", "<script", "<noscript", "<textarea", "<title", "<plaintext"].iter().any(|start| piece.starts_with(start))
        }).collect();
        let page = format!("{before}{input}{}", after.concat());
        prop_assert_ne!(read(&page), Carried::Nothing);
    }
}

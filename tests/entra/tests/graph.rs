//! Graph as a client sees it: lists, single objects, permissions, and who may ask.

mod support;

use reqwest::StatusCode;
use serde_json::json;
use support::{Client, http, quiet, read};
use weir_lab_entra::world::Licence;
use weir_lab_entra::world::documents::Section;
use weir_lab_entra::world::object::Kind;

#[tokio::test]
async fn the_organisation_is_one_and_is_the_tenant_of_the_token() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let organisations = client.get("/organization").await.items();
    assert_eq!(organisations.len(), 1);
    assert_eq!(organisations[0]["id"], json!(lab.tenant()));
}

#[tokio::test]
async fn a_list_shows_the_usual_properties_and_selected_ones_when_asked() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let vera = lab.edit(|edit| edit.user("vera.lind@fabrik.example", "Vera Lind"));
    let usual = client.get(&format!("/users/{vera}")).await.json();
    assert_eq!(usual["displayName"], "Vera Lind");
    assert!(
        usual.get("accountEnabled").is_none(),
        "it needs $select: {usual}"
    );
    assert_eq!(
        usual["jobTitle"],
        json!(null),
        "never set is null in a list"
    );
    let selected = client
        .get(&format!(
            "/users/{vera}?$select=id,accountEnabled,department"
        ))
        .await
        .json();
    assert_eq!(selected["accountEnabled"], true);
    assert!(selected.get("displayName").is_none());
    let unknown = client.get("/users?$select=id,shoeSize").await;
    assert_eq!(
        (unknown.status, unknown.code().as_str()),
        (StatusCode::BAD_REQUEST, "Request_BadRequest")
    );
    assert!(
        unknown
            .text
            .contains("Could not find a property named 'shoeSize' on type 'microsoft.graph.user'.")
    );
}

#[tokio::test]
async fn pages_follow_each_other_and_none_is_larger_than_asked() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    lab.edit(|edit| {
        for number in 0..30 {
            edit.user(&format!("u{number}@fabrik.example"), "Many Others");
        }
    });
    let first = client.get("/users?$select=id&$top=7").await;
    assert_eq!(first.items().len(), 7);
    let link = first.json()["@odata.nextLink"]
        .as_str()
        .expect("more")
        .to_owned();
    assert!(
        link.starts_with(lab.graph()) && link.contains("$top=7"),
        "{link}"
    );
    let all = client.all("/users?$select=id&$top=7").await;
    let mut ids: Vec<String> = all.iter().map(|item| item["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), lab.world().tenants[0].directory.live(Kind::User));
    let most = client.get("/users?$top=1000").await;
    assert_eq!(most.code(), "Request_BadRequest");
    assert!(
        most.text
            .contains("Invalid page size specified: '1000'. Must be between 1 and 999 inclusive.")
    );
    let foreign = link.replacen("/users?", "/groups?", 1);
    assert!(
        client
            .get(&foreign)
            .await
            .text
            .contains("Badly formed token.")
    );
    lab.world().clock.advance(time::Duration::hours(2));
    let mut client = client;
    client.sign_in().await;
    assert_eq!(client.get(&link).await.code(), "Directory_ExpiredPageToken");
}

#[tokio::test]
async fn each_user_has_one_row_of_registered_methods_over_all_pages() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let path = "/reports/authenticationMethods/userRegistrationDetails";
    let rows = client.all(&format!("{path}?$top=4")).await;
    let mut ids: Vec<&str> = rows
        .iter()
        .map(|row| row["id"].as_str().expect("an id"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows.len());
    assert_eq!(ids.len(), lab.world().tenants[0].directory.live(Kind::User));
    let guests = client
        .all(&format!(
            "{path}?$top=1&$filter=userType%20eq%20%27guest%27"
        ))
        .await;
    assert_eq!(guests.len(), 1);
}

#[tokio::test]
async fn filters_compare_texts_flags_and_collections() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let found = async |filter: &str| {
        let encoded: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        let items = client
            .get(&format!("/groups?$filter={encoded}&$select=displayName"))
            .await;
        let mut names: Vec<String> = items
            .items()
            .iter()
            .map(|item| item["displayName"].as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(found("displayName eq 'SG-LAB-ALL'").await, ["sg-lab-all"]);
    assert_eq!(
        found("startsWith(displayName,'sg-lab') and securityEnabled eq true")
            .await
            .len(),
        3
    );
    assert_eq!(
        found("displayName in ('dyn-lab', 'sg-empty')").await,
        ["dyn-lab", "sg-empty"]
    );
    assert_eq!(
        found("groupTypes/any(t:t eq 'DynamicMembership')").await,
        ["dyn-lab"]
    );
    assert_eq!(
        found("(displayName eq 'sg-empty' or displayName eq 'o''hara')").await,
        ["sg-empty"]
    );
    for wrong in [
        "displayName eq",
        "shoe eq 1",
        "displayName eq 'a",
        "((displayName eq 'a')",
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(wrong.as_bytes()).collect();
        let answer = client.get(&format!("/groups?$filter={encoded}")).await;
        assert_eq!(answer.code(), "Request_BadRequest", "{wrong}");
    }
}

#[tokio::test]
async fn advanced_queries_need_their_header() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let path = "/users?$filter=userType%20ne%20%27Member%27&$count=true&$select=userPrincipalName";
    assert_eq!(client.get(path).await.code(), "Request_UnsupportedQuery");
    let eventual = [("ConsistencyLevel", "eventual")];
    let guests = client.get_with(path, &eventual).await;
    assert_eq!(guests.json()["@odata.count"], guests.items().len());
    assert_eq!(
        guests.items().len(),
        2,
        "the guest, and the account without a type"
    );
    assert_eq!(
        client.get("/users/$count").await.status,
        StatusCode::BAD_REQUEST
    );
    let count = client.get_with("/users/$count", &eventual).await;
    let users = lab.world().tenants[0].directory.live(Kind::User);
    assert_eq!(count.text, users.to_string());
}

#[tokio::test]
async fn a_token_that_is_none_opens_nothing() {
    let lab = quiet().await;
    let mut client = Client::new(&lab).await;
    let good = client.token.clone();
    let mut forged = good.clone();
    let last = forged.pop().expect("a signature");
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    for (token, words) in [
        ("", "Access token is empty."),
        ("abc", "CompactToken parsing failed"),
        (forged.as_str(), "Invalid signature"),
    ] {
        client.token = token.to_owned();
        let answer = client.get("/organization").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken")
        );
        assert!(answer.text.contains(words), "{}", answer.text);
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    client.token = good;
    assert_eq!(client.get("/organization").await.status, StatusCode::OK);
    lab.world().clock.advance(time::Duration::hours(2));
    let expired = client.get("/organization").await;
    assert!(
        expired
            .text
            .contains("Access token has expired or is not yet valid."),
        "{}",
        expired.text
    );
}

#[tokio::test]
async fn what_is_not_consented_is_refused_in_the_words_of_its_service() {
    let lab = quiet().await;
    let client = Client::with_roles(&lab, &["GroupMember.Read.All"]).await;
    for (path, code) in [
        ("/users", "Authorization_RequestDenied"),
        ("/organization", "Authorization_RequestDenied"),
        ("/identity/conditionalAccess/policies", "AccessDenied"),
        ("/policies/authenticationMethodsPolicy", "AccessDenied"),
        (
            "/domains/fabrik.example/federationConfiguration",
            "Authorization_RequestDenied",
        ),
        ("/auditLogs/signIns", "Authorization_RequestDenied"),
    ] {
        let answer = client.get(path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::FORBIDDEN, code),
            "{path}"
        );
    }
    assert_eq!(client.get("/groups/delta").await.status, StatusCode::OK);
    let bare = Client::with_roles(&lab, &[]).await;
    assert_eq!(
        bare.get("/groups").await.status,
        StatusCode::FORBIDDEN,
        "a token, but no roles"
    );
}

#[tokio::test]
async fn few_permissions_show_few_properties() {
    let lab = quiet().await;
    let basic = Client::with_roles(&lab, &["User.ReadBasic.All"]).await;
    assert_eq!(basic.get("/users").await.status, StatusCode::OK);
    let more = basic.get("/users?$select=accountEnabled").await;
    assert_eq!(more.code(), "Authorization_RequestDenied");
    let members = Client::with_roles(&lab, &["GroupMember.Read.All"]).await;
    let groups = members.all("/groups?$select=id,displayName").await;
    let all = groups
        .iter()
        .find(|group| group["displayName"] == "sg-lab-all")
        .expect("a group");
    let path = format!("/groups/{}/members", all["id"].as_str().expect("an id"));
    for member in members.get(&path).await.items() {
        let readable = member["@odata.type"] == "#microsoft.graph.group";
        assert_eq!(member["displayName"].is_string(), readable, "{member}");
    }
}

#[tokio::test]
async fn licences_decide_what_there_is_to_read() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let pim = "/roleManagement/directory/roleEligibilityScheduleInstances";
    assert_eq!(client.get(pim).await.items().len(), 1);
    lab.edit(|edit| edit.tenant.licence = Licence::Free);
    let signs = client.get("/auditLogs/signIns").await;
    assert_eq!(signs.status, StatusCode::FORBIDDEN);
    assert_eq!(
        signs.code(),
        "Authentication_RequestFromNonPremiumTenantOrB2CTenant"
    );
    assert_eq!(client.get(pim).await.code(), "AadPremiumLicenseRequired");
}

#[tokio::test]
async fn what_a_cloud_does_not_offer_is_no_segment_of_its_own() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let path = "/policies/authenticationMethodsPolicy";
    assert_eq!(client.get(path).await.status, StatusCode::OK);
    lab.edit(|edit| edit.tenant.not_offered.push(Section::AuthenticationMethods));
    let absent = client.get(path).await;
    assert_eq!(absent.status, StatusCode::BAD_REQUEST);
    assert!(
        absent
            .text
            .contains("segment 'authenticationMethodsPolicy'"),
        "{}",
        absent.text
    );
}

#[tokio::test]
async fn answers_carry_the_headers_of_graph() {
    let lab = quiet().await;
    let client = Client::new(&lab).await;
    let own = [("client-request-id", "9b7a0c4e-0000-4000-8000-000000000001")];
    let answer = client.get_with("/organization", &own).await;
    assert_eq!(answer.header("client-request-id"), own[0].1);
    assert!(uuid::Uuid::try_parse(answer.header("request-id")).is_ok());
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json;odata.metadata=minimal")
    );
    assert_eq!(answer.header("odata-version"), "4.0");
    let missing = client
        .get("/users/00000000-0000-4000-8000-000000000000")
        .await;
    assert_eq!(
        (missing.status, missing.code().as_str()),
        (StatusCode::NOT_FOUND, "Request_ResourceNotFound")
    );
    assert_eq!(
        missing.json()["error"]["innerError"]["request-id"],
        missing.header("request-id")
    );
    let old = http(&lab).get(format!("{}/v2.0/users", lab.graph()));
    let old = old.header("authorization", format!("Bearer {}", client.token));
    assert_eq!(
        read(old.send().await.expect("an answer")).await.status,
        StatusCode::BAD_REQUEST
    );
}

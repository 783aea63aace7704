//! Documents in the form that Graph gives them, to start from.

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Licence;
use super::clock::written;

/// Role template: Global Administrator.
pub const GLOBAL_ADMINISTRATOR: &str = "62e90394-69f5-4237-9190-012177145e10";
/// Role template: Global Reader.
pub const GLOBAL_READER: &str = "f2ef992c-3afb-46b9-b7cf-a126ee74c451";
/// Role template: Security Administrator.
pub const SECURITY_ADMINISTRATOR: &str = "194ae4cb-b126-40b2-bd5b-6091b380977d";
/// Role template: User Administrator.
pub const USER_ADMINISTRATOR: &str = "fe930be7-5e62-47db-91af-98c3a49a38b1";

/// The roles that the lab knows: template and name.
pub const ROLES: [(&str, &str); 4] = [
    (GLOBAL_ADMINISTRATOR, "Global Administrator"),
    (GLOBAL_READER, "Global Reader"),
    (SECURITY_ADMINISTRATOR, "Security Administrator"),
    (USER_ADMINISTRATOR, "User Administrator"),
];

const CREATED: &str = "2025-02-03T09:00:00Z";

/// The organisation, with these domains: name, whether it is federated. The first is its default.
pub fn organization(tenant: Uuid, name: &str, licence: Licence, domains: &[(&str, bool)]) -> Value {
    let plan = |id: &str| {
        json!({ "assignedDateTime": "2024-01-01T00:00:00Z", "capabilityStatus": "Enabled",
            "service": "AADPremiumService", "servicePlanId": id })
    };
    let plans = match licence {
        Licence::Free => vec![],
        Licence::P1 => vec![plan("41781fb2-bc02-4b7c-bd55-b576c07bb09d")],
        Licence::P2 => vec![
            plan("41781fb2-bc02-4b7c-bd55-b576c07bb09d"),
            plan("eec0eb4f-6444-4f95-aba0-50c24d67f998"),
        ],
    };
    let verified = domains.iter().enumerate().map(|(at, (name, federated))| {
        json!({ "capabilities": "Email, OfficeCommunicationsOnline", "isDefault": at == 0,
            "isInitial": name.contains("onmicrosoft"), "name": name, "type": kind(*federated) })
    });
    json!({ "id": tenant, "displayName": name, "countryLetterCode": "DE", "createdDateTime": "2019-04-01T08:00:00Z",
        "deletedDateTime": null, "tenantType": "AAD", "onPremisesSyncEnabled": true,
        "onPremisesLastSyncDateTime": "2026-08-22T07:12:00Z", "preferredLanguage": "de",
        "technicalNotificationMails": ["it@fabrik.example"], "businessPhones": [],
        "verifiedDomains": verified.collect::<Vec<_>>(), "assignedPlans": plans })
}

/// A verified domain.
pub fn domain(name: &str, is_default: bool, federated: bool) -> Value {
    json!({ "authenticationType": kind(federated), "availabilityStatus": null, "id": name, "isAdminManaged": true,
        "isDefault": is_default, "isInitial": name.contains("onmicrosoft"), "isRoot": true, "isVerified": true,
        "supportedServices": ["Email", "OfficeCommunicationsOnline"], "passwordValidityPeriodInDays": i32::MAX,
        "passwordNotificationWindowInDays": 14, "state": null })
}

/// Federation settings that point at AD FS on `host`, with a certificate as base64 of its DER form.
pub fn federation(id: Uuid, host: &str, certificate: &str) -> Value {
    json!({ "@odata.type": "#microsoft.graph.internalDomainFederation", "id": id, "displayName": "Fabrik STS",
        "issuerUri": format!("http://{host}/adfs/services/trust"),
        "metadataExchangeUri": format!("https://{host}/adfs/services/trust/mex"), "signingCertificate": certificate,
        "nextSigningCertificate": null, "passiveSignInUri": format!("https://{host}/adfs/ls/"),
        "activeSignInUri": format!("https://{host}/adfs/services/trust/2005/usernamemixed"),
        "signOutUri": format!("https://{host}/adfs/ls/"), "passwordResetUri": null,
        "preferredAuthenticationProtocol": "wsFed", "promptLoginBehavior": "nativeSupport",
        "federatedIdpMfaBehavior": "acceptIfMfaDoneByFederatedIdp", "isSignedAuthenticationRequestRequired": null,
        "signingCertificateUpdateStatus": { "certificateUpdateResult": "Success",
            "lastRunDateTime": "2026-08-10T00:00:00Z" } })
}

/// A Conditional Access policy that asks everybody for a second factor, except from these locations.
pub fn conditional_access(id: Uuid, name: &str, state: &str, except_from: &[Uuid]) -> Value {
    json!({ "id": id, "templateId": null, "displayName": name, "createdDateTime": "2025-02-03T09:00:00.1234567Z", "modifiedDateTime": null,
        "state": state, "deletedDateTime": null, "sessionControls": null,
        "conditions": { "userRiskLevels": [], "signInRiskLevels": [], "clientAppTypes": ["all"],
            "servicePrincipalRiskLevels": [], "platforms": null, "devices": null, "clientApplications": null,
            "insiderRiskLevels": null, "authenticationFlows": null,
            "applications": { "includeApplications": ["All"], "excludeApplications": [], "includeUserActions": [],
                "includeAuthenticationContextClassReferences": [], "applicationFilter": null },
            "users": { "includeUsers": ["All"], "excludeUsers": [], "includeGroups": [], "excludeGroups": [],
                "includeRoles": [], "excludeRoles": [], "includeGuestsOrExternalUsers": null,
                "excludeGuestsOrExternalUsers": null },
            "locations": { "includeLocations": ["All"], "excludeLocations": except_from } },
        "grantControls": { "operator": "OR", "builtInControls": ["mfa"], "customAuthenticationFactors": [],
            "termsOfUse": [], "authenticationStrength": null } })
}

/// A named location of address ranges, written as given.
pub fn ip_location(id: Uuid, name: &str, trusted: bool, ranges: &[&str]) -> Value {
    let ranges = ranges.iter().map(|range| {
        let kind = if range.contains(':') { "6" } else { "4" };
        json!({ "@odata.type": format!("#microsoft.graph.iPv{kind}CidrRange"), "cidrAddress": range })
    });
    json!({ "@odata.type": "#microsoft.graph.ipNamedLocation", "id": id, "displayName": name,
        "createdDateTime": CREATED, "modifiedDateTime": CREATED, "deletedDateTime": null, "isTrusted": trusted,
        "ipRanges": ranges.collect::<Vec<_>>() })
}

/// A named location of countries.
pub fn country_location(id: Uuid, name: &str, countries: &[&str]) -> Value {
    json!({ "@odata.type": "#microsoft.graph.countryNamedLocation", "id": id, "displayName": name,
        "createdDateTime": CREATED, "modifiedDateTime": CREATED, "deletedDateTime": null,
        "countriesAndRegions": countries, "includeUnknownCountriesAndRegions": false,
        "countryLookupMethod": "clientIpAddress" })
}

/// Which authentication methods are on: FIDO2 and the Authenticator; SMS is off.
pub fn authentication_methods() -> Value {
    let everybody = |more: Value| {
        let mut target =
            json!({ "targetType": "group", "id": "all_users", "isRegistrationRequired": false });
        if let (Value::Object(target), Value::Object(more)) = (&mut target, more) {
            target.extend(more);
        }
        json!([target])
    };
    json!({ "id": "authenticationMethodsPolicy", "displayName": "Authentication Methods Policy",
        "description": "The tenant-wide policy that controls which authentication methods are allowed.",
        "lastModifiedDateTime": "2026-05-04T10:11:12.1234567Z", "policyVersion": "1.5",
        "policyMigrationState": "migrationComplete",
        "registrationEnforcement": { "authenticationMethodsRegistrationCampaign": { "snoozeDurationInDays": 1,
            "state": "default", "excludeTargets": [], "includeTargets": [{ "id": "all_users", "targetType": "group",
                "targetedAuthenticationMethod": "microsoftAuthenticator" }] } },
        "authenticationMethodConfigurations": [
            { "@odata.type": "#microsoft.graph.fido2AuthenticationMethodConfiguration", "id": "Fido2",
                "state": "enabled", "isAttestationEnforced": true, "isSelfServiceRegistrationAllowed": true,
                "excludeTargets": [], "includeTargets": everybody(json!({})),
                "keyRestrictions": { "isEnforced": false, "enforcementType": "block", "aaGuids": [] } },
            { "@odata.type": "#microsoft.graph.microsoftAuthenticatorAuthenticationMethodConfiguration",
                "id": "MicrosoftAuthenticator", "state": "enabled", "isSoftwareOathEnabled": false,
                "excludeTargets": [], "includeTargets": everybody(json!({ "authenticationMode": "any" })) },
            { "@odata.type": "#microsoft.graph.smsAuthenticationMethodConfiguration", "id": "Sms",
                "state": "disabled", "excludeTargets": [],
                "includeTargets": everybody(json!({ "isUsableForSignIn": false })) }] })
}

/// Security defaults, on or off.
pub fn security_defaults(enabled: bool) -> Value {
    json!({ "id": "00000000-0000-0000-0000-000000000005", "displayName": "Security Defaults",
        "description": "A set of basic identity security mechanisms.", "deletedDateTime": null, "isEnabled": enabled })
}

/// Rights of guests and consent settings.
pub fn authorization() -> Value {
    json!({ "id": "authorizationPolicy", "displayName": "Authorization Policy", "description": "Used to manage rights.",
        "deletedDateTime": null, "allowInvitesFrom": "adminsAndGuestInviters",
        "allowEmailVerifiedUsersToJoinOrganization": false, "allowUserConsentForRiskyApps": false,
        "allowedToSignUpEmailBasedSubscriptions": false, "allowedToUseSSPR": true, "blockMsolPowerShell": true,
        "guestUserRoleId": "10dae51f-b6af-4016-8d66-8c2a99b929b3",
        "defaultUserRolePermissions": { "allowedToCreateApps": false, "allowedToCreateSecurityGroups": false,
            "allowedToCreateTenants": false, "allowedToReadBitlockerKeysForOwnedDevice": true,
            "allowedToReadOtherUsers": true, "permissionGrantPoliciesAssigned": [] } })
}

/// The authentication strength that any second factor satisfies.
pub fn authentication_strength() -> Value {
    json!({ "id": "00000000-0000-0000-0000-000000000002", "displayName": "Multifactor authentication",
        "description": "Combinations of methods that satisfy strong authentication", "policyType": "builtIn",
        "requirementsSatisfied": "mfa", "allowedCombinations": ["windowsHelloForBusiness", "fido2", "password,sms"],
        "createdDateTime": "2021-12-01T00:00:00Z", "modifiedDateTime": "2021-12-01T00:00:00Z" })
}

/// The definition of a built-in role.
pub fn role_definition(template: &str, name: &str) -> Value {
    json!({ "id": template, "templateId": template, "displayName": name, "description": name, "isBuiltIn": true,
        "isEnabled": true, "resourceScopes": ["/"], "version": "1",
        "rolePermissions": [{ "allowedResourceActions": ["microsoft.directory/users/standard/read"],
            "condition": null }] })
}

/// An entry of the sign-in log: who, from where, and the error (0: success).
pub fn sign_in(
    id: Uuid,
    at: OffsetDateTime,
    user: (Uuid, &str, &str),
    address: &str,
    error: i32,
) -> Value {
    let (user, upn, name) = user;
    let reason = if error == 0 {
        "Other."
    } else {
        "Invalid username or password."
    };
    json!({ "id": id, "createdDateTime": written(at), "userDisplayName": name, "userPrincipalName": upn,
        "userId": user, "appId": "00000002-0000-0ff1-ce00-000000000000", "appDisplayName": "Office 365 Exchange Online",
        "ipAddress": address, "clientAppUsed": "Browser", "correlationId": id,
        "conditionalAccessStatus": if error == 0 { "success" } else { "failure" }, "isInteractive": true,
        "riskDetail": "none", "riskLevelAggregated": "none", "riskLevelDuringSignIn": "none", "riskState": "none",
        "riskEventTypes_v2": [], "resourceDisplayName": "Microsoft Graph", "resourceId": super::apps::GRAPH,
        "status": { "errorCode": error, "failureReason": reason, "additionalDetails": null },
        "deviceDetail": { "deviceId": "", "displayName": null, "operatingSystem": "Windows10", "browser": "Edge",
            "isCompliant": true, "isManaged": true, "trustType": "Hybrid Azure AD joined" },
        "location": { "city": "Konstanz", "state": "BW", "countryOrRegion": "DE", "geoCoordinates": {} },
        "appliedConditionalAccessPolicies": [] })
}

/// What a user has registered, when nothing else is said: a second factor.
pub fn registration(user: Uuid, upn: &str, name: &str, kind: &str) -> Value {
    json!({ "id": user, "userPrincipalName": upn, "userDisplayName": name, "userType": kind.to_ascii_lowercase(),
        "isAdmin": false, "isSsprRegistered": true, "isSsprEnabled": true, "isSsprCapable": true,
        "isMfaRegistered": true, "isMfaCapable": true, "isPasswordlessCapable": false,
        "methodsRegistered": ["microsoftAuthenticatorPush", "softwareOneTimePasscode"],
        "isSystemPreferredAuthenticationMethodEnabled": true,
        "systemPreferredAuthenticationMethods": ["microsoftAuthenticatorPush"],
        "userPreferredMethodForSecondaryAuthentication": "push", "lastUpdatedDateTime": "2026-08-21T04:00:00Z" })
}

fn kind(federated: bool) -> &'static str {
    if federated { "Federated" } else { "Managed" }
}

//! Tenants to begin with: an empty one with the application in it, and one of any size.

use time::Duration;
use uuid::{Uuid, uuid};

use super::apps::{App, Certificate, Secret};
use super::documents::Section;
use super::object::{Kind, Object, Prop, State};
use super::shapes;
use super::{Licence, Tenant, World};

/// The first tenant.
pub const TENANT: Uuid = uuid!("7d3c1a52-9f0e-4f5b-8c3d-2b6a1e0f4d10");
/// The application that synchronises, registered in that tenant.
pub const APP: Uuid = uuid!("6f1d0c52-3b7e-4d9a-9c41-5e8f7a6b2c30");
/// Its secret.
pub const SECRET: &str = "s~cR3t+/=._-of.the.lab";
/// The resource id of the machine that has an identity of its own.
pub const MACHINE: &str =
    "/subscriptions/0e1f/resourceGroups/edge/providers/Microsoft.Compute/virtualMachines/weir";
/// The client id of that identity.
pub const MACHINE_APP: Uuid = uuid!("1a7b9d3e-5c2f-4e80-b6d4-90f8e7c6a501");
/// Where the application's administrators come back to.
pub const REDIRECT: &str = "https://weir.fabrik.example/entra/consent";

/// What the application asks for: enough for every part that Weir collects.
pub const PERMISSIONS: [&str; 10] = [
    "User.Read.All",
    "GroupMember.Read.All",
    "Member.Read.Hidden",
    "Organization.Read.All",
    "RoleManagement.Read.Directory",
    "Policy.Read.All",
    "Domain.Read.All",
    "Domain-InternalFederation.Read.All",
    "AuditLog.Read.All",
    "Application.Read.All",
];

/// A tenant without anybody in it, with federated domains and its initial one.
pub fn empty(world: &mut World, id: Uuid, name: &str, licence: Licence) {
    let domains = [
        ("fabrik.example", true),
        ("mex.corp.example", true),
        ("nomex.corp.example", true),
        ("mex-adfs.corp.example", true),
        ("nomex-adfs.corp.example", true),
        ("fabrik.onmicrosoft.example", false),
    ];
    let mut tenant = Tenant {
        id,
        region: "EU".to_owned(),
        licence,
        directory: super::Directory::default(),
        documents: super::Documents::default(),
        registrations: std::collections::BTreeMap::new(),
        accounts: Vec::new(),
        generation: 0,
        not_offered: Vec::new(),
        plans: super::Plans::default(),
    };
    let documents = &mut tenant.documents;
    let mut put = |section, document| documents.put(section, document);
    put(
        Section::Organization,
        shapes::organization(id, name, licence, &domains),
    );
    for (at, (name, federated)) in domains.into_iter().enumerate() {
        put(Section::Domains, shapes::domain(name, at == 0, federated));
    }
    for (template, name) in shapes::ROLES {
        put(
            Section::RoleDefinitions,
            shapes::role_definition(template, name),
        );
    }
    put(
        Section::AuthenticationMethods,
        shapes::authentication_methods(),
    );
    put(Section::SecurityDefaults, shapes::security_defaults(false));
    put(Section::Authorization, shapes::authorization());
    put(
        Section::AuthenticationStrengths,
        shapes::authentication_strength(),
    );
    world.tenants.push(tenant);
}

/// Registers the application in the first tenant, with a secret and a certificate (DER), and has it consented to.
pub fn register(world: &mut World, certificate: Vec<u8>) {
    let (now, home) = (world.clock.now(), world.tenants[0].id);
    let chance = world.chance.of_text("register");
    world.apps.push(App {
        app_id: APP,
        object_id: chance.of(1).id(),
        name: "Weir directory sync".to_owned(),
        home,
        multi_tenant: true,
        requires: PERMISSIONS.map(str::to_owned).to_vec(),
        redirects: vec![REDIRECT.to_owned()],
        secrets: vec![Secret::new(
            chance.of(2).id(),
            SECRET,
            now - Duration::DAY,
            now + Duration::days(180),
        )],
        certificates: vec![Certificate {
            key_id: chance.of(3).id(),
            der: certificate,
        }],
    });
    let mut edit = world.edit(home).expect("the first tenant");
    let grants = PERMISSIONS.map(|role| (role.to_owned(), now)).to_vec();
    let machine = edit.account(MACHINE_APP, "weir");
    machine.machine = Some(MACHINE.to_owned());
    machine.grants.clone_from(&grants);
    edit.account(APP, "Weir directory sync").grants = grants;
}

/// The tenant with nobody in it, and the application.
pub fn bare(world: &mut World, certificate: Vec<u8>) {
    empty(world, TENANT, "Fabrik am See", Licence::P2);
    register(world, certificate);
}

/// How large a tenant is to be.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Users.
    pub users: usize,
    /// Groups, each fifth of them a member of another one.
    pub groups: usize,
    /// Direct memberships of users.
    pub edges: usize,
}

/// Fills the first tenant with users and groups that were always there. What is whose member is up to the seed: a few
/// groups are very large, most are small.
pub fn fill(world: &mut World, size: Size) {
    let chance = world.chance.of_text("fill");
    let directory = &mut world.tenants[0].directory;
    let text = |text: String| Prop::Text(text.into());
    let mut object = |kind: Kind, id: Uuid, values: Vec<(&str, Prop)>| {
        let mut object = Object {
            id,
            kind,
            state: State::Live,
            props: Vec::with_capacity(values.len()),
        };
        for (name, value) in values {
            object.set(kind.key(name).expect("a property of this kind"), value);
        }
        directory.load(object)
    };
    let users: Vec<u32> = (0..size.users)
        .map(|at| {
            let upn = format!("user{at:06}@fabrik.example");
            let values = vec![
                ("userPrincipalName", text(upn.clone())),
                ("mail", text(upn)),
                ("displayName", text(format!("User {at:06}"))),
                ("department", text(format!("Department {}", at % 97))),
                ("userType", text("Member".to_owned())),
                ("createdDateTime", text("2024-03-01T08:00:00Z".to_owned())),
                ("accountEnabled", Prop::Flag(!at.is_multiple_of(53))),
            ];
            object(Kind::User, chance.of(1).of(at as u64).id(), values)
        })
        .collect();
    let groups: Vec<u32> = (0..size.groups)
        .map(|at| {
            let values = vec![
                ("displayName", text(format!("group-{at:06}"))),
                ("securityEnabled", Prop::Flag(true)),
                ("mailEnabled", Prop::Flag(false)),
                ("groupTypes", Prop::Texts(Box::new([]))),
            ];
            object(Kind::Group, chance.of(2).of(at as u64).id(), values)
        })
        .collect();
    if users.is_empty() || groups.is_empty() {
        return;
    }
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
    for edge in 0..size.edges {
        let drawn = chance.of(3).of(edge as u64);
        // One membership in four is of one of the first hundredth of the groups.
        let among = if drawn.of(1).happens(0.25) {
            groups.len().div_ceil(100)
        } else {
            groups.len()
        };
        members[drawn.of(2).below(among)].push(users[drawn.of(3).below(users.len())]);
    }
    for (at, group) in groups.iter().enumerate().skip(1) {
        if at.is_multiple_of(5) {
            members[chance.of(4).of(at as u64).below(at)].push(*group);
        }
    }
    for (group, members) in groups.into_iter().zip(members) {
        directory.load_members(group, members);
    }
}
